//! The runner: of all nodes, one keeps a projection, under a lease; the others stand by. It keeps every version, builds what
//! is to be built and removes what is to be dropped. The lease only saves double work: a node that believes it holds it
//! and no longer does writes nothing, since the checkpoint has moved.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use store::{Ambient, Lease, StoreError};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use crate::keepers::Keepers;
use crate::lease::{Claim, TERM, lease_name, to_report};
use crate::projection::Projection;
use crate::report::Report;
use crate::sources::Sources;

/// How often the lease is renewed, and how often others look whether it is free.
const RENEWED: Duration = Duration::from_millis(800);
/// How long what is read may stand still before another node, which may run another program, may try.
const HALTED: Duration = Duration::from_secs(2);
/// How long whoever gave way stays away: others look more often.
const STAND_BACK: Duration = Duration::from_secs(1);
/// How much longer, if another node has taken over: should that one give way as well, it is the turn of a third.
const THEIR_TURN: Duration = Duration::from_secs(5);
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
    claim: Claim,
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

/// Why a node no longer keeps a projection.
enum End {
    /// The lease is another's, or nobody's.
    Lost,
    /// What is read stands still here, and might go on elsewhere.
    GaveWay,
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
        let claim = Claim::new(Arc::clone(&sources.leases), &lease_name(projection), holder);
        let standing = watch::Sender::new(Standing::default());
        Self { projection, sources, ambient, claim, is_gone: |_| false, standing }
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
        let holder = Arc::clone(self.claim.holder());
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
                Ok(lease) if self.is_mine(&lease) => {
                    let end = self.work().await;
                    self.release().await;
                    sleep(STAND_BACK).await;
                    if matches!(end, End::GaveWay) && self.others_want_it().await {
                        sleep(THEIR_TURN).await;
                    }
                }
                Ok(lease) if (self.is_gone)(&lease.holder) => self.inherit(&lease).await,
                Ok(lease) => {
                    self.show_other(&lease);
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
    async fn work(&self) -> End {
        tracing::info!(projection = self.projection.name(), "this node keeps the projection");
        let keepers = Keepers::new(self.projection, self.sources.clone(), self.ambient.clone());
        let keepers = Mutex::new(keepers);
        tokio::select! {
            biased;
            end = self.renew(&keepers) => end,
            never = self.keep(&keepers) => match never {},
        }
    }

    /// Whether another node has taken the lease since this one gave way.
    async fn others_want_it(&self) -> bool {
        let leases = self.sources.leases.leases().await.unwrap_or_default();
        let theirs =
            |lease: &Lease| lease.name == self.claim.name() && lease.is_held() && !self.is_mine(lease);
        let Some(lease) = leases.into_iter().find(theirs) else { return false };
        self.show_other(&lease);
        true
    }

    /// Renews the lease, whatever the keepers do.
    async fn renew(&self, keepers: &Mutex<Keepers>) -> End {
        let (mut renewed, mut halted) = (Instant::now(), None);
        loop {
            sleep(RENEWED).await;
            // Whoever is changing the keepers waits for the database; the lease does not wait for them.
            if let Ok(keepers) = keepers.try_lock() {
                let (report, stuck) = keepers.look();
                self.show(Some(self.claim.holder().to_string()), report, Some(renewed));
                halted = if stuck { halted.or_else(|| Some(Instant::now())) } else { None };
            }
            if halted.is_some_and(|since: Instant| since.elapsed() > HALTED) {
                return End::GaveWay;
            }
            match self.lease().await {
                Ok(lease) if self.is_mine(&lease) => renewed = Instant::now(),
                Ok(lease) => {
                    let (projection, owner) = (self.projection.name(), lease.holder);
                    tracing::info!(projection, owner, "another node keeps the projection");
                    return End::Lost;
                }
                Err(error) if renewed.elapsed() > TERM => {
                    tracing::warn!(projection = self.projection.name(), %error, "the lease has run out");
                    return End::Lost;
                }
                Err(_) => {}
            }
        }
    }

    /// Has every version kept that is to be kept, as long as it is.
    async fn keep(&self, keepers: &Mutex<Keepers>) -> Infallible {
        let name = self.projection.name();
        loop {
            let mut signals = self.sources.events.signals();
            let seen = match self.sources.rows.versions(name).await {
                Ok(Some(versions)) => {
                    keepers.lock().await.arrange(&versions).await;
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

    async fn lease(&self) -> Result<Lease, StoreError> {
        self.claim.take(&self.standing().report).await
    }

    async fn release(&self) {
        self.claim.give_back(&self.standing().report).await;
    }

    /// Whether it is this node that holds it.
    fn is_mine(&self, lease: &Lease) -> bool {
        *lease.holder == **self.claim.holder()
    }

    fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Says what another node says, and when it did.
    fn show_other(&self, lease: &Lease) {
        let reported = Instant::now().checked_sub(TERM.saturating_sub(lease.left));
        self.show(Some(lease.holder.clone()), to_report(lease), reported);
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
