//! Counts the instructions of a path: this program runs it under callgrind with two numbers of repetitions. The
//! difference belongs to the repetitions alone, without the start of the process and the preparation.

use std::process::Command;

use crate::error::HotPathError;
use crate::paths::Path;

/// The instructions of one repetition.
pub(crate) fn instructions(path: &Path) -> Result<u64, HotPathError> {
    let (few, many) = (path.repetitions, path.repetitions * 3);
    let difference = total(path.name, many)?.saturating_sub(total(path.name, few)?);
    Ok(difference / u64::from(many - few))
}

fn total(path: &str, count: u32) -> Result<u64, HotPathError> {
    let this = std::env::current_exe().map_err(HotPathError::path)?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args(["run", path, &count.to_string()])
        .output()
        .map_err(|error| HotPathError::MissingProgram("valgrind", error))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let counted = output.status.success().then(|| collected(&report)).flatten();
    counted.ok_or_else(|| HotPathError::Valgrind(report.into_owned()))
}

/// The number in the last line of the report, `==1== Collected : 123`.
fn collected(report: &str) -> Option<u64> {
    let line = report.lines().rev().find_map(|line| line.split_once("Collected :"))?;
    line.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_found_in_the_report() {
        let report = "==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n==7== I   refs: 1,234,567\n";
        assert_eq!(collected(report), Some(1_234_567));
        assert_eq!(collected("==7== Killed\n"), None);
    }
}
