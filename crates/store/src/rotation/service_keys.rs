//! The service keys, wrapped by the master key (KEK) like the data keys of streams.

use zeroize::Zeroizing;

use crate::error::{KeyOwner, MissingKey, StoreError};
use crate::key_store::{MasterKey, MasterKeys};

/// The owner to which a service key is bound: a name that no stream can have.
pub(crate) fn owner(name: &str) -> String {
    format!("keys/{name}")
}

/// Unwraps a service key.
pub(crate) fn service_key(masters: &MasterKeys, name: &str, wrapped: &[u8]) -> Result<[u8; 32], StoreError> {
    masters
        .unwrap(&owner(name), wrapped)
        .map_err(|error| StoreError::key_unavailable(KeyOwner::Service(name.to_owned()), error))
}

/// Unwraps a service key of any length.
pub(crate) fn service_key_bytes(
    masters: &MasterKeys,
    name: &str,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    masters
        .unwrap_bytes(&owner(name), wrapped)
        .map_err(|error| StoreError::key_unavailable(KeyOwner::Service(name.to_owned()), error))
}

/// Fails with the missing ones unless the master keys of all these service keys were given.
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
