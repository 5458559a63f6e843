//! Executes a rotation: rewraps the keys page by page.

use std::time::{Duration, Instant};

use super::{
    CLAIMS, KeyReplacement, MasterKeyUsage, Rotation, SIGNING, TOKENS, WrappedKey, check_masters, owner,
    service_key_bytes,
};
use crate::error::{Corruption, InternalError, RefusalReason, StoreError, WriteError};
use crate::event::StreamId;
use crate::key_store::{KeyId, MasterKey, UnwrapError, WRAPPED_BYTES};

/// Number of keys read and replaced at once.
const PAGE: usize = 500;
/// Bounds of the pause after a page, which is as long as writing the page took.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);
/// Maximum number of attempts at a key that other processes change concurrently.
const MAX_ATTEMPTS: usize = 10;

/// The result of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationSummary {
    /// The master key that was rotated to.
    pub master: KeyId,
    /// Number of data keys that this run rewrapped.
    pub streams: u64,
    /// The service keys that this run rewrapped.
    pub service_keys: Vec<&'static str>,
    /// The first stream whose data key cannot be unwrapped with its master key, though that was given. As
    /// long as there is one, the old master keys are still required.
    pub damaged: Option<StreamId>,
    /// What each master key wraps after the run.
    pub left: MasterKeyUsage,
}

/// The counts of one pass over all streams.
#[derive(Default)]
struct Pass {
    replaced: u64,
    /// Number of keys that another process changed between read and replacement.
    conflicts: u64,
    damaged: Option<StreamId>,
}

impl Rotation {
    /// Rewraps every key that a previous master key wraps. Several processes may run it concurrently, and a
    /// run after an interruption processes what is left. `each_page` receives the number of streams processed
    /// and their total.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`] if a master key is missing that the service needs to start; nothing was
    /// changed. [`StoreError::Refused`] if a rotation to another key was started in the meantime. Otherwise
    /// the error of the database; the rotation can be repeated.
    pub async fn run(
        &self,
        each_page: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<RotationSummary, StoreError> {
        let stored = self.stored.service_keys().await?;
        let wrapped: Vec<_> = stored.iter().map(|(name, wrapped)| (name.as_str(), wrapped)).collect();
        check_masters(&self.masters, &wrapped)?;
        let all = self.master_key_usage().await?.streams();
        let mut service_keys = Vec::new();
        service_keys.extend(self.rewrap_service_key(SIGNING).await?);
        let (mut streams, mut damaged) = (0, None);
        for _ in 0..MAX_ATTEMPTS {
            let pass = self.pass(all, each_page).await?;
            streams += pass.replaced;
            damaged = pass.damaged;
            if pass.conflicts == 0 {
                break;
            }
        }
        self.check_not_superseded().await?;
        let left = self.master_key_usage().await?;
        // Last, since it declares that the previous master keys are no longer needed.
        if damaged.is_none() && self.previous_keys().all(|id| left.wrapped_by(id).streams == 0) {
            if self.stored.service_keys().await?.contains_key(TOKENS) {
                service_keys.extend(self.rewrap_service_key(TOKENS).await?);
            }
            service_keys.extend(self.rewrap_service_key(CLAIMS).await?);
        }
        let left = self.master_key_usage().await?;
        Ok(RotationSummary { master: self.masters.current(), streams, service_keys, damaged, left })
    }

    /// The master keys that are rotated away from.
    fn previous_keys(&self) -> impl Iterator<Item = KeyId> {
        let current = self.masters.current();
        self.masters.ids().filter(move |id| *id != current)
    }

    /// Rewraps a service key; returns its name, or `None` if the current master key wraps it already.
    async fn rewrap_service_key(&self, name: &'static str) -> Result<Option<&'static str>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.stored.service_keys().await?;
            let from =
                stored.get(name).ok_or_else(|| Corruption::missing(format!("the service key `{name}`")))?;
            if MasterKey::id_of(from) == Some(self.masters.current()) {
                return Ok(None);
            }
            let key = service_key_bytes(&self.masters, name, from)?;
            let to = self.wrap(&owner(name), &key)?;
            match self.stored.replace_service_key(name, from, &to).await {
                Ok(()) => return Ok(Some(name)),
                Err(WriteError::Conflict) => {}
                Err(WriteError::Store(error)) => return Err(error),
            }
        }
        let what = format!("rewrapping the service key `{name}`: other processes kept changing it");
        Err(StoreError::Unavailable { what, source: None })
    }

    /// A later rotation to another master key also rewraps the keys that this one has rewrapped, so this one
    /// ends.
    async fn check_not_superseded(&self) -> Result<(), StoreError> {
        let stored = self.stored.service_keys().await?;
        let wrapping = stored.get(SIGNING).and_then(|wrapped| MasterKey::id_of(wrapped));
        match wrapping {
            Some(by) if by != self.masters.current() => {
                Err(RefusalReason::RotationSuperseded { by, own: self.masters.current() }.into())
            }
            _ => Ok(()),
        }
    }

    async fn pass(&self, all: u64, each_page: &mut (dyn FnMut(u64, u64) + Send)) -> Result<Pass, StoreError> {
        let mut pass = Pass::default();
        let (mut after, mut seen) = (None, 0);
        loop {
            let page = self.stored.wrapped_keys(after.as_ref(), PAGE).await?;
            seen += u64::try_from(page.len()).unwrap_or(u64::MAX);
            let last = page.len() < PAGE;
            after = page.last().map(|(stream, _)| stream.clone());
            self.replace(page, &mut pass).await?;
            each_page(seen, all.max(seen));
            if last {
                return Ok(pass);
            }
        }
    }

    async fn replace(&self, page: Vec<WrappedKey>, pass: &mut Pass) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        for (stream, wrapped) in page {
            match self.rewrap(&stream, &wrapped)? {
                RewrapOutcome::UpToDate => {}
                RewrapOutcome::Damaged => pass.damaged = pass.damaged.take().or(Some(stream)),
                RewrapOutcome::Replace(to) => {
                    changes.push(KeyReplacement { stream, from: wrapped, to });
                }
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let replaced = self.stored.replace_keys(&changes).await?;
        pass.replaced += replaced;
        pass.conflicts += u64::try_from(changes.len()).unwrap_or(u64::MAX) - replaced;
        // On a backend with a single writer, this leaves half of the time to appends.
        tokio::time::sleep(begun.elapsed().clamp(MIN_PAUSE, MAX_PAUSE)).await;
        Ok(())
    }

    fn rewrap(&self, stream: &StreamId, wrapped: &[u8]) -> Result<RewrapOutcome, StoreError> {
        if wrapped.len() != WRAPPED_BYTES {
            return Ok(RewrapOutcome::Damaged);
        }
        if MasterKey::id_of(wrapped) == Some(self.masters.current()) {
            return Ok(RewrapOutcome::UpToDate);
        }
        match self.masters.unwrap(stream.as_str(), wrapped) {
            Ok(key) => Ok(RewrapOutcome::Replace(self.wrap(stream.as_str(), &key)?)),
            // Only a process that has this master key can rewrap it.
            Err(UnwrapError::UnknownMasterKey(_)) => Ok(RewrapOutcome::UpToDate),
            Err(UnwrapError::Undecryptable(_)) => Ok(RewrapOutcome::Damaged),
        }
    }

    fn wrap(&self, owner: &str, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        let wrapped = self.masters.current_key().wrap(owner, key, &self.env);
        wrapped.map_err(|_| InternalError::Encryption { what: format!("the key of {owner}") }.into())
    }
}

/// How to proceed with a wrapped key.
enum RewrapOutcome {
    UpToDate,
    Replace(Vec<u8>),
    Damaged,
}
