//! A fixed pool of password-hashing threads at the lowest priority, with a bounded queue (backpressure): a
//! flood of logins costs other requests little, and memory is bounded by threads × memory cost.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use domain::PasswordHash;
use store::Env;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::argon::{Argon2Hasher, HashParameters, PasswordHashError};
use crate::config::PasswordSettings;

/// The lowest priority of POSIX (`nice 19`).
const LOWEST_PRIORITY: i32 = 19;

/// A password as typed: has no `Debug`, and is wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// For checking the password policy.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a password was not hashed or verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// All threads are busy and the queue is full.
    #[error("the password-hashing queue is full; try again in a moment")]
    Busy,
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

/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct HashingPool {
    jobs: SyncSender<Job>,
    /// The hash of a random secret at current costs, verified when there is no user.
    decoy: PasswordHash,
}

impl HashingPool {
    /// # Errors
    /// [`PasswordHashError`] if the costs are out of Argon2's range, or a thread cannot be started.
    pub fn start(settings: &PasswordSettings, env: &Env) -> Result<Self, PasswordHashError> {
        let PasswordSettings { memory_kib, iterations, parallelism, threads, queue, .. } = *settings;
        let costs = HashParameters { memory_kib, iterations, parallelism };
        let secret = Zeroizing::new(env.bytes::<32>());
        let decoy = Argon2Hasher::new(costs).hash(secret.as_slice(), &env.bytes())?;
        let (jobs, receiver) = sync_channel(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads.max(1) {
            let (receiver, env) = (Arc::clone(&receiver), env.clone());
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || run_worker(&receiver, costs, &env))
                .map_err(|error| PasswordHashError::thread_not_started(&error))?;
        }
        Ok(Self { jobs, decoy })
    }

    /// Hashes a password at current costs, with a random salt.
    ///
    /// # Errors
    /// [`HashingError::Busy`] if the queue is full.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashingError> {
        let (answer, hashed) = oneshot::channel();
        self.submit(Job::Hash { password, answer })?;
        Ok(hashed.await.map_err(|_| HashingError::Busy)??)
    }

    /// # Errors
    /// [`HashingError::Busy`] if the queue is full, [`HashingError::Hash`] if the hash is not supported.
    pub async fn verify(&self, password: Password, hash: PasswordHash) -> Result<bool, HashingError> {
        let (answer, verified) = oneshot::channel();
        self.submit(Job::Verify { password, hash, answer })?;
        Ok(verified.await.map_err(|_| HashingError::Busy)??)
    }

    /// Takes as long as verifying a wrong password: the response time does not reveal whether a user exists
    /// (user enumeration).
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

fn run_worker(receiver: &Mutex<Receiver<Job>>, costs: HashParameters, env: &Env) {
    // Linux has a priority per thread. Elsewhere, or without the permission, hashing competes at normal
    // priority.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST_PRIORITY)
    {
        tracing::debug!(%error, "hashing threads run at normal priority");
    }
    let mut hasher = Argon2Hasher::new(costs);
    loop {
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // The request was cancelled: skip the work.
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
        assert!(refused >= 17, "one running and one queued, the rest refused: {refused} were");
        assert!(all.iter().any(Result::is_ok));
    }
}
