//! Why a command did not do what it was told, and the exit code that says so.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use store::StoreError;

use crate::command::CommandError;
use crate::config::{Faults, Unusable};

/// The exit code of something that was asked for in a way that makes no sense.
pub const USAGE: u8 = 2;

/// The exit code of something that was verified and is wrong.
pub const FOUND: u8 = 3;

/// Why a command ended early.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed: what happened, to what, and what to do about it.
    Failed(String),
    /// What was to be verified is wrong: what is, and where.
    Found(String),
    /// Nobody reads the output any more, as with `| head`: nothing is wrong, and nothing is said.
    OutputClosed,
}

impl Failure {
    /// It failed for this reason.
    #[expect(clippy::needless_pass_by_value, reason = "so that it fits into `map_err`")]
    pub fn because(reason: impl ToString) -> Self {
        Self::Failed(reason.to_string())
    }

    /// Tells the operator, and gives the exit code.
    #[must_use]
    pub fn tell(self) -> ExitCode {
        let (reason, code) = match self {
            Self::Failed(reason) => (reason, ExitCode::FAILURE),
            Self::Found(reason) => (reason, FOUND.into()),
            Self::OutputClosed => return ExitCode::SUCCESS,
        };
        // With stderr gone too, the exit code is all that is left to say.
        drop(writeln!(io::stderr().lock(), "aegis: {reason}"));
        code
    }
}

/// Tells the operator what went wrong beside a thing that was done: the exit code stays 0.
pub(super) fn warn(text: &str) {
    drop(writeln!(io::stderr().lock(), "aegis: warning: {text}"));
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::because(error),
        }
    }
}

impl From<Unusable> for Failure {
    fn from(error: Unusable) -> Self {
        Self::because(error)
    }
}

impl From<Faults> for Failure {
    fn from(error: Faults) -> Self {
        Self::because(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::because(error)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::because(error)
    }
}
