//! Operations on the versions of a read model: open, rebuild, cancel, roll back, drop. Each is one
//! compare-and-set of the stored versions; the projector supervisor of the leader acts on it.

use std::time::Duration;

use jiff::Timestamp;
use store::{
    Corruption, ProjectionVersion, ProjectionVersions, StoreError, VersionError, VersionStage, WriteError,
};

use crate::context::ProjectionContext;
use crate::projection::Projection;
use crate::table_projection::TableProjection;

/// How often a change is attempted that conflicts with others.
const ATTEMPTS: u32 = 40;
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Why the versions were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The current versions do not allow it.
    #[error("`{0}`: {1}")]
    Refused(&'static str, VersionError),
    /// The version to promote is behind the live one.
    #[error(
        "version {1} of `{0}` is behind the live version, and readers would see older data. Try again later"
    )]
    Behind(&'static str, u64),
    /// This release does not have the projection code of the version to promote.
    #[error(
        "version {1} of `{0}` was made by version {2} of its fold, which is not in this program: it could not be read. \
         Use a release that has it"
    )]
    Unknown(&'static str, u64, u32),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates the versions and tables of a read model if they do not exist, and returns the versions.
///
/// # Errors
/// [`StoreError`] if the database fails.
pub async fn open(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    by: &str,
    now: Timestamp,
) -> Result<ProjectionVersions, StoreError> {
    let rows = &context.rows;
    loop {
        if let Some(versions) = rows.versions(projection.name()).await? {
            for version in versions.kept.iter().filter(|version| version.stage != VersionStage::Dropping) {
                if let Some(fold) = projection.with_version(version.fold) {
                    context.prepare(&fold.table(version.number), version.stage).await?;
                }
            }
            return Ok(versions);
        }
        let first = ProjectionVersions::first(projection.version(), by, now);
        context.prepare(&projection.table(first.live), VersionStage::Ready).await?;
        match rows.change_versions(projection.name(), &first, None).await {
            // Read back what is stored: another node may have created them first.
            Ok(()) | Err(WriteError::Conflict) => {}
            Err(WriteError::Store(error)) => return Err(error),
        }
    }
}

/// The versions of an existing read model.
///
/// # Errors
/// [`StoreError`] if they cannot be read, or do not exist.
pub async fn versions(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
) -> Result<ProjectionVersions, StoreError> {
    let (name, found) = (projection.name(), context.rows.versions(projection.name()).await?);
    found.ok_or_else(|| Corruption::missing(format!("the record of the versions of `{name}`")).into())
}

/// Starts a rebuild with the projection code of this release; returns the versions, the new one last.
///
/// # Errors
/// [`ChangeError::Refused`] if one is in progress; names who started it.
pub async fn rebuild(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    by: &str,
    now: Timestamp,
) -> Result<ProjectionVersions, ChangeError> {
    change(projection, context, |versions| versions.build(projection.version(), by, now)).await
}

/// Cancels the rebuild in progress.
///
/// # Errors
/// [`ChangeError::Refused`] if there is none.
pub async fn cancel(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
) -> Result<ProjectionVersions, ChangeError> {
    change(projection, context, ProjectionVersions::cancel).await
}

/// Makes another maintained version live: the given one, or the one before the live one.
///
/// # Errors
/// [`ChangeError::Refused`] if there is none, [`ChangeError::Unknown`] if this release cannot read it,
/// [`ChangeError::Behind`] if it lags.
pub async fn roll_back(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    to: Option<u64>,
) -> Result<ProjectionVersions, ChangeError> {
    change(projection, context, |versions| versions.roll_back(to)).await
}

/// Drops a version that is not live.
///
/// # Errors
/// [`ChangeError::Refused`] if it is live, or does not exist.
pub async fn drop(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    number: u64,
) -> Result<ProjectionVersions, ChangeError> {
    change(projection, context, |versions| versions.drop(number)).await
}

/// Projects every ready version up to the current head, beside any projector.
///
/// # Errors
/// [`StoreError`] if the database fails.
pub async fn catch_up_ready(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
) -> Result<(), StoreError> {
    let Some(versions) = context.rows.versions(projection.name()).await? else { return Ok(()) };
    for version in versions.kept.iter().filter(|version| version.stage == VersionStage::Ready) {
        if let Some(projection) = TableProjection::of(projection, version, context) {
            projection.catch_up().await?;
        }
    }
    Ok(())
}

/// Removes a version whose table was dropped from the versions.
pub(crate) async fn remove_version(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    number: u64,
) -> Result<(), ChangeError> {
    change(projection, context, |versions| Ok(versions.dropped(number))).await?;
    Ok(())
}

async fn change(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    step: impl Fn(&ProjectionVersions) -> Result<ProjectionVersions, VersionError>,
) -> Result<ProjectionVersions, ChangeError> {
    let name = projection.name();
    let mut live = 0;
    for _ in 0..ATTEMPTS {
        let versions = versions(projection, context).await?;
        let next = step(&versions).map_err(|error| ChangeError::Refused(name, error))?;
        live = next.live;
        let unknown = |version: &&ProjectionVersion| projection.with_version(version.fold).is_none();
        if let Some(version) = next.get(live).filter(|_| live != versions.live).filter(unknown) {
            return Err(ChangeError::Unknown(name, live, version.fold));
        }
        // Readers must not see older data after the switch.
        let (one, other) = (projection.table(next.live), projection.table(versions.live));
        let behind = (next.live != versions.live).then_some((&one, &other));
        match context.rows.change_versions(name, &next, behind).await {
            Ok(()) => return Ok(next),
            Err(WriteError::Conflict) => tokio::time::sleep(RETRY_DELAY).await,
            Err(WriteError::Store(error)) => return Err(error.into()),
        }
    }
    Err(ChangeError::Behind(name, live))
}
