//! Making a read model anew beside the one that is read: the idle table is filled from the log, and becomes the live
//! one in a single step once it is as far. Readers see the old rows, kept up to date, until then.

use std::sync::Arc;
use std::time::Duration;

use store::{ApplyError, EventStore, Position, ReadModels, StoreError};

use crate::folding::Folding;
use crate::projection::Projection;

/// Every node hears of a switch within a second, even if a wake-up gets lost. The rows of before stay for twice that.
const ALL_HAVE_HEARD: Duration = Duration::from_secs(2);

/// Why a rebuild did not come to its end. The read model is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Another rebuild of the same read model has finished first.
    #[error("another rebuild of `{0}` has finished first: the read model is new, and nothing is left to do")]
    Overtaken(&'static str),
    /// The database, or an event that cannot be projected.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fills the idle table, tells `each_batch` how far it is and where the head is, and switches. Interrupted, it leaves
/// the live table as it is; the next rebuild begins anew.
///
/// # Errors
/// [`RebuildError`].
pub async fn rebuild(
    projection: &'static dyn Projection,
    events: EventStore,
    rows: Arc<dyn ReadModels>,
    each_batch: &mut (dyn FnMut(Position, Position) + Send),
) -> Result<Position, RebuildError> {
    let pair = projection.pair();
    let overtaken = |error| match error {
        ApplyError::Overtaken => RebuildError::Overtaken(pair.name),
        ApplyError::Store(error) => RebuildError::Store(error),
    };
    let switches = rows.switches(pair).await?;
    rows.reset(pair, switches).await.map_err(overtaken)?;
    let folding = Folding { projection, table: pair.idle(switches), events, rows: Arc::clone(&rows) };
    let reached = loop {
        let reached = folding.catch_up(each_batch).await?;
        match rows.switch(pair, switches).await {
            Ok(()) => break reached,
            // The live table has moved on meanwhile: what it has taken in is taken in here too.
            Err(ApplyError::Overtaken) if rows.switches(pair).await? == switches => {}
            Err(error) => return Err(overtaken(error)),
        }
    };
    tokio::time::sleep(ALL_HAVE_HEARD).await;
    match rows.reset(pair, switches + 1).await {
        // Switched once more already: whoever did that has emptied it.
        Ok(_) | Err(ApplyError::Overtaken) => Ok(reached),
        Err(ApplyError::Store(error)) => Err(error.into()),
    }
}
