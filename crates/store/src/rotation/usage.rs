//! Counts what each master key (KEK) wraps, for `aegis keys status` and the end of a rotation.

use std::collections::BTreeMap;
use std::fmt;

use super::{Rotation, SIGNING};
use crate::error::{Corruption, StoreError};
use crate::key_store::{KeyId, MasterKey};

/// What each master key in use wraps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterKeyUsage {
    /// The master key that wraps the data keys of new streams.
    pub wrapping_key: Option<KeyId>,
    /// The counts by master key.
    pub wraps: BTreeMap<KeyId, WrappedCount>,
    /// Number of streams whose stored key is malformed.
    pub damaged: u64,
}

/// What one master key wraps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrappedCount {
    /// Number of data keys of streams.
    pub streams: u64,
    /// Names of service keys.
    pub service_keys: Vec<String>,
}

/// As in "3 stream keys and the service keys claims, signing".
impl fmt::Display for WrappedCount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.streams == 1 { "" } else { "s" };
        write!(out, "{} stream key{plural}", self.streams)?;
        match self.service_keys.as_slice() {
            [] => Ok(()),
            [name] => write!(out, " and the service key {name}"),
            names => write!(out, " and the service keys {}", names.join(", ")),
        }
    }
}

impl MasterKeyUsage {
    /// The counts of a master key; zero if it wraps nothing.
    #[must_use]
    pub fn wrapped_by(&self, id: KeyId) -> WrappedCount {
        self.wraps.get(&id).cloned().unwrap_or_default()
    }

    /// The sum of the counts of these master keys.
    #[must_use]
    pub fn wrapped_by_any(&self, ids: impl IntoIterator<Item = KeyId>) -> WrappedCount {
        let mut sum = WrappedCount::default();
        for wraps in ids.into_iter().filter_map(|id| self.wraps.get(&id)) {
            sum.streams += wraps.streams;
            sum.service_keys.extend(wraps.service_keys.iter().cloned());
        }
        sum
    }

    /// Number of data keys of streams.
    #[must_use]
    pub fn streams(&self) -> u64 {
        self.damaged + self.wraps.values().map(|wraps| wraps.streams).sum::<u64>()
    }

    /// Whether no other master key wraps anything.
    #[must_use]
    pub fn is_wrapped_only_by(&self, id: KeyId) -> bool {
        self.damaged == 0 && self.wraps.keys().all(|other| *other == id)
    }
}

impl Rotation {
    /// Counts what each master key wraps. Scans the key store once, within the database.
    ///
    /// # Errors
    /// [`StoreError`] if the keys cannot be read.
    pub async fn master_key_usage(&self) -> Result<MasterKeyUsage, StoreError> {
        let known: Vec<_> = self.masters.ids().collect();
        let mut usage = MasterKeyUsage::default();
        for (id, streams) in self.stored.count_keys(&known).await? {
            match id {
                Some(id) => usage.wraps.entry(id).or_default().streams = streams,
                None => usage.damaged = streams,
            }
        }
        for (name, wrapped) in self.stored.service_keys().await? {
            let Some(id) = MasterKey::id_of(&wrapped) else {
                return Err(Corruption::field(
                    format!("the service key `{name}`"),
                    "wrapped",
                    "a wrapped key",
                )
                .into());
            };
            if name == SIGNING {
                usage.wrapping_key = Some(id);
            }
            usage.wraps.entry(id).or_default().service_keys.push(name);
        }
        Ok(usage)
    }

    /// Whether a rotation to the current master key has completed. Reads the service keys alone, the last of
    /// which is rewrapped when no data key is left.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub async fn is_done(&self) -> Result<bool, StoreError> {
        let keys = self.stored.service_keys().await?;
        let current = self.masters.current();
        Ok(keys.values().all(|wrapped| MasterKey::id_of(wrapped) == Some(current)))
    }
}
