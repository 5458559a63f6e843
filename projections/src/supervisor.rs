//! Supervises all versions of one projection on the leader: one task per version projects, rebuilds or drops
//! it.

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

/// How long a dropped version keeps its table. Every node learns of a version change within a second, even if
/// a notification is lost; readers of the previous version have twice that.
const VERSION_CHANGE_GRACE: Duration = Duration::from_secs(2);
/// The delay before dropping a table is retried.
const PAUSE: Duration = Duration::from_secs(1);

/// The projector tasks of one projection.
pub(crate) struct ProjectorSupervisor {
    projection: &'static dyn Projection,
    context: ProjectionContext,
    env: Env,
    /// By version number.
    tasks: BTreeMap<u64, VersionTask>,
}

/// The task of one version and its status. Dropping it aborts the task.
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

    /// The status of every version, and whether the live one is stuck in a way that another release might not
    /// be.
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

    /// Starts missing tasks and stops those no longer wanted.
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
                    tracing::warn!(projection = self.projection.name(), version = version.number, %error, "projector not started; retrying");
                }
            }
        }
    }

    /// Drops versions whose projection code is no longer supported, except the live one: no projector updates
    /// them, so erased users would stay in them.
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
                Err(error) => {
                    tracing::warn!(projection = name, version = number, %error, "version not dropped");
                }
            }
        }
    }

    /// Rebuilds with the projection version of this release if no stored version has it yet, unless an
    /// operator has dropped it. Older releases that still run do not.
    async fn rebuild_if_outdated(&self, versions: &ProjectionVersions) {
        let mine = self.projection.version();
        let is_new = mine > versions.declined && versions.kept.iter().all(|version| version.fold < mine);
        if is_new && versions.building().is_none() {
            let by = format!("system: the program has version {mine} of the fold");
            match lifecycle::rebuild(self.projection, &self.context, &by, self.env.now()).await {
                Ok(_) => tracing::info!(
                    projection = self.projection.name(),
                    "projection version of this release is new; rebuilding beside the live version"
                ),
                Err(error) => {
                    tracing::warn!(projection = self.projection.name(), %error, "rebuild not started");
                }
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
            let why = format!("projection version {} is not part of this release", version.fold);
            shown.lock().unwrap_or_else(PoisonError::into_inner).health = VersionHealth::Unknown(why);
            return Ok(work(None));
        };
        // Creates a table that was dropped by hand; it is then filled from the start.
        self.context.rows.prepare(&projection.table).await?;
        if stage == VersionStage::Ready {
            self.context.rows.index(&projection.table).await?;
        }
        let projector = Projector::new(projection, Arc::clone(&shown));
        Ok(work(Some(tokio::spawn(projector.run(Cutover { number })))))
    }
}

/// A version needs the same task while it is built and once it is ready.
fn same_kind_of_task(one: VersionStage, other: VersionStage) -> bool {
    (one == VersionStage::Dropping) == (other == VersionStage::Dropping)
}

/// Drops the table of a version once no node reads it.
async fn drop_table(projection: &'static dyn Projection, context: ProjectionContext, number: u64) {
    sleep(VERSION_CHANGE_GRACE).await;
    loop {
        // The table name does not depend on the projection version.
        match try_drop_table(projection, &context, number).await {
            Ok(()) => {
                tracing::info!(projection = projection.name(), version = number, "version dropped");
                return;
            }
            Err(error) => {
                tracing::warn!(projection = projection.name(), version = number, %error, "table not dropped; retrying");
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
