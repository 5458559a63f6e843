//! The read models of Aegis and their projectors.
//!
//! A projection ([`Projection`]) is a name, a version, a key and a pure fold. Everything else is shared, in
//! the order in which events pass through: [`runner`] takes part in leader election
//! ([`store::leader_election`]); `supervisor` runs a `projector` per version, whose `batch_size` adapts;
//! `table_projection` reads from the projection checkpoint, folds (on several threads: `parallel_fold`), and
//! writes rows and checkpoint in one transaction; `cutover` promotes a rebuilt version; [`report`] is the
//! status, projection lag included. [`lifecycle`] holds the operations on versions (rebuild, rollback, drop),
//! [`verify`] compares the rows with the log, `skipped_events` reads which events operators skip. A new read
//! model is one file like [`daily`] and an entry in [`all`].

#![warn(missing_docs)]

mod background_write;
mod batch_size;
mod context;
mod cutover;
pub mod daily;
mod event_reader;
mod lane;
pub mod lifecycle;
mod parallel_fold;
mod previous_version;
mod projection;
mod projector;
pub mod report;
pub mod runner;
mod skipped_events;
mod status;
mod supervisor;
mod table_projection;
pub mod users;
pub mod verify;
pub mod webhooks;

#[cfg(test)]
mod tests;

use store::{Position, RefusalReason, StoreError};

use crate::table_projection::TableProjection;

pub use context::ProjectionContext;
pub use daily::{Daily, DayRow};
pub use lifecycle::ChangeError;
pub use projection::{PoisonEvent, Projection};
pub use report::{ProjectionReport, ProjectionReports, VersionHealth, VersionReport};
pub use runner::{ProjectionHandle, ProjectionLeadership, ProjectionRunner};
pub use users::lookup::UserLookup;
pub use users::{UserRow, Users};
pub use webhooks::{WebhookRow, Webhooks};

/// All projections.
#[must_use]
pub fn all() -> [&'static dyn Projection; 3] {
    [&Users, &Daily, &Webhooks]
}

/// The projection of that name, if there is one.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Projection> {
    all().into_iter().find(|projection| projection.name() == name)
}

/// Projects the live version up to the current head, beside any projector; returns the position reached.
///
/// # Errors
/// [`StoreError::Corrupt`] on an event that cannot be projected, with its position; otherwise an error of the
/// database.
pub async fn catch_up(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
) -> Result<Position, StoreError> {
    let versions = lifecycle::versions(projection, context).await?;
    let live = versions.get(versions.live).and_then(|live| TableProjection::of(projection, live, context));
    let live = live.ok_or_else(|| {
        let projection = projection.name().to_owned();
        RefusalReason::UnsupportedVersion { projection, version: versions.live }
    })?;
    live.catch_up().await
}
