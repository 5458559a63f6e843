//! The end of a rebuild: a version that is being built takes the place of the live one once it is as far.

use std::time::Duration;

use store::{ApplyError, Checkpoint, Table, Versions};

use crate::folding::{Folding, Stop, stop};

/// How often the two versions are looked at to meet them at one position.
const MEETINGS: usize = 100;
const BETWEEN: Duration = Duration::from_millis(5);

/// Finishes the version of that number, if it is being built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finisher {
    pub(crate) number: u64,
}

impl Finisher {
    /// To be called when the rows have everything there was a moment ago. Says how far they are then. If others were
    /// quicker, it is to be called again.
    pub(crate) async fn finish(self, folding: &Folding, at: Checkpoint) -> Result<Checkpoint, Stop> {
        let name = folding.projection.name();
        let known = folding.sources.events.signal().versions.get(name).cloned();
        if !known.is_some_and(|versions| self.is_building(&versions)) {
            return Ok(at);
        }
        let rows = &folding.sources.rows;
        let Some(versions) = rows.versions(name).await.map_err(Stop::Failed)? else { return Ok(at) };
        if !self.is_building(&versions) {
            return Ok(at);
        }
        rows.index(&folding.table).await.map_err(Stop::Failed)?;
        let live = folding.projection.table(versions.live);
        let same_fold =
            versions.get(versions.live).is_some_and(|live| live.fold == folding.projection.version());
        let (at, differed) = if same_fold { compare(folding, at, &live).await? } else { (at, None) };
        let Ok(finished) = versions.finish(differed) else { return Ok(at) };
        match rows.change_versions(name, &finished, Some((&folding.table, &live))).await {
            Ok(()) => {
                let (table, position) = (&*folding.table.name, at.position.get());
                match differed {
                    Some(true) => tracing::warn!(
                        table,
                        position,
                        "the read model is rebuilt and read from here on; the rows of before were different"
                    ),
                    Some(false) => tracing::info!(
                        table,
                        position,
                        "the read model is rebuilt and read from here on; the rows are the same as before"
                    ),
                    None => {
                        tracing::info!(table, position, "the read model is rebuilt and read from here on");
                    }
                }
                Ok(at)
            }
            // The live table has moved on meanwhile, or somebody has changed the versions.
            Err(ApplyError::Overtaken) => Ok(at),
            Err(ApplyError::Store(error)) => Err(stop(at, error)),
        }
    }

    fn is_building(self, versions: &Versions) -> bool {
        versions.building().is_some_and(|version| version.number == self.number)
    }
}

/// Meets the live table at one position, and says whether the sums of the rows differ there; nothing if they could not be
/// brought to meet.
async fn compare(
    folding: &Folding,
    mut at: Checkpoint,
    live: &Table,
) -> Result<(Checkpoint, Option<bool>), Stop> {
    for _ in 0..MEETINGS {
        let there = folding.sources.rows.checkpoint(live).await.map_err(Stop::Failed)?;
        if there.position > at.position {
            at = folding.advance(at, there.position).await?;
        }
        if there.position == at.position {
            if there.digest == at.digest {
                return Ok((at, Some(false)));
            }
            // An erasure that is not in the rows yet: the log does not tell any more what they still show. Once both
            // have everything there is, nothing of the kind is left.
            if at.position >= folding.sources.events.head().await.map_err(Stop::Failed)?.position {
                return Ok((at, Some(true)));
            }
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok((at, None))
}
