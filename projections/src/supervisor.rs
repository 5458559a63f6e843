//! All versions of one projection on the node that owns it: each is kept, built, or removed, by a task of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use store::{Env, ProjectionVersion, ProjectionVersions, StoreError, VersionStage};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::context::ProjectionContext;
use crate::cutover::Cutover;
use crate::lifecycle;
use crate::projection::Projection;
use crate::projector::{Projector, SharedStatus};
use crate::report::{ProjectionReport, VersionHealth, VersionReport};
use crate::table_projection::TableProjection;

/// Every node hears of a change of versions within a second, even if a wake-up gets lost. What was read before stays for
/// twice that.
const VERSION_CHANGE_GRACE: Duration = Duration::from_secs(2);
/// The pause before a table that could not be removed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is at work.
pub(crate) struct ProjectorSupervisor {
    projection: &'static dyn Projection,
    context: ProjectionContext,
    env: Env,
    /// By the number of their version.
    tasks: BTreeMap<u64, VersionTask>,
}

/// One version's work, and what is shown of it. Dropping it stops the work.
struct VersionTask {
    shown: SharedStatus,
    stage: VersionStage,
    task: Option<JoinHandle<()>>,
}

impl Drop for VersionTask {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl ProjectorSupervisor {
    pub(crate) fn new(projection: &'static dyn Projection, context: ProjectionContext, env: Env) -> Self {
        Self { projection, context, env, tasks: BTreeMap::new() }
    }

    /// What is to be said of the versions, and whether the one that is read stands still, as it would not with another
    /// program.
    pub(crate) fn report(&self) -> (ProjectionReport, bool) {
        let live = self.context.events.progress().live_version(self.projection.name());
        let shown = |work: &VersionTask| work.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let versions: BTreeMap<_, _> =
            self.tasks.iter().map(|(number, work)| (*number, shown(work))).collect();
        let stuck = versions.get(&live).is_some_and(|shown: &VersionReport| {
            matches!(shown.health, VersionHealth::Halted(_) | VersionHealth::Unknown(_))
        });
        (ProjectionReport { versions }, stuck)
    }

    /// Starts what is missing and stops what is no longer wanted.
    pub(crate) async fn reconcile(&mut self, versions: &ProjectionVersions) {
        self.drop_unsupported(versions).await;
        self.rebuild_if_outdated(versions).await;
        self.tasks.retain(|number, work| {
            let wanted =
                versions.get(*number).is_some_and(|version| same_kind_of_task(version.stage, work.stage));
            wanted && work.task.as_ref().is_none_or(|task| !task.is_finished())
        });
        for version in &versions.kept {
            if self.tasks.contains_key(&version.number) {
                continue;
            }
            match self.spawn_task(version).await {
                Ok(work) => drop(self.tasks.insert(version.number, work)),
                Err(error) => {
                    tracing::warn!(projection = self.projection.name(), version = version.number, %error, "cannot keep it yet");
                }
            }
        }
    }

    /// A version by a fold that programs no longer have is dropped, unless it is read: nobody keeps it, so whoever is erased
    /// would stay in it.
    async fn drop_unsupported(&self, versions: &ProjectionVersions) {
        let (name, mine) = (self.projection.name(), self.projection.version());
        let unsupported = |version: &&ProjectionVersion| {
            let is_known = version.fold >= mine || self.projection.with_version(version.fold).is_some();
            !is_known && version.number != versions.live && version.stage != VersionStage::Dropping
        };
        for ProjectionVersion { number, fold, .. } in versions.kept.iter().filter(unsupported) {
            match lifecycle::drop(self.projection, &self.context, *number).await {
                Ok(_) => tracing::info!(
                    projection = name,
                    version = number,
                    fold,
                    "its fold is unsupported: it is dropped"
                ),
                Err(error) => tracing::warn!(projection = name, version = number, %error, "cannot drop it"),
            }
        }
    }

    /// A fold of this program that no version is made by gets one, unless somebody has dropped that before. Older programs, which may still run beside it, do
    /// nothing of the kind.
    async fn rebuild_if_outdated(&self, versions: &ProjectionVersions) {
        let mine = self.projection.version();
        let is_new = mine > versions.declined && versions.kept.iter().all(|version| version.fold < mine);
        if is_new && versions.building().is_none() {
            let by = format!("system: the program has version {mine} of the fold");
            match lifecycle::rebuild(self.projection, &self.context, &by, self.env.now()).await {
                Ok(_) => tracing::info!(
                    projection = self.projection.name(),
                    "the read model has changed with the program; it is made anew beside the one that is read"
                ),
                Err(error) => tracing::warn!(projection = self.projection.name(), %error, "cannot rebuild"),
            }
        }
    }

    async fn spawn_task(&self, version: &ProjectionVersion) -> Result<VersionTask, StoreError> {
        let ProjectionVersion { number, stage, .. } = *version;
        let shown = SharedStatus::default();
        let work = |task| VersionTask { shown: Arc::clone(&shown), stage, task };
        if stage == VersionStage::Dropping {
            let (projection, context) = (self.projection, self.context.clone());
            return Ok(work(Some(tokio::spawn(drop_table(projection, context, number)))));
        }
        let Some(projection) = TableProjection::of(self.projection, version, &self.context) else {
            let why = format!("version {} of its fold is not in this program", version.fold);
            shown.lock().unwrap_or_else(PoisonError::into_inner).health = VersionHealth::Unknown(why);
            return Ok(work(None));
        };
        // One that somebody has dropped is made here, and filled anew from its start.
        self.context.rows.prepare(&projection.table).await?;
        if stage == VersionStage::Ready {
            self.context.rows.index(&projection.table).await?;
        }
        let projector = Projector::new(projection, Arc::clone(&shown));
        Ok(work(Some(tokio::spawn(projector.run(Cutover { number })))))
    }
}

/// What a version needs is the same work while it is built and afterwards.
fn same_kind_of_task(one: VersionStage, other: VersionStage) -> bool {
    (one == VersionStage::Dropping) == (other == VersionStage::Dropping)
}

/// Removes the table of a version once nobody reads it any more.
async fn drop_table(projection: &'static dyn Projection, context: ProjectionContext, number: u64) {
    sleep(VERSION_CHANGE_GRACE).await;
    loop {
        // Whichever fold has made it, the name is the same.
        match try_drop_table(projection, &context, number).await {
            Ok(()) => {
                tracing::info!(projection = projection.name(), version = number, "the version is dropped");
                return;
            }
            Err(error) => {
                tracing::warn!(projection = projection.name(), version = number, %error, "cannot drop it yet");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn try_drop_table(
    projection: &'static dyn Projection,
    context: &ProjectionContext,
    number: u64,
) -> Result<(), lifecycle::ChangeError> {
    context.rows.remove(&projection.table(number)).await?;
    lifecycle::remove_version(projection, context, number).await
}
