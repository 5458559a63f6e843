//! Supervises all versions of all projections on the leader: one task per version projects, rebuilds or drops
//! it; those that have caught up share a lane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use store::{Env, ProjectionVersion, ProjectionVersions, StoreError, VersionStage};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::context::ProjectionContext;
use crate::lane::{Lane, LaneEntrance};
use crate::lifecycle;
use crate::projection::Projection;
use crate::projector::Projector;
use crate::report::{ProjectionReport, ProjectionReports, VersionHealth};
use crate::status::SharedStatus;
use crate::table_projection::TableProjection;

/// How long a dropped version keeps its table. Every node learns of a version change within a second, even if
/// a notification is lost; readers of the previous version have twice that.
const VERSION_CHANGE_GRACE: Duration = Duration::from_secs(2);
/// The delay before dropping a table is retried.
const PAUSE: Duration = Duration::from_secs(1);

/// The projector tasks of all projections, and the lane that they share.
pub(crate) struct ProjectorSupervisor {
    projections: Arc<[&'static dyn Projection]>,
    context: ProjectionContext,
    env: Env,
    /// By projection and version number.
    tasks: BTreeMap<(&'static str, u64), VersionTask>,
    lane: LaneEntrance,
    /// Runs the lane. Aborted on drop, after the tasks.
    _lane: JoinSet<()>,
}

/// The task of one version and its status. Dropping it aborts the task.
struct VersionTask {
    status: SharedStatus,
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
    pub(crate) fn new(
        projections: Arc<[&'static dyn Projection]>,
        context: ProjectionContext,
        env: Env,
    ) -> Self {
        let (lane, entrance) = Lane::new(context.clone());
        let mut running = JoinSet::new();
        running.spawn(lane.run());
        Self { projections, context, env, tasks: BTreeMap::new(), lane: entrance, _lane: running }
    }

    /// The status of every version, and whether a live one is stuck in a way that another release might not
    /// be.
    pub(crate) fn report(&self) -> (ProjectionReports, bool) {
        let progress = self.context.events.progress();
        let mut reports = ProjectionReports::new();
        for projection in &*self.projections {
            reports.insert(projection.name().to_owned(), ProjectionReport::default());
        }
        let mut is_stuck = false;
        for ((name, number), task) in &self.tasks {
            let report = task.status.report();
            let halted = matches!(report.health, VersionHealth::Halted(_) | VersionHealth::Unknown(_));
            is_stuck |= halted && progress.live_version(name) == *number;
            reports.entry((*name).to_owned()).or_default().versions.insert(*number, report);
        }
        (reports, is_stuck)
    }

    /// Starts missing tasks of a projection and stops those no longer wanted; returns whether every version has
    /// its task.
    pub(crate) async fn reconcile(
        &mut self,
        projection: &'static dyn Projection,
        versions: &ProjectionVersions,
    ) -> bool {
        self.drop_unsupported(projection, versions).await;
        self.rebuild_if_outdated(projection, versions).await;
        let name = projection.name();
        self.tasks.retain(|(of, number), work| {
            let wanted =
                versions.get(*number).is_some_and(|version| same_kind_of_task(version.stage, work.stage));
            *of != name || (wanted && work.task.as_ref().is_none_or(|task| !task.is_finished()))
        });
        let mut is_complete = true;
        for version in &versions.kept {
            if self.tasks.contains_key(&(name, version.number)) {
                continue;
            }
            match self.spawn_task(projection, version).await {
                Ok(work) => drop(self.tasks.insert((name, version.number), work)),
                Err(error) => {
                    tracing::warn!(projection = name, version = version.number, %error, "projector not started; retrying");
                    is_complete = false;
                }
            }
        }
        is_complete
    }

    /// Drops versions whose projection code is no longer supported, except the live one: no projector updates
    /// them, so erased users would stay in them.
    async fn drop_unsupported(&self, projection: &'static dyn Projection, versions: &ProjectionVersions) {
        let (name, mine) = (projection.name(), projection.version());
        let unsupported = |version: &&ProjectionVersion| {
            let is_known = version.fold >= mine || projection.with_version(version.fold).is_some();
            !is_known && version.number != versions.live && version.stage != VersionStage::Dropping
        };
        for ProjectionVersion { number, fold, .. } in versions.kept.iter().filter(unsupported) {
            match lifecycle::drop(projection, &self.context, *number).await {
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
    async fn rebuild_if_outdated(&self, projection: &'static dyn Projection, versions: &ProjectionVersions) {
        let mine = projection.version();
        let is_new = mine > versions.declined && versions.kept.iter().all(|version| version.fold < mine);
        if is_new && versions.building().is_none() {
            let by = format!("system: the program has version {mine} of the fold");
            match lifecycle::rebuild(projection, &self.context, &by, self.env.now()).await {
                Ok(_) => tracing::info!(
                    projection = projection.name(),
                    "projection version of this release is new; rebuilding beside the live version"
                ),
                Err(error) => {
                    tracing::warn!(projection = projection.name(), %error, "rebuild not started");
                }
            }
        }
    }

    async fn spawn_task(
        &self,
        projection: &'static dyn Projection,
        version: &ProjectionVersion,
    ) -> Result<VersionTask, StoreError> {
        let ProjectionVersion { number, stage, .. } = *version;
        let status = SharedStatus::default();
        let work = |task| VersionTask { status: status.clone(), stage, task };
        if stage == VersionStage::Dropping {
            let context = self.context.clone();
            return Ok(work(Some(tokio::spawn(drop_table(projection, context, number)))));
        }
        let Some(projection) = TableProjection::of(projection, version, &self.context) else {
            let why = format!("projection version {} is not part of this release", version.fold);
            status.show(VersionHealth::Unknown(why), None, 0);
            return Ok(work(None));
        };
        // Creates a table that was dropped by hand; it is then filled from the start.
        self.context.prepare(&projection.table, stage).await?;
        let projector = Projector::new(projection, status.clone(), self.lane.clone());
        Ok(work(Some(tokio::spawn(projector.run()))))
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
