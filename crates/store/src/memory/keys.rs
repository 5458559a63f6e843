//! Wrapped keys of the reference backend, for rotations of the master key.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{Memory, State};
use crate::error::{StoreError, WriteError};
use crate::event::StreamId;
use crate::key_store::{KeyEntry, KeyId, MasterKey, WRAPPED_BYTES};
use crate::rotation::{CLAIMS, KeyReplacement, SIGNING, WrappedKey, WrappedKeyStore};

#[async_trait]
impl WrappedKeyStore for Memory {
    async fn service_keys(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let state = self.state();
        let keys = state.genesis.as_ref().map(|genesis| {
            [
                (CLAIMS.to_owned(), genesis.claim_key.clone()),
                (SIGNING.to_owned(), genesis.signing_key.clone()),
            ]
        });
        let added = state.added_keys.iter().map(|(name, wrapped)| (name.clone(), wrapped.clone()));
        Ok(keys.into_iter().flatten().chain(added).collect())
    }

    async fn count_keys(&self, _: &[KeyId]) -> Result<BTreeMap<Option<KeyId>, u64>, StoreError> {
        let mut counts = BTreeMap::new();
        for (_, wrapped) in self.state().wrapped() {
            let id = MasterKey::id_of(wrapped).filter(|_| wrapped.len() == WRAPPED_BYTES);
            *counts.entry(id).or_default() += 1;
        }
        Ok(counts)
    }

    async fn wrapped_keys(
        &self,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Result<Vec<WrappedKey>, StoreError> {
        let state = self.state();
        let above = state.wrapped().filter(|(stream, _)| after.is_none_or(|after| *stream > after));
        let sorted: BTreeMap<_, _> = above.collect();
        Ok(sorted.into_iter().take(limit).map(|(stream, key)| (stream.clone(), key.clone())).collect())
    }

    async fn replace_keys(&self, changes: &[KeyReplacement]) -> Result<u64, StoreError> {
        let mut state = self.state();
        let mut replaced = 0;
        for KeyReplacement { stream, from, to } in changes {
            if let Some((KeyEntry::Key(held), _)) = state.key_entries.get_mut(stream)
                && held == from
            {
                held.clone_from(to);
                replaced += 1;
            }
        }
        Ok(replaced)
    }

    async fn add_service_key(&self, name: &str, wrapped: &[u8]) -> Result<(), WriteError> {
        if self.service_keys().await?.contains_key(name) {
            return Err(WriteError::Conflict);
        }
        self.state().added_keys.insert(name.to_owned(), wrapped.to_vec());
        Ok(())
    }

    async fn replace_service_key(&self, name: &str, from: &[u8], to: &[u8]) -> Result<(), WriteError> {
        let mut state = self.state();
        let State { genesis, added_keys, .. } = &mut *state;
        let stored = genesis.as_mut().and_then(|genesis| match name {
            CLAIMS => Some(&mut genesis.claim_key),
            SIGNING => Some(&mut genesis.signing_key),
            name => added_keys.get_mut(name),
        });
        let stored = stored.filter(|stored| *stored == from).ok_or(WriteError::Conflict)?;
        *stored = to.to_vec();
        Ok(())
    }
}

impl State {
    fn wrapped(&self) -> impl Iterator<Item = (&StreamId, &Vec<u8>)> {
        self.key_entries.iter().filter_map(|(stream, (entry, _))| match entry {
            KeyEntry::Key(wrapped) => Some((stream, wrapped)),
            KeyEntry::Erased => None,
        })
    }
}
