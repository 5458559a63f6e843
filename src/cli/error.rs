//! Why a command did not do what it was told, and the exit code that says so.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use store::StoreError;

use crate::command::CommandError;
use crate::config::{ConfigError, InvalidSettings};

/// The exit code of something that was asked for in a way that makes no sense.
pub const EXIT_USAGE: u8 = 2;

/// The exit code of something that was verified and is wrong.
pub const EXIT_VERIFICATION_FAILED: u8 = 3;

/// Why a command ended early.
#[derive(Debug, PartialEq, Eq)]
pub enum CliError {
    /// It failed: what happened, to what, and what to do about it.
    Failed(String),
    /// What was to be verified is wrong: what is, and where.
    VerificationFailed(String),
    /// Nobody reads the output any more, as with `| head`: nothing is wrong, and nothing is said.
    OutputClosed,
}

impl CliError {
    /// It failed for this reason.
    #[expect(clippy::needless_pass_by_value, reason = "so that it fits into `map_err`")]
    pub fn because(reason: impl ToString) -> Self {
        Self::Failed(reason.to_string())
    }

    /// Tells the operator, and gives the exit code.
    #[must_use]
    pub fn report(self) -> ExitCode {
        let (reason, code) = match self {
            Self::Failed(reason) => (reason, ExitCode::FAILURE),
            Self::VerificationFailed(reason) => (reason, EXIT_VERIFICATION_FAILED.into()),
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

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::because(error),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::because(error)
    }
}

impl From<InvalidSettings> for CliError {
    fn from(error: InvalidSettings) -> Self {
        Self::because(error)
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::because(error)
    }
}

impl From<CommandError> for CliError {
    fn from(error: CommandError) -> Self {
        Self::because(error)
    }
}
