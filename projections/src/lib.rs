//! The read models of Aegis, and the runner that keeps them.
//!
//! A projection ([`Projection`]) is a name, a version, a key and a pure fold. The rest is the same for all of them, in
//! the order in which events pass through: [`runner`] says which node works, by leader election ([`store::leader_election`]); `supervisor` has a `projector` at
//! work on each version, at its `batch_size`; `table_projection` reads the log from the checkpoint, folds (on several threads: `parallel_fold`),
//! and writes rows and checkpoint in one transaction; `cutover` puts a rebuilt version in its place; [`report`] tells how
//! it goes. Beside that: [`lifecycle`] is what operators do with versions, [`verify`] proves the rows against the log,
//! `skipped_events` knows what operators have decided to pass over. To add a read model, write one file like
//! [`daily`] and add it to [`all`].

#![warn(missing_docs)]

mod batch_size;
mod context;
mod cutover;
pub mod daily;
pub mod lifecycle;
mod parallel_fold;
mod projection;
mod projector;
pub mod report;
pub mod runner;
mod skipped_events;
mod supervisor;
mod table_projection;
pub mod users;
pub mod verify;
pub mod webhooks;

#[cfg(test)]
mod tests;

use store::{Position, StoreError};

use crate::table_projection::TableProjection;

pub use context::ProjectionContext;
pub use daily::{Daily, DayRow};
pub use lifecycle::ChangeError;
pub use projection::{PoisonEvent, Projection};
pub use report::{ProjectionReport, VersionHealth, VersionReport};
pub use runner::{ProjectionHandle, ProjectionLeadership, ProjectionRunner};
pub use users::{UserRow, Users};
pub use webhooks::{WebhookRow, Webhooks};

/// Every projection there is.
#[must_use]
pub fn all() -> [&'static dyn Projection; 3] {
    [&Users, &Daily, &Webhooks]
}

/// The projection of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Projection> {
    all().into_iter().find(|projection| projection.name() == name)
}

/// Brings the rows that are read up to the present head, whether another node keeps them or not; says how far they are.
///
/// # Errors
/// [`StoreError::Corrupt`] on an event that cannot be projected, with its position; otherwise whatever the database says.
pub async fn catch_up(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
) -> Result<Position, StoreError> {
    let versions = lifecycle::versions(projection, context).await?;
    let live = versions.get(versions.live).and_then(|live| TableProjection::of(projection, live, context));
    let live = live.ok_or_else(|| {
        let name = projection.name();
        StoreError::Refused(format!(
            "the rows of `{name}` that are read are made by another version of Aegis"
        ))
    })?;
    live.catch_up().await
}
