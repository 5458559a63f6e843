//! The committed counts, and how counts compare with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::callgrind::instructions;
use crate::error::HotPathError;
use crate::paths::{PATHS, TOLERANCE_PER_CENT};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    pub(crate) compiler: String,
    /// What the processor can do of what libraries choose their code by.
    pub(crate) processor: String,
    /// Of one repetition of each path.
    pub(crate) instructions: BTreeMap<String, u64>,
}

/// Instruction sets by which libraries of cryptography and search choose their code.
const INSTRUCTION_SETS: [&str; 9] =
    ["adx", "aes", "avx", "avx2", "avx512f", "bmi2", "pclmulqdq", "sha_ni", "vaes"];

/// A path in the baseline and as it was counted.
pub(crate) struct Comparison {
    path: String,
    expected: Option<u64>,
    counted: Option<u64>,
}

impl Baseline {
    pub(crate) fn count() -> Result<Self, HotPathError> {
        let version = Command::new("rustc").arg("--version").output();
        let version = version.map_err(|error| HotPathError::MissingProgram("rustc", error))?;
        let compiler = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        let mut counts = BTreeMap::new();
        for path in PATHS {
            counts.insert(path.name.to_owned(), instructions(&path)?);
        }
        Ok(Self { compiler, processor: instruction_sets(), instructions: counts })
    }

    pub(crate) fn read(file: &Path) -> Result<Self, HotPathError> {
        let text = fs::read_to_string(file).map_err(|error| HotPathError::File(file.to_owned(), error))?;
        serde_json::from_str(&text).map_err(|error| HotPathError::Json(file.to_owned(), error))
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), HotPathError> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| HotPathError::Json(file.to_owned(), error))?;
        fs::write(file, text + "\n").map_err(|error| HotPathError::File(file.to_owned(), error))
    }

    /// Whether counts of the two may be compared: other compilers and processors execute other instructions.
    pub(crate) fn is_comparable(&self, counted: &Self) -> bool {
        self.compiler == counted.compiler && self.processor == counted.processor
    }

    /// Every path of either.
    pub(crate) fn compare(&self, counted: &Self) -> Vec<Comparison> {
        let paths: BTreeSet<_> = self.instructions.keys().chain(counted.instructions.keys()).collect();
        let comparison = |path: &String| Comparison {
            path: path.clone(),
            expected: self.instructions.get(path).copied(),
            counted: counted.instructions.get(path).copied(),
        };
        paths.into_iter().map(comparison).collect()
    }
}

/// Those that this processor has; empty if the system does not say.
fn instruction_sets() -> String {
    let system = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = system.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    let flags: BTreeSet<_> = flags.split_whitespace().collect();
    INSTRUCTION_SETS.into_iter().filter(|set| flags.contains(set)).collect::<Vec<_>>().join(" ")
}

impl Comparison {
    /// A lower count fails too: the baseline would hide that it rises again.
    pub(crate) fn is_same(&self) -> bool {
        let path = PATHS.iter().find(|path| path.name == self.path);
        let tolerance = path.map_or(TOLERANCE_PER_CENT, |path| path.tolerance_per_cent);
        self.change_per_cent().is_some_and(|change| change.abs() <= tolerance)
    }

    fn change_per_cent(&self) -> Option<f64> {
        let as_f64 = |count: u64| u32::try_from(count).ok().map(f64::from);
        let (expected, counted) = (as_f64(self.expected?)?, as_f64(self.counted?)?);
        Some((counted / expected - 1.0) * 100.0)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, counted } = self;
        match (expected, counted, self.change_per_cent()) {
            (Some(expected), Some(counted), Some(change)) => {
                let verdict = if self.is_same() {
                    "as in the baseline"
                } else if change > 0.0 {
                    "RISEN"
                } else {
                    "FALLEN: renew the baseline"
                };
                write!(
                    formatter,
                    "{path}: {counted} instructions, baseline {expected}, {change:+.1} %: {verdict}"
                )
            }
            (None, Some(counted), _) => {
                write!(formatter, "{path}: {counted} instructions, MISSING in the baseline")
            }
            _ => write!(formatter, "{path}: in the baseline, but NOT counted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(counts: &[(&str, u64)]) -> Baseline {
        let instructions = counts.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect();
        Baseline { compiler: "rustc".to_owned(), processor: "aes".to_owned(), instructions }
    }

    #[test]
    fn counts_of_other_compilers_and_processors_are_not_comparable() {
        let counted = baseline(&[]);
        assert!(baseline(&[]).is_comparable(&counted));
        assert!(!Baseline { compiler: "rustc 2".to_owned(), ..baseline(&[]) }.is_comparable(&counted));
        assert!(!Baseline { processor: "aes avx".to_owned(), ..baseline(&[]) }.is_comparable(&counted));
    }

    #[test]
    fn rising_falling_missing_and_new_counts_differ() {
        let expected = baseline(&[("fallen", 1000), ("gone", 1), ("risen", 1000), ("same", 1000)]);
        let counted = baseline(&[("fallen", 979), ("new", 1), ("risen", 1021), ("same", 1019)]);
        let compared = expected.compare(&counted);
        let same: Vec<_> = compared.iter().filter(|path| path.is_same()).map(|path| &*path.path).collect();
        assert_eq!((compared.len(), same), (5, vec!["same"]));
        let shown: Vec<_> = compared.iter().map(ToString::to_string).collect();
        for (text, word) in
            shown.iter().zip(["FALLEN", "NOT counted", "MISSING", "RISEN", "as in the baseline"])
        {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn written_baseline_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = baseline(&[("leaf", 7)]);
        written.write(file.path()).unwrap();
        assert_eq!(Baseline::read(file.path()).unwrap(), written);
    }
}
