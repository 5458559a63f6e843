//! The keys of the service itself, wrapped like those of streams.

use crate::error::StoreError;
use crate::key_store::{MasterKey, MasterKeys};

/// Service keys are bound to a name that no stream can have.
pub(crate) fn owner(name: &str) -> String {
    format!("keys/{name}")
}

/// Opens a service key.
pub(crate) fn service_key(masters: &MasterKeys, name: &str, wrapped: &[u8]) -> Result<[u8; 32], StoreError> {
    masters
        .unwrap(&owner(name), wrapped)
        .map_err(|error| StoreError::key_unavailable(format_args!("the service key `{name}`"), error))
}

/// Whether every master key of these service keys is there; if not, which are missing.
pub(crate) fn check_masters(masters: &MasterKeys, wrapped: &[(&str, &Vec<u8>)]) -> Result<(), StoreError> {
    let missing = wrapped.iter().filter_map(|(name, wrapped)| {
        let id = MasterKey::id_of(wrapped)?;
        masters.get(id).is_none().then(|| format!("`{name}` by {id}"))
    });
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let given: Vec<_> = masters.ids().map(|id| id.to_string()).collect();
    Err(StoreError::KeyMissing(format!(
        "a master key of this database is missing: it wraps the service keys {}; given was {}. Give the right one in \
         AEGIS_MASTER_KEY, or, if it was rotated, the one of before in AEGIS_MASTER_KEY_PREVIOUS, or put `master.key` \
         back into the data folder; without it no personal data can be read. Nothing was changed.",
        missing.join(", "),
        given.join(", "),
    )))
}
