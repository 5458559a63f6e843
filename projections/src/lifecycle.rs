//! What operators do with the versions of a read model: begin to rebuild it, cancel that, go back, drop. Each
//! is one change of what is stored; the nodes that keep the projection see it and do the work.

use std::time::Duration;

use jiff::Timestamp;
use store::{ApplyError, ProjectionVersion, ProjectionVersions, StoreError, VersionError, VersionStage};

use crate::context::ProjectionContext;
use crate::projection::Projection;
use crate::table_projection::TableProjection;

/// How often a change is tried that others get in the way of.
const ATTEMPTS: u32 = 40;
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// Why the versions stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It makes no sense as things are.
    #[error("`{0}`: {1}")]
    Refused(&'static str, VersionError),
    /// The version that would be read is not as far as the one that is.
    #[error(
        "version {1} of `{0}` is behind the one that is read, and would take users back in time. Try again later"
    )]
    Behind(&'static str, u64),
    /// The version that would be read is made by a fold that this program does not have.
    #[error(
        "version {1} of `{0}` was made by version {2} of its fold, which is not in this program: it could not be read. \
         Use a release that has it"
    )]
    Unknown(&'static str, u64, u32),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The versions of a read model, made first if there are none, and their tables.
///
/// # Errors
/// [`StoreError`] if that cannot be done.
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
                    let table = fold.table(version.number);
                    rows.prepare(&table).await?;
                    if version.stage == VersionStage::Ready {
                        rows.index(&table).await?;
                    }
                }
            }
            return Ok(versions);
        }
        let first = ProjectionVersions::first(projection.version(), by, now);
        let table = projection.table(first.live);
        rows.prepare(&table).await?;
        rows.index(&table).await?;
        match rows.change_versions(projection.name(), &first, None).await {
            // Once more, as everybody else finds it; somebody else may have been quicker.
            Ok(()) | Err(ApplyError::Overtaken) => {}
            Err(ApplyError::Store(error)) => return Err(error),
        }
    }
}

/// The versions of a read model that was opened before.
///
/// # Errors
/// [`StoreError`] if they cannot be read, or are gone.
pub async fn versions(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
) -> Result<ProjectionVersions, StoreError> {
    let (name, found) = (projection.name(), context.rows.versions(projection.name()).await?);
    found.ok_or_else(|| StoreError::corrupt(format!("the versions of `{name}` are missing")))
}

/// Begins to build one more version, by the fold of this program; gives the versions, of which it is the
/// last.
///
/// # Errors
/// [`ChangeError::Refused`] with who builds one already.
pub async fn rebuild(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    by: &str,
    now: Timestamp,
) -> Result<ProjectionVersions, ChangeError> {
    change(projection, context, |versions| versions.build(projection.version(), by, now)).await
}

/// Drops what is being built.
///
/// # Errors
/// [`ChangeError::Refused`] if nothing is.
pub async fn cancel(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
) -> Result<ProjectionVersions, ChangeError> {
    change(projection, context, ProjectionVersions::cancel).await
}

/// Reads another version that is kept: the one named, or the one before the live one.
///
/// # Errors
/// [`ChangeError::Refused`] if there is none, [`ChangeError::Unknown`] if this program cannot read it,
/// [`ChangeError::Behind`] if it is not kept up to date.
pub async fn roll_back(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    to: Option<u64>,
) -> Result<ProjectionVersions, ChangeError> {
    change(projection, context, |versions| versions.roll_back(to)).await
}

/// Drops a version that is not read.
///
/// # Errors
/// [`ChangeError::Refused`] if it is read, or is none.
pub async fn drop(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    number: u64,
) -> Result<ProjectionVersions, ChangeError> {
    change(projection, context, |versions| versions.drop(number)).await
}

/// Brings every version that could be read up to the present head, whether another node keeps them or not.
///
/// # Errors
/// [`StoreError`] if that cannot be done.
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

/// A version whose table is gone is no longer spoken of.
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
        // Who reads another version must not be taken back in time.
        let (one, other) = (projection.table(next.live), projection.table(versions.live));
        let behind = (next.live != versions.live).then_some((&one, &other));
        match context.rows.change_versions(name, &next, behind).await {
            Ok(()) => return Ok(next),
            Err(ApplyError::Overtaken) => tokio::time::sleep(RETRY_DELAY).await,
            Err(ApplyError::Store(error)) => return Err(error.into()),
        }
    }
    Err(ChangeError::Behind(name, live))
}
