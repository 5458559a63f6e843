//! The runner: of all nodes, one keeps a projection, under a lease; the others stand by. It keeps every version, builds what
//! is to be built and removes what is to be dropped. The lease only saves double work: a node that believes it holds it
//! and no longer does writes nothing, since the checkpoint has moved.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use store::{Ambient, Lease, Stage, StoreError, Version, Versions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::finisher::Finisher;
use crate::folding::Folding;
use crate::keeper::{Keeper, Shown};
use crate::models;
use crate::projection::Projection;
use crate::report::{Health, Report, VersionReport};
use crate::sources::Sources;

/// How long a node that has fallen silent keeps its lease.
const TERM: Duration = Duration::from_millis(2_400);
/// How often the lease is renewed, and how often others look whether it is free.
const RENEWED: Duration = Duration::from_millis(800);
/// How long what is read may be halted before another node may try.
const HALTED: Duration = Duration::from_secs(2);
/// How long whoever gave way stays away: others look more often.
const STAND_BACK: Duration = Duration::from_secs(1);
/// Every node hears of a change of versions within a second, even if a wake-up gets lost. What was read before stays for
/// twice that.
const ALL_HAVE_HEARD: Duration = Duration::from_secs(2);
/// A wake-up that got lost costs no more than this.
const POLL: Duration = Duration::from_secs(1);

/// Who keeps a projection, and how it is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The node that keeps it, as far as this one knows.
    pub owner: Option<String>,
    /// What that node says.
    pub report: Report,
    /// When it last said so.
    pub reported: Option<Instant>,
}

/// Keeps one projection whenever no other node does.
pub struct Runner {
    projection: &'static dyn Projection,
    sources: Sources,
    ambient: Ambient,
    holder: Arc<str>,
    is_gone: fn(&str) -> bool,
    standing: watch::Sender<Standing>,
}

/// A runner at work in the background, until it is dropped.
pub struct RunnerHandle {
    projection: &'static dyn Projection,
    holder: Arc<str>,
    standing: watch::Receiver<Standing>,
    stop: Arc<tokio::sync::Notify>,
}

impl RunnerHandle {
    /// What is kept.
    #[must_use]
    pub fn projection(&self) -> &'static dyn Projection {
        self.projection
    }

    /// Who keeps it, and how it is doing.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nothing happens between borrowing and copying")]
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Whether it is this node that keeps it, as far as it knows.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.standing().owner.as_deref() == Some(&*self.holder)
    }

    /// Follows that.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Stops, and gives the lease back.
    pub async fn stop(&self) {
        self.stop.notify_one();
        // Its other end is gone once it has ended, whichever way.
        let mut standing = self.standing.clone();
        while standing.changed().await.is_ok() {}
    }
}

impl Drop for RunnerHandle {
    fn drop(&mut self) {
        // It gives the lease back by itself. Between two awaits at most a transaction is lost, which then was not
        // committed, or was, whole.
        self.stop.notify_one();
    }
}

/// Keepers at work, by the number of their version.
type Keepers = BTreeMap<u64, Work>;

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

impl Runner {
    /// A runner of this projection. `holder` tells this node from all others.
    #[must_use]
    pub fn new(
        projection: &'static dyn Projection,
        sources: Sources,
        ambient: Ambient,
        holder: &str,
    ) -> Self {
        let standing = watch::Sender::new(Standing::default());
        Self { projection, sources, ambient, holder: holder.into(), is_gone: |_| false, standing }
    }

    /// Takes the lease at once from a holder of whom `is_gone` is sure that it works no more, instead of waiting until
    /// it runs out.
    #[must_use]
    pub fn told_who_is_gone(self, is_gone: fn(&str) -> bool) -> Self {
        Self { is_gone, ..self }
    }

    /// Starts it in the background.
    #[must_use]
    pub fn start(self) -> RunnerHandle {
        let (projection, standing) = (self.projection, self.standing.subscribe());
        let holder = Arc::clone(&self.holder);
        let stop = Arc::new(tokio::sync::Notify::new());
        let stopped = Arc::clone(&stop);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.notified() => {}
                () = self.run() => {}
            }
            self.release().await;
        });
        RunnerHandle { projection, holder, standing, stop }
    }

    async fn run(&self) {
        loop {
            match self.lease().await {
                Ok(lease) if *lease.holder == *self.holder => {
                    self.work().await;
                    self.release().await;
                    sleep(STAND_BACK).await;
                }
                Ok(lease) if (self.is_gone)(&lease.holder) => self.inherit(&lease).await,
                Ok(lease) => {
                    let ago = TERM.saturating_sub(lease.left);
                    let reported = Instant::now().checked_sub(ago);
                    self.show(Some(lease.holder.clone()), to_report(&lease), reported);
                    sleep(RENEWED.min(lease.left)).await;
                }
                Err(error) => {
                    tracing::debug!(projection = self.projection.name(), %error, "cannot take the lease");
                    sleep(RENEWED).await;
                }
            }
        }
    }

    /// Gives the lease back in the name of a holder that is gone.
    async fn inherit(&self, lease: &Lease) {
        let (projection, owner) = (self.projection.name(), &lease.holder);
        tracing::info!(projection, owner, "the node that kept the projection is gone");
        let released = self.sources.leases.release(&lease.name, owner, &lease.report).await;
        if let Err(error) = released {
            tracing::debug!(projection, %error, "the lease ends by itself");
            sleep(RENEWED).await;
        }
    }

    /// Works until the lease is lost, or another node had better try.
    async fn work(&self) {
        tracing::info!(projection = self.projection.name(), "this node keeps the projection");
        let keepers = tokio::sync::Mutex::new(Keepers::new());
        tokio::select! {
            () = self.renew(&keepers) => {}
            () = self.keep(&keepers) => {}
        }
    }

    /// Renews the lease, whatever the keepers do.
    async fn renew(&self, keepers: &tokio::sync::Mutex<Keepers>) {
        let (mut renewed, mut halted) = (Instant::now(), None);
        loop {
            sleep(RENEWED).await;
            let (report, is_halted) = self.look(&*keepers.lock().await);
            self.show(Some(self.holder.to_string()), report, Some(renewed));
            halted = if is_halted { halted.or_else(|| Some(Instant::now())) } else { None };
            if halted.is_some_and(|since: Instant| since.elapsed() > HALTED) {
                return;
            }
            match self.lease().await {
                Ok(lease) if *lease.holder == *self.holder => renewed = Instant::now(),
                Ok(lease) => {
                    let (projection, owner) = (self.projection.name(), lease.holder);
                    tracing::info!(projection, owner, "another node keeps the projection");
                    return;
                }
                Err(error) if renewed.elapsed() > TERM => {
                    tracing::warn!(projection = self.projection.name(), %error, "the lease has run out");
                    return;
                }
                Err(_) => {}
            }
        }
    }

    /// What is to be said of the versions, and whether the one that is read is halted.
    fn look(&self, keepers: &Keepers) -> (Report, bool) {
        let live = self.sources.events.signal().live(self.projection.name());
        let shown = |work: &Work| work.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let versions: BTreeMap<_, _> = keepers.iter().map(|(number, work)| (*number, shown(work))).collect();
        let halted = versions
            .get(&live)
            .is_some_and(|shown: &VersionReport| matches!(shown.health, Health::Halted(_)));
        (Report { versions }, halted)
    }

    /// Has every version kept that is to be kept, as long as it is.
    async fn keep(&self, keepers: &tokio::sync::Mutex<Keepers>) {
        let name = self.projection.name();
        loop {
            let mut signals = self.sources.events.signals();
            let seen = match self.sources.rows.versions(name).await {
                Ok(Some(versions)) => {
                    self.arrange(&versions, &mut *keepers.lock().await).await;
                    versions.revision
                }
                Ok(None) => 0,
                Err(error) => {
                    tracing::debug!(projection = name, %error, "cannot read the versions");
                    0
                }
            };
            let news = signals.wait_for(|signal| {
                signal.versions.get(name).is_some_and(|versions| versions.revision > seen)
            });
            drop(tokio::time::timeout(POLL, news).await);
        }
    }

    /// Starts what is missing and stops what is no longer wanted.
    async fn arrange(&self, versions: &Versions, keepers: &mut Keepers) {
        self.upgrade(versions).await;
        keepers.retain(|number, work| {
            let wanted = versions.get(*number).is_some_and(|version| same(version.stage, work.stage));
            wanted && work.task.as_ref().is_none_or(|task| !task.is_finished())
        });
        for version in &versions.kept {
            if keepers.contains_key(&version.number) {
                continue;
            }
            match self.begin(version).await {
                Ok(work) => drop(keepers.insert(version.number, work)),
                Err(error) => {
                    tracing::warn!(projection = self.projection.name(), version = version.number, %error, "cannot keep it yet");
                }
            }
        }
    }

    /// A fold of this program that no version is made by gets one. Older programs, which may still run beside it, do
    /// nothing of the kind.
    async fn upgrade(&self, versions: &Versions) {
        let mine = self.projection.version();
        if versions.building().is_none() && versions.kept.iter().all(|version| version.fold < mine) {
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
        let Some(fold) = self.projection.fold_of(version.fold) else {
            let why = format!("version {} of its fold is not in this program", version.fold);
            shown.lock().unwrap_or_else(PoisonError::into_inner).health = Health::Unknown(why);
            return Ok(work(None));
        };
        let folding = Folding { projection: fold, table: fold.table(number), sources: self.sources.clone() };
        self.sources.rows.prepare(&folding.table).await?;
        let keeper = Keeper::new(folding, Arc::clone(&shown));
        Ok(work(Some(tokio::spawn(keeper.run(Finisher { number })))))
    }

    async fn lease(&self) -> Result<Lease, StoreError> {
        let report = serde_json::to_value(&self.standing().report).unwrap_or_default();
        self.sources.leases.lease(&lease_name(self.projection), &self.holder, TERM, &report).await
    }

    async fn release(&self) {
        let report = serde_json::to_value(&self.standing().report).unwrap_or_default();
        let released = self.sources.leases.release(&lease_name(self.projection), &self.holder, &report).await;
        if let Err(error) = released {
            tracing::debug!(projection = self.projection.name(), %error, "the lease ends by itself");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "nothing happens between borrowing and copying")]
    fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    fn show(&self, owner: Option<String>, report: Report, reported: Option<Instant>) {
        let standing = Standing { owner, report, reported };
        self.standing.send_if_modified(|known| {
            let news = *known != standing;
            *known = standing;
            news
        });
    }
}

/// What a version needs is the same work while it is built and afterwards.
fn same(one: Stage, other: Stage) -> bool {
    (one == Stage::Dropping) == (other == Stage::Dropping)
}

/// Under which name the lease of a projection is given out.
#[must_use]
pub fn lease_name(projection: &dyn Projection) -> String {
    format!("projection/{}", projection.name())
}

/// What the holder of a lease says; nothing if it says nothing that is understood here.
#[must_use]
pub fn to_report(lease: &Lease) -> Report {
    serde_json::from_value(lease.report.clone()).unwrap_or_default()
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
                sleep(POLL).await;
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
