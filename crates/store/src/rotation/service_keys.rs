//! The keys of the service itself, wrapped like those of streams.

use crate::error::{KeyOwner, MissingKey, StoreError};
use crate::key_store::{MasterKey, MasterKeys};

/// Service keys are bound to a name that no stream can have.
pub(crate) fn owner(name: &str) -> String {
    format!("keys/{name}")
}

/// Opens a service key.
pub(crate) fn service_key(masters: &MasterKeys, name: &str, wrapped: &[u8]) -> Result<[u8; 32], StoreError> {
    masters
        .unwrap(&owner(name), wrapped)
        .map_err(|error| StoreError::key_unavailable(KeyOwner::Service(name.to_owned()), error))
}

/// Whether every master key of these service keys is there; if not, which are missing.
pub(crate) fn check_masters(masters: &MasterKeys, wrapped: &[(&str, &Vec<u8>)]) -> Result<(), StoreError> {
    let missing = wrapped.iter().filter_map(|(name, wrapped)| {
        let id = MasterKey::id_of(wrapped)?;
        masters.get(id).is_none().then(|| ((*name).to_owned(), id))
    });
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(MissingKey::ServiceKeys { missing, given: masters.ids().collect(), usage: Vec::new() }.into())
}
