//! The baselines: how long a bare driver takes to write the same documents, or rows, as the event store. They
//! are read back from where the store put them, and so are the indexes, so the two cannot diverge.
//!
//! What does not belong here: checks and guarantees. A baseline has none.

mod driver;
mod mongo;
mod sqlite;

use aegis::config::DatabaseSettings;

pub(crate) use self::driver::RawDriver;
use crate::error::BenchError;
use crate::scratch::ScratchDatabase;

/// Opens a bare driver on the scratch database of an event store, which must have been opened once.
pub(crate) async fn open(scratch: &ScratchDatabase) -> Result<Box<dyn RawDriver>, BenchError> {
    Ok(match scratch.settings() {
        DatabaseSettings::Mongo { url, name } => Box::new(mongo::RawMongo::new(url.expose(), name).await?),
        DatabaseSettings::Embedded { data_dir } => Box::new(sqlite::RawSqlite::new(data_dir).await?),
    })
}
