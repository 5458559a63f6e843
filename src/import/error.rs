//! Why an import stops. What was imported until then stays, and the same import continues after it.

use std::io;

use domain::MomentError;
use store::StoreError;

use crate::command::CommandError;

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("cannot read the users: {0}")]
    Source(#[from] io::Error),
    #[error("cannot read the users: {0}")]
    MongoDb(StoreError),
    #[error("the first line names no column `{0}`; it has to name the columns of the file")]
    MissingColumn(&'static str),
    #[error("the first line names the column `{0}` twice")]
    RepeatedColumn(String),
    #[error("the first line is longer than 1 MiB: is this a CSV file, with every quote closed?")]
    HeaderTooLong,
    #[error(
        "the record after line {after_line} is longer than 1 MiB: close its quotes. Then run the same command again: \
         it imports what is missing"
    )]
    RecordTooLong { after_line: u64 },
    #[error("the time of this machine is out of range: {0}")]
    Clock(MomentError),
    #[error("{0}. Run the same command again: it imports what is missing")]
    Command(#[from] CommandError),
    #[error(
        "a task of the import ended unexpectedly: {0}. Run the same command again: it imports what is missing"
    )]
    Task(#[from] tokio::task::JoinError),
}
