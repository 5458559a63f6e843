//! Why a command failed, and its exit code.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use domain::{MomentError, UserId, UsernameError};
use projections::ChangeError;
use projections::verify::RowDifference;
use store::checkpoint::{InvalidKey, SignatureError};
use store::key_store::KeyId;
use store::rotation::WrappedCount;
use store::tiles::ProofError;
use store::{Finding, Position, ProjectionVersion, StoreError};

use crate::app::AppError;
use crate::command::{CommandError, SkipError};
use crate::config::{ConfigError, DataFolderError, InvalidSettings, RedactedStderr};
use crate::crypto::{HashingError, PasswordHashError, WeakPassword};
use crate::export::ExportError;
use crate::export::verify::ExportMismatch;
use crate::import::ImportError;
use crate::query::{AsOf, QueryError};

/// The exit code of an invalid command line.
pub(super) const EXIT_USAGE: u8 = 2;

/// The exit code of a verification that found something wrong.
pub(super) const EXIT_VERIFICATION_FAILED: u8 = 3;

pub(super) type CliResult<T = ()> = Result<T, CliError>;

#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot use the database `{name}` at {url}: {error}")]
    Database { name: String, url: String, error: Box<CliError> },
    #[error("the database did not answer within {} s", .0.as_secs())]
    DatabaseTimeout(Duration),
    #[error(
        "the database contains no event log of Aegis: start `aegis serve` on it once, or configure another \
         database"
    )]
    NoLog,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    ProjectionChange(#[from] ChangeError),
    #[error(transparent)]
    Skip(#[from] SkipError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("name a file, or a database with --from-mongodb")]
    NoImportSource,
    #[error(
        "the database `{0}` has no collection `users`; --database names the database of the legacy service"
    )]
    NoLegacyUsers(String),
    #[error("cannot tell the format of {}: its name has to end with .jsonl or .csv", .0.display())]
    UnknownImportFormat(PathBuf),
    #[error("cannot write the report to {}: {error}", path.display())]
    ReportFile { path: PathBuf, error: io::Error },
    #[error("cannot write the report to {}: the file exists already; choose another name", .0.display())]
    ReportExists(PathBuf),
    #[error("{0} records were refused, which --strict counts as a failure; the others are done")]
    RecordsRefused(u64),
    #[error(
        "they have reached position {reached} of {head} and make no progress; `aegis projections status` names the \
         reason"
    )]
    ReadModelsBehind { reached: Position, head: Position },
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    PasswordHash(#[from] PasswordHashError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Hashing(#[from] HashingError),
    #[error(transparent)]
    Io(io::Error),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Time(#[from] MomentError),
    #[error("cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// The verifier key in a file, or that of the log itself.
    #[error("{of} {error}")]
    VerifierKey { of: String, error: InvalidKey },
    #[error("cannot listen on {address}: {error}. Set AEGIS_LISTEN to another address or port")]
    Listen { address: String, error: io::Error },
    #[error("the HTTP server exited unexpectedly: {0}")]
    ServerExited(String),
    #[error(
        "AEGIS_ADMIN_EMAIL: there is no administrator, but {0} already has an account, and settings never \
         promote an account. Run `aegis users grant {0} admin`, or set another address"
    )]
    AdministratorEmailTaken(String),
    #[error("the password is not accepted: {0}")]
    PasswordNotAccepted(String),
    #[error("the username is not accepted: {0}")]
    UsernameNotAccepted(UsernameError),
    #[error("AEGIS_ADMIN_PASSWORD: {0}")]
    WeakAdministratorPassword(WeakPassword),
    #[error("no user with username, e-mail address or id `{0}`")]
    UserNotFound(String),
    #[error("at {as_of} there was no user `{user}`")]
    UserNotFoundAt { user: String, as_of: AsOf },
    #[error("the log ends at position {head}, before {position}{hint}")]
    BeyondHead { position: Position, head: Position, hint: &'static str },
    #[error("invalid range {from} to {to}: positions start at 1 and the log ends at position {head}")]
    InvalidRange { from: u64, to: u64, head: u64 },
    #[error("`--from` is at position {from}, after `--to`, at position {to}")]
    ReversedRange { from: Position, to: Position },
    #[error("position {position}: the event cannot be decoded: {error}")]
    Undecodable { position: Position, error: String },
    #[error(
        "version {} of `{name}` is already being built, since {} by {}; node {owner} has reached {progress}. \
         Watch it with `aegis projections status --watch`, or stop it with `aegis projections cancel {name}`",
        version.number,
        version.since,
        version.by
    )]
    RebuildRunning { name: &'static str, version: Box<ProjectionVersion>, owner: String, progress: String },
    #[error("the rebuild of `{name}` was canceled")]
    RebuildCanceled { name: &'static str },
    #[error(
        "version {number} of `{name}` is halted: {error}. It is kept, and a release that can apply the event \
         continues; `aegis projections skip {name}` skips the event, `aegis projections cancel {name}` drops \
         the version. The live version of `{name}` is not affected"
    )]
    RebuildHalted { name: &'static str, number: u64, error: String },
    #[error(
        "user {0} may not own webhooks: the account must be active, and `aegis users grant {0} subscriber` \
         grants the required role"
    )]
    NotASubscriber(UserId),
    #[error("the webhook's URL is not allowed: {error}{hint}")]
    UrlNotAllowed { error: String, hint: &'static str },
    #[error("{node} is running: stop every service on this database first")]
    ServiceRunning { node: String },
    #[error("--delete-old deletes key files in the data directory, but the master key comes from settings")]
    NoKeyFiles,
    #[error(
        "access tokens are signed with SECRET_KEY, which this command cannot change: set a new one as SECRET_KEY and \
         the current one as AEGIS_SECRET_KEY_PREVIOUS, or set ALGORITHM to EdDSA or ES256, and restart the service"
    )]
    NoSigningKeys,
    #[error(transparent)]
    Verification(VerificationFailure),
    /// The reader of stdout, such as `head`, has exited: a normal end without a message.
    #[error("stdout is closed")]
    OutputClosed,
}

/// What a verification found.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerificationFailure {
    #[error("the log does not verify: {0}")]
    Log(Finding),
    #[error("the log is signed with another key than that of {}", .0.display())]
    OtherSigningKey(PathBuf),
    /// A checkpoint in a file, or the current one.
    #[error("{of}: {error} [{code}]", code = error.code())]
    Checkpoint { of: String, error: SignatureError },
    #[error("the export differs from what was signed: {0}")]
    Export(ExportMismatch),
    #[error(
        "the rows do not verify: {difference}. `aegis projections rebuild {name}` rebuilds them from the log"
    )]
    Rows { name: &'static str, difference: Box<RowDifference> },
    #[error("{}", join(.0))]
    MasterKeys(Vec<KeyProblem>),
}

/// Why stored keys cannot be unwrapped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyProblem {
    #[error(
        "master key {id} is missing: it wraps {wrapped}, which cannot be unwrapped. Set it in \
         AEGIS_MASTER_KEY_PREVIOUS, or restore its file in the data directory"
    )]
    Missing { id: KeyId, wrapped: WrappedCount },
    #[error("{0} key store entries contain no wrapped key: `aegis events verify` names them")]
    CorruptEntries(u64),
    #[error(
        "the key of stream {0} cannot be unwrapped, although its master key is present: it was not changed, \
         and previous master keys are still needed. `aegis events verify` reports further problems"
    )]
    NotRewrapped(String),
}

fn join(problems: &[impl fmt::Display]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl CliError {
    /// Prints the error to stderr and returns the exit code.
    #[must_use]
    pub(super) fn report(self) -> ExitCode {
        let code = match self {
            Self::OutputClosed => return ExitCode::SUCCESS,
            Self::Verification(_) => EXIT_VERIFICATION_FAILED.into(),
            _ => ExitCode::FAILURE,
        };
        // If stderr is closed too, the exit code must suffice.
        drop(RedactedStderr.write_all(format!("aegis: {self}\n").as_bytes()));
        code
    }
}

/// Prints a warning about a command that was executed: the exit code stays 0.
pub(super) fn warn(text: &str) {
    drop(RedactedStderr.write_all(format!("aegis: warning: {text}\n").as_bytes()));
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Io(error),
        }
    }
}

impl From<InvalidSettings> for CliError {
    fn from(error: InvalidSettings) -> Self {
        Self::Config(error.into())
    }
}

impl From<DataFolderError> for CliError {
    fn from(error: DataFolderError) -> Self {
        Self::Config(error.into())
    }
}

impl From<VerificationFailure> for CliError {
    fn from(failure: VerificationFailure) -> Self {
        Self::Verification(failure)
    }
}
