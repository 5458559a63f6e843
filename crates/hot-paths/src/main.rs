//! `hot-paths` counts the instructions of the hot paths with valgrind's callgrind, and compares them with a committed
//! baseline. Unlike times, instruction counts do not depend on how busy a machine is.
//!
//! What does not belong here: the crate `aegis`, whose libraries take too long to build for every change. What it costs
//! MongoDB is counted by `tests/service/command_counts.rs`.

mod baseline;
mod callgrind;
mod error;
mod paths;
mod world;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use crate::baseline::{Baseline, Comparison};
use crate::error::HotPathError;
use crate::paths::PATHS;

/// Counts the instructions of the hot paths.
#[derive(Debug, Parser)]
#[command(name = "hot-paths", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare the counts with the baseline; fails if one differs by more than its tolerance
    Check {
        #[arg(long, default_value = DEFAULT_BASELINE)]
        baseline: PathBuf,
    },
    /// Write the counts to the baseline
    Renew {
        #[arg(long, default_value = DEFAULT_BASELINE)]
        baseline: PathBuf,
    },
    /// Run one path that many times, as callgrind does
    Run {
        #[arg(value_parser = PossibleValuesParser::new(PATHS.map(|path| path.name)))]
        path: String,
        count: u32,
    },
}

const DEFAULT_BASELINE: &str = "crates/hot-paths/baseline.json";

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { path, count } => paths::run(&path, count).map(|()| true),
        Command::Renew { baseline } => renew(&baseline).map(|()| true),
        Command::Check { baseline } => check(&baseline),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print_line(&format!("hot-paths: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn renew(baseline: &Path) -> Result<(), HotPathError> {
    let counted = Baseline::count()?;
    for (path, instructions) in &counted.instructions {
        print_line(&format!("{path}: {instructions} instructions"));
    }
    counted.write(baseline)
}

/// Whether every count is that of the baseline, or of another compiler or processor.
fn check(baseline: &Path) -> Result<bool, HotPathError> {
    let (expected, counted) = (Baseline::read(baseline)?, Baseline::count()?);
    let comparisons = expected.compare(&counted);
    for comparison in &comparisons {
        print_line(&comparison.to_string());
    }
    let is_same = comparisons.iter().all(Comparison::is_same);
    if !is_same && !expected.is_comparable(&counted) {
        print_line(&format!(
            "NOT COMPARABLE: the baseline is of {} with {}, this is {} with {}",
            expected.compiler, expected.processor, counted.compiler, counted.processor
        ));
        return Ok(true);
    }
    if !is_same {
        print_line(
            "If the difference is intended, renew the baseline: cargo run --profile counts -p hot-paths -- renew",
        );
    }
    Ok(is_same)
}

fn print_line(text: &str) {
    // A reader who has closed the output does not want it.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}
