//! All versions of one projection on the node that owns it: each is kept, built, or removed, by a task of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use store::{Ambient, Stage, StoreError, Version, Versions};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::finisher::Finisher;
use crate::folding::Folding;
use crate::keeper::{Keeper, Shown};
use crate::models;
use crate::projection::Projection;
use crate::report::{Health, Report, VersionReport};
use crate::sources::Sources;

/// Every node hears of a change of versions within a second, even if a wake-up gets lost. What was read before stays for
/// twice that.
const ALL_HAVE_HEARD: Duration = Duration::from_secs(2);
/// The pause before a table that could not be removed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is at work.
pub(crate) struct Keepers {
    projection: &'static dyn Projection,
    sources: Sources,
    ambient: Ambient,
    /// By the number of their version.
    at_work: BTreeMap<u64, Work>,
}

/// One version's work, and what is shown of it. Dropping it stops the work.
struct Work {
    shown: Shown,
    stage: Stage,
    task: Option<JoinHandle<()>>,
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Keepers {
    pub(crate) fn new(projection: &'static dyn Projection, sources: Sources, ambient: Ambient) -> Self {
        Self { projection, sources, ambient, at_work: BTreeMap::new() }
    }

    /// What is to be said of the versions, and whether the one that is read stands still, as it would not with another
    /// program.
    pub(crate) fn look(&self) -> (Report, bool) {
        let live = self.sources.events.signal().live(self.projection.name());
        let shown = |work: &Work| work.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let versions: BTreeMap<_, _> =
            self.at_work.iter().map(|(number, work)| (*number, shown(work))).collect();
        let stuck = versions.get(&live).is_some_and(|shown: &VersionReport| {
            matches!(shown.health, Health::Halted(_) | Health::Unknown(_))
        });
        (Report { versions }, stuck)
    }

    /// Starts what is missing and stops what is no longer wanted.
    pub(crate) async fn arrange(&mut self, versions: &Versions) {
        self.retire(versions).await;
        self.upgrade(versions).await;
        self.at_work.retain(|number, work| {
            let wanted = versions.get(*number).is_some_and(|version| same(version.stage, work.stage));
            wanted && work.task.as_ref().is_none_or(|task| !task.is_finished())
        });
        for version in &versions.kept {
            if self.at_work.contains_key(&version.number) {
                continue;
            }
            match self.begin(version).await {
                Ok(work) => drop(self.at_work.insert(version.number, work)),
                Err(error) => {
                    tracing::warn!(projection = self.projection.name(), version = version.number, %error, "cannot keep it yet");
                }
            }
        }
    }

    /// A version by a fold that programs no longer have is dropped, unless it is read: nobody keeps it, so whoever is erased
    /// would stay in it.
    async fn retire(&self, versions: &Versions) {
        let (name, mine) = (self.projection.name(), self.projection.version());
        let outlived = |version: &&Version| {
            let is_known = version.fold >= mine || self.projection.fold_of(version.fold).is_some();
            !is_known && version.number != versions.live && version.stage != Stage::Dropping
        };
        for Version { number, fold, .. } in versions.kept.iter().filter(outlived) {
            match models::drop(self.projection, &self.sources, *number).await {
                Ok(_) => tracing::info!(
                    projection = name,
                    version = number,
                    fold,
                    "its fold is outlived: it is dropped"
                ),
                Err(error) => tracing::warn!(projection = name, version = number, %error, "cannot drop it"),
            }
        }
    }

    /// A fold of this program that no version is made by gets one, unless somebody has dropped that before. Older programs, which may still run beside it, do
    /// nothing of the kind.
    async fn upgrade(&self, versions: &Versions) {
        let mine = self.projection.version();
        let is_new = mine > versions.declined && versions.kept.iter().all(|version| version.fold < mine);
        if is_new && versions.building().is_none() {
            let by = format!("system: the program has version {mine} of the fold");
            match models::rebuild(self.projection, &self.sources, &by, self.ambient.now()).await {
                Ok(_) => tracing::info!(
                    projection = self.projection.name(),
                    "the read model has changed with the program; it is made anew beside the one that is read"
                ),
                Err(error) => tracing::warn!(projection = self.projection.name(), %error, "cannot rebuild"),
            }
        }
    }

    async fn begin(&self, version: &Version) -> Result<Work, StoreError> {
        let Version { number, stage, .. } = *version;
        let shown = Shown::default();
        let work = |task| Work { shown: Arc::clone(&shown), stage, task };
        if stage == Stage::Dropping {
            let (projection, sources) = (self.projection, self.sources.clone());
            return Ok(work(Some(tokio::spawn(remove(projection, sources, number)))));
        }
        let Some(folding) = Folding::of(self.projection, version, &self.sources) else {
            let why = format!("version {} of its fold is not in this program", version.fold);
            shown.lock().unwrap_or_else(PoisonError::into_inner).health = Health::Unknown(why);
            return Ok(work(None));
        };
        // One that somebody has dropped is made here, and filled anew from its start.
        self.sources.rows.prepare(&folding.table).await?;
        if stage == Stage::Ready {
            self.sources.rows.index(&folding.table).await?;
        }
        let keeper = Keeper::new(folding, Arc::clone(&shown));
        Ok(work(Some(tokio::spawn(keeper.run(Finisher { number })))))
    }
}

/// What a version needs is the same work while it is built and afterwards.
fn same(one: Stage, other: Stage) -> bool {
    (one == Stage::Dropping) == (other == Stage::Dropping)
}

/// Removes the table of a version once nobody reads it any more.
async fn remove(projection: &'static dyn Projection, sources: Sources, number: u64) {
    sleep(ALL_HAVE_HEARD).await;
    loop {
        // Whichever fold has made it, the name is the same.
        match remove_once(projection, &sources, number).await {
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

async fn remove_once(
    projection: &'static dyn Projection,
    sources: &Sources,
    number: u64,
) -> Result<(), models::ChangeError> {
    sources.rows.remove(&projection.table(number)).await?;
    models::forget(projection, sources, number).await
}
