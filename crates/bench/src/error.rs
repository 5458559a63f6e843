//! Why a benchmark could not be measured.

use aegis::command::CommandError;
use store::StoreError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a registration failed: {0}")]
    Command(#[from] CommandError),
    #[error("the bare MongoDB driver failed: {0}")]
    Mongo(#[from] mongodb::error::Error),
    #[error("bare SQLite failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A folder, a process or a thread could not be created.
    #[error("{action}: {source}")]
    Io { action: String, source: std::io::Error },
    #[error("{0}")]
    MongodUnavailable(String),
    /// The load generator would have been measured.
    #[error("void: the load generator took {machine:.0} % of the CPU, {core:.0} % of its core")]
    Void { core: f64, machine: f64 },
    /// The data that was read is not the data that was written.
    #[error("invalid measurement: {0}")]
    InvalidMeasurement(String),
}

impl BenchError {
    #[expect(clippy::needless_pass_by_value, reason = "used as `map_err(BenchError::invalid)`")]
    pub(crate) fn invalid(why: impl ToString) -> Self {
        Self::InvalidMeasurement(why.to_string())
    }

    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action: action.into(), source }
    }
}
