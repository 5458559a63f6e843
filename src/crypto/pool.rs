//! A fixed pool of password-hashing threads at the lowest priority, with a bounded queue that is fair by
//! client (backpressure): a flood of logins costs other requests little, and memory is bounded by threads ×
//! memory cost.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use domain::PasswordHash;
use store::Env;
use tokio::sync::oneshot;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::costs::CostsInUse;
use super::hashes::{HashKind, HashParameters, Hasher, PasswordHashError, StoredHash};
use super::job_queue::{JobQueue, QueueFull};
use super::password::Password;
use super::strength::{NewPassword, WeakPassword};
use crate::config::PasswordSettings;

/// The lowest priority of POSIX (`nice 19`).
const LOWEST_PRIORITY: i32 = 19;

/// How far apart the moments are at which requests go on together: little beside the time that they have spent in the
/// queue, which is a third of a second for a [long queue](LONG_QUEUE).
const GROUP_INTERVAL: Duration = Duration::from_millis(40);
const LONG_GROUP_INTERVAL: Duration = Duration::from_millis(160);
/// Queued hashes for each thread.
const LONG_QUEUE: usize = 16;

/// Why a password was not hashed or verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// All threads are busy, and the queue, or the source's share of it, is full.
    #[error("the password-hashing queue is full; try again in a moment")]
    Busy {
        /// How many jobs the source may have in the queue.
        share: usize,
    },
    #[error(transparent)]
    Hash(#[from] PasswordHashError),
}

/// Why a password cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewPasswordError {
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    #[error(transparent)]
    Hashing(#[from] HashingError),
}

impl From<PasswordHashError> for NewPasswordError {
    fn from(error: PasswordHashError) -> Self {
        HashingError::from(error).into()
    }
}

/// Whose jobs take turns with those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashSource {
    /// May use the whole queue.
    Unlimited,
    /// A client, by address or network: may use half of the queue.
    Client(IpAddr),
}

/// Whether a password matches a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    Mismatch,
    Match {
        /// Whether a new hash would have other costs, or is made of the normalised password and this one is
        /// not.
        is_outdated: bool,
    },
}

type Answer<T, E = PasswordHashError> = oneshot::Sender<Result<T, E>>;

enum Job {
    HashNew { password: NewPassword, answer: Answer<PasswordHash, NewPasswordError> },
    Hash { password: Password, answer: Answer<PasswordHash> },
    Verify { password: Password, hash: StoredHash, answer: Answer<Verification> },
}

/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct HashingPool {
    shared: Arc<Shared>,
    costs_in_use: Arc<CostsInUse>,
    /// Hashes of no password are made of this.
    decoy_secret: Zeroizing<[u8; 32]>,
    started: Instant,
    threads: usize,
    _threads: Arc<StopOnDrop>,
}

/// What the threads and their clients share.
struct Shared {
    state: Mutex<State>,
    available: Condvar,
    capacity: usize,
}

struct State {
    jobs: JobQueue<HashSource, Job>,
    is_stopped: bool,
    computed: BTreeMap<HashKind, u64>,
}

struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.state().is_stopped = true;
        self.0.available.notify_all();
    }
}

impl HashingPool {
    /// # Errors
    /// [`PasswordHashError`] if the costs are out of Argon2's range, or a thread cannot be started.
    pub fn start(settings: &PasswordSettings, env: &Env) -> Result<Self, PasswordHashError> {
        let PasswordSettings { memory_kib, iterations, parallelism, threads, queue, .. } = *settings;
        let costs = HashParameters { memory_kib, iterations, parallelism };
        let current = HashKind::current(costs)?;
        let state = State { jobs: JobQueue::new(queue), is_stopped: false, computed: BTreeMap::new() };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), available: Condvar::new(), capacity: queue });
        let stop_on_drop = Arc::new(StopOnDrop(Arc::clone(&shared)));
        let min_score = settings.min_score;
        let threads = threads.max(1);
        for number in 0..threads {
            let (shared, env) = (Arc::clone(&shared), env.clone());
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || run_worker(&shared, costs, min_score, &env))
                .map_err(|error| PasswordHashError::thread_not_started(&error))?;
        }
        Ok(Self {
            shared,
            costs_in_use: Arc::new(CostsInUse::new(current)),
            decoy_secret: Zeroizing::new(env.bytes()),
            started: Instant::now(),
            threads,
            _threads: stop_on_drop,
        })
    }

    /// While hashes are queued, waits for the next of the moments at which those go on whose hashes are done, so that
    /// one commit takes what they append: hashes and commits share the processors. Waits for nothing otherwise.
    pub async fn join_group(&self) {
        let queued = self.shared.state().jobs.len();
        let interval = match queued / self.threads {
            _ if queued == 0 => return,
            LONG_QUEUE.. => LONG_GROUP_INTERVAL.as_millis(),
            _ => GROUP_INTERVAL.as_millis(),
        };
        let since_last = self.started.elapsed().as_millis() % interval;
        let left = u64::try_from(interval - since_last).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(left)).await;
    }

    /// The costs of stored hashes, which decoys imitate.
    #[must_use]
    pub fn costs_in_use(&self) -> &Arc<CostsInUse> {
        &self.costs_in_use
    }

    /// How many hashes this process has computed, by their costs.
    #[must_use]
    pub fn computed(&self) -> BTreeMap<HashKind, u64> {
        self.shared.state().computed.clone()
    }

    /// Hashes a password that is to be set, if it is strong enough. The strength is estimated by the hashing threads
    /// too: it costs enough to be subject to backpressure.
    ///
    /// # Errors
    /// [`NewPasswordError::Weak`] if it is not, and as [`HashingPool::hash`].
    pub async fn hash_new(
        &self,
        password: NewPassword,
        source: HashSource,
    ) -> Result<PasswordHash, NewPasswordError> {
        let (answer, hashed) = oneshot::channel();
        self.submit(Job::HashNew { password, answer }, source)?;
        let hash = hashed.await.map_err(|_| self.busy(source))??;
        self.costs_in_use.add_current();
        Ok(hash)
    }

    /// Hashes a password that is set already at current costs, with a random salt.
    ///
    /// # Errors
    /// [`HashingError::Busy`] if the queue is full.
    pub async fn hash(&self, password: Password, source: HashSource) -> Result<PasswordHash, HashingError> {
        let (answer, hashed) = oneshot::channel();
        self.submit(Job::Hash { password, answer }, source)?;
        let hash = hashed.await.map_err(|_| self.busy(source))??;
        self.costs_in_use.add_current();
        Ok(hash)
    }

    /// # Errors
    /// [`HashingError::Busy`] if the queue is full, [`HashingError::Hash`] if the hash is not supported.
    pub async fn verify(
        &self,
        password: Password,
        hash: PasswordHash,
        source: HashSource,
    ) -> Result<Verification, HashingError> {
        let stored = StoredHash::parse(hash.expose()).map_err(PasswordHashError::from)?;
        self.verify_stored(password, stored, source).await
    }

    async fn verify_stored(
        &self,
        password: Password,
        hash: StoredHash,
        source: HashSource,
    ) -> Result<Verification, HashingError> {
        let (answer, verified) = oneshot::channel();
        self.submit(Job::Verify { password, hash, answer }, source)?;
        Ok(verified.await.map_err(|_| self.busy(source))??)
    }

    /// Takes as long as verifying a wrong password of an account with this selector, as if it existed: the
    /// response time does not reveal whether it does (user enumeration).
    ///
    /// # Errors
    /// As [`HashingPool::verify`].
    pub async fn verify_decoy(
        &self,
        password: Password,
        selector: u64,
        source: HashSource,
    ) -> Result<(), HashingError> {
        let decoy = StoredHash::decoy(self.costs_in_use.choose(selector), &self.decoy_secret);
        self.verify_stored(password, decoy, source).await.map(drop)
    }

    fn busy(&self, source: HashSource) -> HashingError {
        HashingError::Busy { share: self.shared.share(source) }
    }

    fn submit(&self, job: Job, source: HashSource) -> Result<(), HashingError> {
        let queued = self.shared.state().jobs.push(source, self.shared.share(source), job);
        queued.map_err(|QueueFull| self.busy(source))?;
        self.shared.available.notify_one();
        Ok(())
    }
}

impl Shared {
    /// How many jobs a source may have in the queue.
    fn share(&self, source: HashSource) -> usize {
        match source {
            HashSource::Unlimited => self.capacity,
            HashSource::Client(_) => self.capacity.div_ceil(2),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a job; `None` once the pool has stopped.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop() {
                return Some(job);
            }
            if state.is_stopped {
                return None;
            }
            state = self.available.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn count(&self, kind: HashKind) {
        *self.state().computed.entry(kind).or_default() += 1;
    }
}

fn run_worker(shared: &Shared, costs: HashParameters, min_score: u8, env: &Env) {
    // Linux has a priority per thread. Elsewhere, or without the permission, hashing competes at normal
    // priority.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST_PRIORITY)
    {
        tracing::debug!(%error, "hashing threads run at normal priority");
    }
    let mut hasher = Hasher::new(costs);
    while let Some(job) = shared.next() {
        match job {
            // The request was cancelled: skip the work.
            Job::HashNew { answer, .. } if answer.is_closed() => {}
            Job::Hash { answer, .. } if answer.is_closed() => {}
            Job::Verify { answer, .. } if answer.is_closed() => {}
            Job::HashNew { password, answer } => {
                let checked = password.check(min_score).map_err(NewPasswordError::from);
                drop(
                    answer
                        .send(checked.and_then(|()| Ok(hash(&mut hasher, &password.password, env, shared)?))),
                );
            }
            Job::Hash { password, answer } => {
                drop(answer.send(hash(&mut hasher, &password, env, shared)));
            }
            Job::Verify { password, hash, answer } => {
                drop(answer.send(verify(&mut hasher, &password, &hash, shared)));
            }
        }
    }
}

fn hash(
    hasher: &mut Hasher,
    password: &Password,
    env: &Env,
    shared: &Shared,
) -> Result<PasswordHash, PasswordHashError> {
    let hash = hasher.hash(password.expose().as_bytes(), &env.bytes())?;
    if let Some(kind) = HashKind::of(&hash) {
        shared.count(kind);
    }
    Ok(hash)
}

/// Compares with each form of the password until one matches. The number of hashes that a wrong password
/// costs depends on what was typed alone.
fn verify(
    hasher: &mut Hasher,
    password: &Password,
    hash: &StoredHash,
    shared: &Shared,
) -> Result<Verification, PasswordHashError> {
    for (number, form) in password.forms().enumerate() {
        let is_match = hasher.verify(form, hash)?;
        shared.count(hash.kind());
        if is_match {
            return Ok(Verification::Match { is_outdated: number > 0 || !hasher.is_current(hash) });
        }
    }
    Ok(Verification::Mismatch)
}

/// Settings with cheap hashes.
#[cfg(test)]
pub(crate) fn test_settings(queue: usize) -> PasswordSettings {
    PasswordSettings {
        memory_kib: 64,
        iterations: 1,
        parallelism: 1,
        threads: 1,
        queue,
        min_length: 8,
        min_score: 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: HashSource = HashSource::Client(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn count(pool: &HashingPool, hash: &PasswordHash) -> u64 {
        pool.computed().get(&HashKind::of(hash).unwrap()).copied().unwrap_or(0)
    }

    #[tokio::test]
    async fn pool_verifies_its_own_hashes() {
        let pool = HashingPool::start(&test_settings(8), &Env::system()).unwrap();
        let hash = pool.hash(password("correct horse"), CLIENT).await.unwrap();
        let verify = async |text: &str| pool.verify(password(text), hash.clone(), CLIENT).await.unwrap();
        assert_eq!(verify("correct horse").await, Verification::Match { is_outdated: false });
        assert_eq!(verify("wrong").await, Verification::Mismatch);
        assert_eq!(pool.verify_decoy(password("anything"), 0, CLIENT).await, Ok(()));
        assert_eq!(count(&pool, &hash), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_go_on_together_while_hashes_are_queued() {
        let pool = HashingPool::start(&test_settings(64), &Env::system()).unwrap();
        pool.join_group().await;
        assert_eq!(pool.started.elapsed(), Duration::ZERO, "nothing is queued");
        tokio::time::advance(Duration::from_millis(7)).await;
        let submit = |count: usize| {
            for _ in 0..count {
                let (answer, _) = oneshot::channel();
                let job = Job::Hash { password: password("queued"), answer };
                pool.submit(job, HashSource::Unlimited).unwrap();
            }
        };
        // More than the only thread has done before the queue is looked at.
        submit(LONG_QUEUE - 1);
        pool.join_group().await;
        assert_eq!(pool.started.elapsed(), GROUP_INTERVAL);
        submit(2 * LONG_QUEUE);
        pool.join_group().await;
        assert_eq!(pool.started.elapsed(), LONG_GROUP_INTERVAL);
    }

    #[tokio::test]
    async fn hashes_of_typed_bytes_and_other_costs_match_and_are_outdated() {
        let env = Env::system();
        let pool = HashingPool::start(&test_settings(8), &env).unwrap();
        let typed = "cafe\u{301} au lait";
        let costs = HashParameters { memory_kib: 64, iterations: 1, parallelism: 1 };
        let of_bytes = Hasher::new(costs).hash(typed.as_bytes(), &env.bytes()).unwrap();
        let other = HashParameters { memory_kib: 128, ..costs };
        let costlier = Hasher::new(other).hash(b"correct horse", &env.bytes()).unwrap();
        let verify = async |text: &str, hash: &PasswordHash| {
            pool.verify(password(text), hash.clone(), CLIENT).await.unwrap()
        };
        let outdated = Verification::Match { is_outdated: true };
        assert_eq!(verify(typed, &of_bytes).await, outdated);
        assert_eq!(verify("caf\u{E9} au lait", &of_bytes).await, Verification::Mismatch);
        assert_eq!(verify("correct horse", &costlier).await, outdated);
        let renewed = pool.hash(password(typed), CLIENT).await.unwrap();
        for form in [typed, "caf\u{E9} au lait"] {
            assert_eq!(verify(form, &renewed).await, Verification::Match { is_outdated: false });
        }
    }

    #[tokio::test]
    async fn wrong_passwords_cost_as_many_hashes_for_known_and_unknown_accounts() {
        let pool = HashingPool::start(&test_settings(8), &Env::system()).unwrap();
        let known = pool.hash(password("correct horse"), CLIENT).await.unwrap();
        for (typed, hashes) in [("wrong", 1), ("fals\u{E9}", 1), ("false\u{301}", 2)] {
            let before = count(&pool, &known);
            pool.verify(password(typed), known.clone(), CLIENT).await.unwrap();
            let between = count(&pool, &known);
            pool.verify_decoy(password(typed), u64::MAX, CLIENT).await.unwrap();
            assert_eq!((between - before, count(&pool, &known) - between), (hashes, hashes), "{typed}");
        }
    }

    #[tokio::test]
    async fn full_queue_rejects_immediately() {
        let costly = PasswordSettings { memory_kib: 16 * 1024, iterations: 8, ..test_settings(1) };
        let pool = HashingPool::start(&costly, &Env::system()).unwrap();
        let hash = |_| pool.hash(password("correct horse"), CLIENT);
        let all = futures::future::join_all((0..20).map(hash)).await;
        let refused = all.iter().filter(|result| matches!(result, Err(HashingError::Busy { .. }))).count();
        assert!(refused >= 17, "one running and one queued, the rest refused: {refused} were");
        assert!(all.iter().any(Result::is_ok));
    }
}
