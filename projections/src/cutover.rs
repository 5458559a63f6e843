//! The end of a rebuild: a version that is being built takes the place of the live one once it is as far.

use std::time::Duration;

use store::{ApplyError, ProjectionCheckpoint, ProjectionVersions, Table};

use crate::table_projection::{BatchError, TableProjection, batch_error};

/// How often the two versions are looked at to meet them at one position.
const MAX_ALIGNMENT_ATTEMPTS: usize = 100;
const RETRY_DELAY: Duration = Duration::from_millis(5);

/// Finishes the version of that number, if it is being built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutover {
    pub(crate) number: u64,
}

impl Cutover {
    /// To be called when the rows have everything there was a moment ago. Says how far they are then. If others were
    /// quicker, it is to be called again.
    pub(crate) async fn try_promote(
        self,
        projection: &TableProjection,
        at: ProjectionCheckpoint,
    ) -> Result<ProjectionCheckpoint, BatchError> {
        let name = projection.projection.name();
        let known = projection.context.events.progress().versions.get(name).cloned();
        if !known.is_some_and(|versions| self.is_building(&versions)) {
            return Ok(at);
        }
        let rows = &projection.context.rows;
        let Some(versions) = rows.versions(name).await.map_err(BatchError::Failed)? else { return Ok(at) };
        if !self.is_building(&versions) {
            return Ok(at);
        }
        rows.index(&projection.table).await.map_err(BatchError::Failed)?;
        let live = projection.projection.table(versions.live);
        let same_fold =
            versions.get(versions.live).is_some_and(|live| live.fold == projection.projection.version());
        let (at, differed) =
            if same_fold { compare_with_live(projection, at, &live).await? } else { (at, None) };
        let Ok(finished) = versions.promote(differed) else { return Ok(at) };
        match rows.change_versions(name, &finished, Some((&projection.table, &live))).await {
            Ok(()) => {
                let (table, position) = (&*projection.table.name, at.position.get());
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
            Err(ApplyError::Store(error)) => Err(batch_error(at, error)),
        }
    }

    fn is_building(self, versions: &ProjectionVersions) -> bool {
        versions.building().is_some_and(|version| version.number == self.number)
    }
}

/// Meets the live table at one position, and says whether the sums of the rows differ there; nothing if they could not be
/// brought to meet.
async fn compare_with_live(
    projection: &TableProjection,
    mut at: ProjectionCheckpoint,
    live: &Table,
) -> Result<(ProjectionCheckpoint, Option<bool>), BatchError> {
    for _ in 0..MAX_ALIGNMENT_ATTEMPTS {
        let there = projection.context.rows.checkpoint(live).await.map_err(BatchError::Failed)?;
        if there.position > at.position {
            at = projection.advance(at, there.position).await?;
        }
        if there.position == at.position {
            if there.digest == at.digest {
                return Ok((at, Some(false)));
            }
            // An erasure that is not in the rows yet: the log does not tell any more what they still show. Once both
            // have everything there is, nothing of the kind is left.
            if at.position >= projection.context.events.head().await.map_err(BatchError::Failed)?.position {
                return Ok((at, Some(true)));
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
    Ok((at, None))
}
