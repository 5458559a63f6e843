//! Leader election: of all nodes, the one that holds a lease does a job; the others follow and take over.
//!
//! A lease only avoids duplicate work. A node that believes it is still the leader and is not does no harm,
//! because every job moves its own checkpoint or cursor by compare-and-set. The loop of a job is:
//!
//! 1. [`LeaderElection::wait_until_leader`]: followers publish what the leader reports, and take over a lease
//!    that has expired, was released, or is held by a node known to be dead.
//! 2. [`LeaderElection::renew`] beside the work, until the lease is lost or a stuck leader yields.
//! 3. [`LeaderElection::step_down`], then from the start; [`LeaderElection::release`] when the node stops.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::error::StoreError;
use crate::lease::{Lease, LeaseStore};
use crate::lock::lock;

/// How long a lease lasts without renewal: an unresponsive leader is replaced after this time.
pub const LEASE_TERM: Duration = Duration::from_millis(2_400);
/// How often the leader renews its lease and followers check whether it is free.
pub const RENEW_INTERVAL: Duration = Duration::from_millis(800);

/// How long a leader may be stuck before it yields to a node that may run another release.
const MAX_STUCK: Duration = Duration::from_secs(2);
/// How long a node that stepped down does not compete. Longer than [`RENEW_INTERVAL`], so that every follower
/// tries first.
const STEP_DOWN_PAUSE: Duration = Duration::from_secs(1);
/// How much longer a node that yielded stays away if another one has taken over: should that one be stuck as
/// well, a third node gets its turn before this one.
const YIELD_BACKOFF: Duration = Duration::from_secs(5);

/// Who leads, and what the leader reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeadershipStatus<R> {
    /// The lease holder, as known to this node.
    pub owner: Option<String>,
    /// The last report of the leader.
    pub report: R,
    /// When the leader last renewed its lease.
    pub reported: Option<Instant>,
}

/// The report of a leader on its job at each renewal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaderReport<R> {
    /// Stored in the lease, for all nodes to read.
    pub report: R,
    /// Whether the job cannot continue here but might with another release or configuration.
    pub is_stuck: bool,
}

/// Why a node is no longer the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeadershipEnd {
    /// Another node holds the lease, or it has expired.
    Lost,
    /// The job is stuck; another node had better try.
    Yielded,
}

/// One node's candidacy for one lease.
pub struct LeaderElection<R> {
    leases: Arc<dyn LeaseStore>,
    name: Arc<str>,
    holder: Arc<str>,
    is_known_dead: fn(&str) -> bool,
    /// At most one request is in flight, and none is abandoned: a late renewal would otherwise overtake the
    /// release, and no node would lead for a whole term.
    in_flight: Arc<Mutex<()>>,
    /// When the request was sent by which this node became the leader: the term counts from it, because the
    /// answer may have been slow.
    acquired: std::sync::Mutex<Option<Instant>>,
    status: watch::Sender<LeadershipStatus<R>>,
}

impl<R> LeaderElection<R>
where
    R: Clone + Default + PartialEq + Serialize + DeserializeOwned,
{
    /// A candidacy of the node `holder` for the lease `name`.
    #[must_use]
    pub fn new(leases: Arc<dyn LeaseStore>, name: &str, holder: &str) -> Self {
        let status = watch::Sender::new(LeadershipStatus::default());
        let (name, holder) = (name.into(), holder.into());
        let (in_flight, acquired) = Default::default();
        Self { leases, name, holder, is_known_dead: |_| false, in_flight, acquired, status }
    }

    /// Takes over the lease of a holder for which `is_known_dead` is true, instead of waiting until it
    /// expires.
    #[must_use]
    pub fn with_dead_holder_check(self, is_known_dead: fn(&str) -> bool) -> Self {
        Self { is_known_dead, ..self }
    }

    /// The name of this node.
    #[must_use]
    pub fn holder(&self) -> &Arc<str> {
        &self.holder
    }

    /// Watches who leads and what the leader reports.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<LeadershipStatus<R>> {
        self.status.subscribe()
    }

    /// Waits until this node holds the lease.
    pub async fn wait_until_leader(&self) {
        loop {
            let requested = Instant::now();
            match self.acquire_within(LEASE_TERM).await {
                Ok(lease) if self.is_mine(&lease) => {
                    *lock(&self.acquired) = Some(requested);
                    tracing::info!(lease = &*self.name, "this node is the leader");
                    return;
                }
                Ok(lease) if (self.is_known_dead)(&lease.holder) => self.take_over_dead_lease(&lease).await,
                Ok(lease) => {
                    self.publish_leader(&lease);
                    sleep(RENEW_INTERVAL.min(lease.remaining)).await;
                }
                Err(error) => {
                    tracing::debug!(lease = &*self.name, %error, "lease not acquired");
                    sleep(RENEW_INTERVAL).await;
                }
            }
        }
    }

    /// Renews the lease until it is lost. If the job is reported as stuck for `MAX_STUCK`, the lease is
    /// offered to other nodes; the job continues until another node has taken it. A `report` of `None` keeps
    /// the last one.
    pub async fn renew(&self, report: impl Fn() -> Option<LeaderReport<R>>) -> LeadershipEnd {
        let acquired = lock(&self.acquired).take();
        let (mut renewed, mut stuck_since) = (acquired.unwrap_or_else(Instant::now), None);
        loop {
            sleep(RENEW_INTERVAL).await;
            if let Some(LeaderReport { report, is_stuck }) = report() {
                self.publish(Some(self.holder.to_string()), report, Some(renewed));
                stuck_since = if is_stuck { stuck_since.or_else(|| Some(Instant::now())) } else { None };
            }
            if stuck_since.is_some_and(|since: Instant| since.elapsed() > MAX_STUCK) {
                tracing::info!(lease = &*self.name, "stuck leader offers its lease to other nodes");
                self.release().await;
                sleep(STEP_DOWN_PAUSE).await;
                if self.is_taken_by_other().await {
                    return LeadershipEnd::Yielded;
                }
                // Not renewed in the meantime, so the term counts from the next request.
                (renewed, stuck_since) = (Instant::now(), None);
            }
            let (left, requested) = (LEASE_TERM.saturating_sub(renewed.elapsed()), Instant::now());
            match self.acquire_within(left).await {
                Ok(lease) if self.is_mine(&lease) => renewed = requested,
                Ok(lease) => {
                    tracing::info!(lease = &*self.name, owner = lease.holder, "another node is the leader");
                    return LeadershipEnd::Lost;
                }
                Err(_) if renewed.elapsed() < LEASE_TERM => {}
                Err(_) => {
                    tracing::warn!(lease = &*self.name, "lease expired before it could be renewed");
                    return LeadershipEnd::Lost;
                }
            }
        }
    }

    /// Releases the lease and waits long enough for other nodes to take it.
    pub async fn step_down(&self, end: LeadershipEnd) {
        self.release().await;
        sleep(STEP_DOWN_PAUSE).await;
        if end == LeadershipEnd::Yielded {
            sleep(YIELD_BACKOFF).await;
        }
    }

    /// Releases the lease, if this node holds it. After a term without an answer it has expired anyway.
    pub async fn release(&self) {
        let released = async {
            let _request = self.in_flight.lock().await;
            self.leases.release_lease(&self.name, &self.holder, &self.last_report()).await
        };
        match timeout(LEASE_TERM, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(lease = &*self.name, %error, "lease not released; it expires"),
            Err(_) => tracing::debug!(lease = &*self.name, "lease not released in time; it expires"),
        }
    }

    /// Acquires or renews the lease, unless the database takes longer than `limit`.
    async fn acquire_within(&self, limit: Duration) -> Result<Lease, StoreError> {
        timeout(limit, self.acquire()).await.unwrap_or_else(|_| {
            let what = format!("acquiring the lease `{}`: no answer within {limit:?}", self.name);
            Err(StoreError::Unavailable { what, source: None })
        })
    }

    /// Acquires or renews the lease; returns it with its holder. The request completes even if the caller
    /// stops waiting.
    async fn acquire(&self) -> Result<Lease, StoreError> {
        let request = Arc::clone(&self.in_flight).lock_owned().await;
        let (leases, name, holder) =
            (Arc::clone(&self.leases), Arc::clone(&self.name), Arc::clone(&self.holder));
        let report = self.last_report();
        let answer = tokio::spawn(async move {
            let answer = leases.acquire_lease(&name, &holder, LEASE_TERM, &report).await;
            drop(request);
            answer
        });
        answer.await.unwrap_or_else(|stopped| Err(StoreError::unavailable("acquire a lease", stopped)))
    }

    async fn take_over_dead_lease(&self, lease: &Lease) {
        tracing::info!(lease = &*self.name, owner = lease.holder, "taking over the lease of a dead node");
        let released = self.leases.release_lease(&lease.name, &lease.holder, &lease.report).await;
        if let Err(error) = released {
            tracing::debug!(lease = &*self.name, %error, "lease of a dead node not released; it expires");
            sleep(RENEW_INTERVAL).await;
        }
    }

    async fn is_taken_by_other(&self) -> bool {
        let leases = self.leases.list_leases().await.unwrap_or_default();
        let by_other = |lease: &Lease| *lease.name == *self.name && lease.is_held() && !self.is_mine(lease);
        let Some(lease) = leases.into_iter().find(by_other) else { return false };
        self.publish_leader(&lease);
        true
    }

    fn is_mine(&self, lease: &Lease) -> bool {
        *lease.holder == *self.holder
    }

    fn last_report(&self) -> serde_json::Value {
        serde_json::to_value(&self.status.borrow().report).unwrap_or_default()
    }

    fn publish_leader(&self, lease: &Lease) {
        let reported = Instant::now().checked_sub(LEASE_TERM.saturating_sub(lease.remaining));
        let report = serde_json::from_value(lease.report.clone()).unwrap_or_default();
        self.publish(Some(lease.holder.clone()), report, reported);
    }

    fn publish(&self, owner: Option<String>, report: R, reported: Option<Instant>) {
        let status = LeadershipStatus { owner, report, reported };
        self.status.send_if_modified(|known| {
            let is_changed = *known != status;
            *known = status;
            is_changed
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use serde_json::Value;

    use super::*;
    use crate::memory::Memory;

    const JOB: &str = "job";

    /// A lease store with latency, from which a node can be cut off.
    #[derive(Clone, Default)]
    struct Network {
        memory: Memory,
        latency: Duration,
        is_down: Arc<AtomicBool>,
    }

    impl Network {
        fn over(memory: &Memory) -> Self {
            Self { memory: memory.clone(), ..Self::default() }
        }

        async fn send(&self) {
            if self.is_down.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
        }
    }

    #[async_trait]
    impl LeaseStore for Network {
        async fn acquire_lease(
            &self,
            name: &str,
            holder: &str,
            term: Duration,
            report: &Value,
        ) -> Result<Lease, StoreError> {
            self.send().await;
            sleep(self.latency).await;
            self.memory.acquire_lease(name, holder, term, report).await
        }

        async fn release_lease(&self, name: &str, holder: &str, report: &Value) -> Result<(), StoreError> {
            self.send().await;
            self.memory.release_lease(name, holder, report).await
        }

        async fn list_leases(&self) -> Result<Vec<Lease>, StoreError> {
            self.send().await;
            self.memory.list_leases().await
        }
    }

    fn node(leases: &Network, holder: &str) -> Arc<LeaderElection<u64>> {
        Arc::new(LeaderElection::new(Arc::new(leases.clone()), JOB, holder))
    }

    /// Competes for the lease until the task is aborted.
    fn spawn(node: &Arc<LeaderElection<u64>>, report: LeaderReport<u64>) -> tokio::task::JoinHandle<()> {
        let node = Arc::clone(node);
        tokio::spawn(async move {
            loop {
                node.wait_until_leader().await;
                let end = node.renew(|| Some(report.clone())).await;
                node.step_down(end).await;
            }
        })
    }

    const HEALTHY: LeaderReport<u64> = LeaderReport { report: 7, is_stuck: false };
    const STUCK: LeaderReport<u64> = LeaderReport { report: 0, is_stuck: true };

    async fn until_led_by(node: &LeaderElection<u64>, owner: &str) -> LeadershipStatus<u64> {
        let mut status = node.subscribe();
        let seen = status.wait_for(|status| status.owner.as_deref() == Some(owner) && status.report == 7);
        timeout(Duration::from_secs(30), seen).await.unwrap().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn one_node_leads_and_followers_receive_its_report() {
        let network = Network::default();
        let [first, second] = [node(&network, "a"), node(&network, "b")];
        let _leader = spawn(&first, HEALTHY);
        until_led_by(&first, "a").await;
        let _follower = spawn(&second, HEALTHY);
        until_led_by(&second, "a").await;
        sleep(Duration::from_secs(20)).await;
        until_led_by(&second, "a").await;
    }

    #[tokio::test(start_paused = true)]
    async fn released_lease_is_taken_at_the_next_check() {
        let network = Network::default();
        let [first, second] = [node(&network, "a"), node(&network, "b")];
        let leader = spawn(&first, HEALTHY);
        until_led_by(&first, "a").await;
        let _follower = spawn(&second, HEALTHY);
        until_led_by(&second, "a").await;
        leader.abort();
        first.release().await;
        let released = Instant::now();
        until_led_by(&second, "b").await;
        assert!(released.elapsed() <= RENEW_INTERVAL * 2, "{:?}", released.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn unreachable_leader_loses_the_lease_within_its_term() {
        let network = Network::default();
        let isolated = Network { is_down: Arc::default(), ..network.clone() };
        let [first, second] = [node(&isolated, "a"), node(&network, "b")];
        first.wait_until_leader().await;
        let acquired = Instant::now();
        isolated.is_down.store(true, Ordering::Relaxed);
        let _follower = spawn(&second, HEALTHY);
        assert_eq!(first.renew(|| None).await, LeadershipEnd::Lost);
        assert!(acquired.elapsed() <= LEASE_TERM, "{:?}", acquired.elapsed());
        until_led_by(&second, "b").await;
        assert!(acquired.elapsed() <= LEASE_TERM + RENEW_INTERVAL * 2, "{:?}", acquired.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn leader_that_is_replaced_notices() {
        let network = Network::default();
        let node = node(&network, "a");
        node.wait_until_leader().await;
        network.release_lease(JOB, "a", &Value::Null).await.unwrap();
        network.acquire_lease(JOB, "b", LEASE_TERM, &Value::Null).await.unwrap();
        assert_eq!(node.renew(|| None).await, LeadershipEnd::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn stuck_leader_yields_until_a_healthy_node_leads() {
        let network = Network::default();
        let [first, second] = [node(&network, "a"), node(&network, "b")];
        let _first = spawn(&first, STUCK);
        sleep(Duration::from_secs(1)).await;
        let _second = spawn(&second, STUCK);
        sleep(Duration::from_secs(1)).await;
        let third = node(&network, "c");
        let _third = spawn(&third, HEALTHY);
        let joined = Instant::now();
        until_led_by(&first, "c").await;
        assert!(joined.elapsed() < Duration::from_secs(10), "{:?}", joined.elapsed());
        sleep(Duration::from_secs(20)).await;
        until_led_by(&second, "c").await;
    }

    #[tokio::test(start_paused = true)]
    async fn lease_of_a_dead_node_is_taken_over_at_once() {
        let network = Network::default();
        network.acquire_lease(JOB, "dead", Duration::from_hours(1), &Value::Null).await.unwrap();
        let node = LeaderElection::<u64>::new(Arc::new(network.clone()), JOB, "a");
        let started = Instant::now();
        node.with_dead_holder_check(|holder| holder == "dead").wait_until_leader().await;
        assert!(started.elapsed() < RENEW_INTERVAL, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn release_waits_for_the_renewal_in_flight() {
        for stopped_after in (0..2_000).step_by(50) {
            let memory = Memory::default();
            let network = Network { latency: Duration::from_millis(200), ..Network::over(&memory) };
            let node = node(&network, "a");
            let leader = spawn(&node, HEALTHY);
            sleep(Duration::from_millis(stopped_after)).await;
            leader.abort();
            node.release().await;
            sleep(Duration::from_millis(500)).await;
            let leases = memory.list_leases().await.unwrap();
            assert!(!leases.iter().any(Lease::is_held), "{stopped_after} ms: {leases:?}");
        }
    }
}
