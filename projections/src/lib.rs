//! The read models of Aegis, and the runner that keeps them.
//!
//! A projection ([`Projection`]) is a name, a version, a key and a pure fold. The rest is the same for all of them, in
//! the order in which events pass through: [`runner`] says which node works, under a [`lease`]; `keepers` has a `keeper` at
//! work on each version, at its `pace`; `folding` reads the log from the checkpoint, folds (on several threads: `shards`),
//! and writes rows and checkpoint in one transaction; `finisher` puts a rebuilt version in its place; [`report`] tells how
//! it goes. Beside that: [`models`] is what operators do with versions, [`verify`] proves the rows against the log,
//! `skips` knows what operators have decided to pass over. To add a read model, write one file like
//! [`daily`] and add it to [`all`].

pub mod activity;
pub mod daily;
pub mod decode;
mod finisher;
mod folding;
mod keeper;
mod keepers;
pub mod lease;
pub mod models;
mod pace;
mod projection;
pub mod report;
pub mod runner;
mod shards;
mod skips;
mod sources;
pub mod users;
pub mod verify;
pub mod webhooks;

#[cfg(test)]
mod tests;

use store::{Position, StoreError};

use crate::folding::Folding;

pub use activity::UserActivity;
pub use daily::{Daily, Day};
pub use models::ChangeError;
pub use projection::{Poison, Projection};
pub use report::{Health, Report, VersionReport};
pub use runner::{Runner, RunnerHandle, Standing};
pub use sources::Sources;
pub use users::{UserRow, Users};
pub use webhooks::{WebhookRow, Webhooks};

/// Every projection there is.
#[must_use]
pub fn all() -> [&'static dyn Projection; 4] {
    [&Users, &UserActivity, &Daily, &Webhooks]
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
    sources: &Sources,
) -> Result<Position, StoreError> {
    let versions = models::versions(projection, sources).await?;
    let live = versions.get(versions.live).and_then(|live| Folding::of(projection, live, sources));
    let live = live.ok_or_else(|| {
        let name = projection.name();
        StoreError::Refused(format!(
            "the rows of `{name}` that are read are made by another version of Aegis"
        ))
    })?;
    live.catch_up().await
}
