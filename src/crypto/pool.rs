//! A fixed pool of hashing threads at the lowest priority, with a bounded queue: a flood of logins costs other
//! requests little, and memory is bounded by threads × memory cost.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use domain::PasswordHash;
use store::Env;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::argon::{Argon2Hasher, HashParameters, PasswordHashError};
use crate::config::PasswordSettings;

/// The weakest priority of POSIX (`nice 19`).
const LOWEST_PRIORITY: i32 = 19;

/// A password as typed: shown to decoy, wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a typed password in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The password, for checking it against a policy.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a password was not hashed or checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// All threads are busy and the queue is full.
    #[error("too many passwords are being checked at once; try again in a moment")]
    Busy,
    /// The hash, or the costs, cannot be used.
    #[error(transparent)]
    Hash(#[from] PasswordHashError),
}

enum Job {
    Hash {
        password: Password,
        answer: oneshot::Sender<Result<PasswordHash, PasswordHashError>>,
    },
    Verify {
        password: Password,
        hash: PasswordHash,
        answer: oneshot::Sender<Result<bool, PasswordHashError>>,
    },
}

/// The pool. Its threads end when the last clone is dropped.
#[derive(Clone)]
pub struct HashingPool {
    jobs: SyncSender<Job>,
    /// A hash that no password has, at current costs.
    decoy: PasswordHash,
}

impl HashingPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`PasswordHashError`] if Argon2 does not know such costs, or the threads cannot be started.
    pub fn start(settings: &PasswordSettings, env: &Env) -> Result<Self, PasswordHashError> {
        let PasswordSettings { memory_kib, iterations, parallelism, threads, queue, .. } = *settings;
        let costs = HashParameters { memory_kib, iterations, parallelism };
        let secret = Zeroizing::new(env.bytes::<32>());
        let decoy = Argon2Hasher::new(costs).hash(secret.as_slice(), &env.bytes())?;
        let (jobs, queue) = sync_channel(queue);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let (queue, env) = (Arc::clone(&queue), env.clone());
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || run_worker(&queue, costs, &env))
                .map_err(|error| PasswordHashError::thread_not_started(&error))?;
        }
        Ok(Self { jobs, decoy })
    }

    /// Hashes a new password at current costs, with a random salt.
    ///
    /// # Errors
    /// [`HashingError::Busy`] if the queue is full.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashingError> {
        let (answer, hashed) = oneshot::channel();
        self.submit(Job::Hash { password, answer })?;
        Ok(hashed.await.map_err(|_| HashingError::Busy)??)
    }

    /// Whether the password belongs to the hash.
    ///
    /// # Errors
    /// [`HashingError::Busy`] if the queue is full, [`HashingError::Hash`] if the hash is of no known kind.
    pub async fn verify(&self, password: Password, hash: PasswordHash) -> Result<bool, HashingError> {
        let (answer, verified) = oneshot::channel();
        self.submit(Job::Verify { password, hash, answer })?;
        Ok(verified.await.map_err(|_| HashingError::Busy)??)
    }

    /// Spends what a wrong password costs, for a user who does not exist: the answer's time tells nothing.
    ///
    /// # Errors
    /// As [`HashingPool::verify`].
    pub async fn verify_decoy(&self, password: Password) -> Result<(), HashingError> {
        self.verify(password, self.decoy.clone()).await.map(drop)
    }

    fn submit(&self, job: Job) -> Result<(), HashingError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => HashingError::Busy,
        })
    }
}

fn run_worker(queue: &Mutex<Receiver<Job>>, costs: HashParameters, env: &Env) {
    // Linux keeps a priority per thread; elsewhere, and where it is forbidden, hashing just competes.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST_PRIORITY)
    {
        tracing::debug!(%error, "hashing threads run at normal priority");
    }
    let mut hasher = Argon2Hasher::new(costs);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // Whoever hung up needs no answer: their place in the queue costs nothing.
            Ok(Job::Hash { answer, .. }) if answer.is_closed() => {}
            Ok(Job::Verify { answer, .. }) if answer.is_closed() => {}
            Ok(Job::Hash { password, answer }) => {
                drop(answer.send(hasher.hash(password.0.as_bytes(), &env.bytes())));
            }
            Ok(Job::Verify { password, hash, answer }) => {
                drop(answer.send(hasher.verify(password.0.as_bytes(), &hash)));
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(queue: usize) -> PasswordSettings {
        PasswordSettings { memory_kib: 64, iterations: 1, parallelism: 1, threads: 1, queue, min_length: 8 }
    }

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn pool_verifies_its_own_hashes() {
        let pool = HashingPool::start(&settings(8), &Env::system()).unwrap();
        let hash = pool.hash(password("correct horse")).await.unwrap();
        assert_eq!(pool.verify(password("correct horse"), hash.clone()).await, Ok(true));
        assert_eq!(pool.verify(password("wrong"), hash).await, Ok(false));
        assert_eq!(pool.verify_decoy(password("anything")).await, Ok(()));
    }

    #[tokio::test]
    async fn full_queue_rejects_immediately() {
        let costly = PasswordSettings { memory_kib: 16 * 1024, iterations: 8, ..settings(1) };
        let pool = HashingPool::start(&costly, &Env::system()).unwrap();
        let all = futures::future::join_all((0..20).map(|_| pool.hash(password("correct horse")))).await;
        let refused = all.iter().filter(|result| matches!(result, Err(HashingError::Busy))).count();
        assert!(refused >= 17, "one at work and one queue, the rest refused: {refused} were");
        assert!(all.iter().any(Result::is_ok));
    }
}
