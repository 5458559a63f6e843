//! Cutover: promotes a rebuilt version to live once it has caught up with the version it replaces.

use std::time::Duration;

use store::{ProjectionCheckpoint, Table, VersionStage, WriteError};

use crate::table_projection::{BatchError, TableProjection, batch_error, retryable};

/// How often to try to align both versions at one position for the comparison.
const MAX_ALIGNMENT_ATTEMPTS: usize = 100;
const RETRY_DELAY: Duration = Duration::from_millis(5);

/// Promotes the version if it is being built. To be called when it has just caught up; returns its checkpoint.
/// After a conflict it is to be called again.
pub(crate) async fn try_promote(
    projection: &TableProjection,
    at: ProjectionCheckpoint,
) -> Result<ProjectionCheckpoint, BatchError> {
    let name = projection.projection.name();
    if projection.stage() != Some(VersionStage::Building) {
        return Ok(at);
    }
    let rows = &projection.context.rows;
    let Some(versions) = rows.versions(name).await.map_err(retryable)? else { return Ok(at) };
    if versions.building().is_none_or(|version| version.number != projection.number) {
        return Ok(at);
    }
    rows.index(&projection.table).await.map_err(retryable)?;
    let live = projection.projection.table(versions.live);
    let same_fold =
        versions.get(versions.live).is_some_and(|live| live.fold == projection.projection.version());
    let (at, differed) = if same_fold { compare_with_live(projection, at, &live).await? } else { (at, None) };
    let Ok(finished) = versions.promote(differed) else { return Ok(at) };
    match rows.change_versions(name, &finished, Some((&projection.table, &live))).await {
        Ok(()) => {
            let (table, position) = (&*projection.table.name, at.position.get());
            match differed {
                Some(true) => tracing::warn!(
                    table,
                    position,
                    "rebuilt version is live; its rows differ from the previous version"
                ),
                Some(false) => tracing::info!(
                    table,
                    position,
                    "rebuilt version is live; its rows equal the previous version"
                ),
                None => {
                    tracing::info!(table, position, "rebuilt version is live");
                }
            }
            Ok(at)
        }
        // The live table has moved on, or the versions were changed.
        Err(WriteError::Conflict) => Ok(at),
        Err(WriteError::Store(error)) => Err(batch_error(at, error)),
    }
}

/// Aligns with the live table at one position, and compares the digests of the rows there; `None` if the two
/// could not be aligned.
async fn compare_with_live(
    projection: &TableProjection,
    mut at: ProjectionCheckpoint,
    live: &Table,
) -> Result<(ProjectionCheckpoint, Option<bool>), BatchError> {
    for _ in 0..MAX_ALIGNMENT_ATTEMPTS {
        let there = projection.context.rows.checkpoint(live).await.map_err(retryable)?;
        if there.position > at.position {
            at = projection.advance(at, there.position).await?;
        }
        if there.position == at.position {
            if there.digest == at.digest {
                return Ok((at, Some(false)));
            }
            // The difference may be an erasure that is not projected yet: the log no longer holds what the
            // rows still show. At the head, no such difference remains.
            if at.position >= projection.context.events.head().await.map_err(retryable)?.position {
                return Ok((at, Some(true)));
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
    Ok((at, None))
}
