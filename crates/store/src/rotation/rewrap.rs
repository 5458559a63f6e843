//! Carrying a rotation out.

use std::time::{Duration, Instant};

use super::{
    CLAIMS, KeyReplacement, MasterKeyUsage, Rotation, SIGNING, WrappedKey, check_masters, owner, service_key,
};
use crate::error::{Corruption, InternalError, RefusalReason, StoreError, WriteError};
use crate::event::StreamId;
use crate::key_store::{KeyId, MasterKey, UnwrapError, WRAPPED_BYTES};

/// How many keys are read, and replaced, at once.
const PAGE: usize = 500;
/// How long is rested between two pages: as long as it took to write one, within these bounds.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);
/// How often a key that others change at the same time is tried.
const MAX_ATTEMPTS: usize = 10;

/// What a rotation has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationSummary {
    /// The master key that now wraps all it could.
    pub master: KeyId,
    /// How many keys of streams were wrapped anew, this time.
    pub streams: u64,
    /// Which service keys were.
    pub service_keys: Vec<&'static str>,
    /// The first stream with a key that its master key does not open, though it was given. As long as there is one,
    /// the old master keys stay needed.
    pub damaged: Option<StreamId>,
    /// What each master key wraps now.
    pub left: MasterKeyUsage,
}

/// One way through all streams.
#[derive(Default)]
struct Pass {
    replaced: u64,
    /// How many were changed by somebody else between reading and replacing.
    conflicts: u64,
    damaged: Option<StreamId>,
}

impl Rotation {
    /// Wraps everything by the current master key that one of the others wraps. Several may do so at once; whoever
    /// comes after one that was interrupted finds only what is left. `each_page` is told how many streams were looked
    /// at, and how many there are.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`] if a master key is missing that the service needs to start: nothing is changed then.
    /// [`StoreError::Refused`] if somebody has begun to rotate to yet another key meanwhile. Otherwise what the database
    /// says: it can be gone on with.
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
        // Never before: what it says is that the others are needed no more.
        if damaged.is_none() && self.previous_keys().all(|id| left.wrapped_by(id).streams == 0) {
            service_keys.extend(self.rewrap_service_key(CLAIMS).await?);
        }
        let left = self.master_key_usage().await?;
        Ok(RotationSummary { master: self.masters.current(), streams, service_keys, damaged, left })
    }

    /// The keys that are rotated away from.
    fn previous_keys(&self) -> impl Iterator<Item = KeyId> {
        let current = self.masters.current();
        self.masters.ids().filter(move |id| *id != current)
    }

    /// Wraps a service key anew, unless it is; gives its name if it was not.
    async fn rewrap_service_key(&self, name: &'static str) -> Result<Option<&'static str>, StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let stored = self.stored.service_keys().await?;
            let from =
                stored.get(name).ok_or_else(|| Corruption::missing(format!("the service key `{name}`")))?;
            if MasterKey::id_of(from) == Some(self.masters.current()) {
                return Ok(None);
            }
            let key = service_key(&self.masters, name, from)?;
            let to = self.wrap(&owner(name), &key)?;
            match self.stored.replace_service_key(name, from, &to).await {
                Ok(()) => return Ok(Some(name)),
                Err(WriteError::Conflict) => {}
                Err(WriteError::Store(error)) => return Err(error),
            }
        }
        let what = format!("the service key `{name}` is changed by somebody else all the time");
        Err(StoreError::Unavailable { what, source: None })
    }

    /// Another rotation to another key takes the keys that this one has wrapped further; it must be left to that.
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

    /// Goes through all streams once.
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
                RewrapOutcome::KeyReplacement(to) => {
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
        // Where one may write at a time, half of it belongs to those who append.
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
            Ok(key) => Ok(RewrapOutcome::KeyReplacement(self.wrap(stream.as_str(), &key)?)),
            // Whoever has that master key can still rotate it; nobody else can do anything about it.
            Err(UnwrapError::UnknownMasterKey(_)) => Ok(RewrapOutcome::UpToDate),
            Err(UnwrapError::Undecryptable(_)) => Ok(RewrapOutcome::Damaged),
        }
    }

    fn wrap(&self, owner: &str, key: &[u8; 32]) -> Result<Vec<u8>, StoreError> {
        let wrapped = self.masters.current_key().wrap(owner, key, &self.env);
        wrapped.map_err(|_| InternalError::Encryption { what: format!("the key of {owner}") }.into())
    }
}

/// What is to be done with a wrapped key.
enum RewrapOutcome {
    UpToDate,
    KeyReplacement(Vec<u8>),
    Damaged,
}
