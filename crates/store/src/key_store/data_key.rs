//! The data key (DEK) of a stream: encrypts the personal data of the stream's events with AES-256-GCM. The
//! master key (KEK) that wraps it is in `master_key`.

use serde_json::{Map, Value};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{DecryptError, MasterKey, MasterKeys, UnwrapError, open, seal};
use crate::env::Env;
use crate::event::{Envelope, StreamId};

/// Format version: the first byte of every ciphertext.
const FORMAT: u8 = 1;

/// The additional authenticated data (AAD) of a ciphertext: a ciphertext that was moved to another event, or
/// whose event was given another type, does not decrypt.
#[derive(Debug, Clone, Copy)]
pub struct SealedContext<'a> {
    /// The stream of the event.
    pub stream: &'a StreamId,
    /// The id of the event.
    pub id: Uuid,
    /// The type of the event.
    pub event_type: &'a str,
    /// The schema version of the event.
    pub schema: u32,
}

impl<'a> SealedContext<'a> {
    /// The context of a stored event.
    #[must_use]
    pub fn of(event: &'a Envelope) -> Self {
        Self { stream: &event.stream, id: event.id, event_type: &event.event_type, schema: event.schema }
    }

    fn bytes(&self) -> Vec<u8> {
        format!("{}|{}|{}|{}", self.stream, self.id.hyphenated(), self.event_type, self.schema).into_bytes()
    }
}

/// The data key (DEK) of one stream: 32 random bytes. Destroying it is crypto-shredding.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// Generates a random key.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        Self(env.bytes())
    }

    /// Wraps the data key by a master key, for storage.
    ///
    /// # Errors
    /// As [`MasterKey::wrap`].
    pub fn wrap(&self, stream: &StreamId, master: &MasterKey, env: &Env) -> Result<Vec<u8>, DecryptError> {
        master.wrap(stream.as_str(), &self.0, env)
    }

    /// Unwraps a stored data key.
    ///
    /// # Errors
    /// [`UnwrapError`] if its master key is missing, or it was wrapped for another stream.
    pub fn unwrap(stream: &StreamId, wrapped: &[u8], masters: &MasterKeys) -> Result<Self, UnwrapError> {
        masters.unwrap(stream.as_str(), wrapped).map(Self)
    }

    /// Encrypts personal data: `1 ‖ nonce ‖ ciphertext ‖ tag`.
    ///
    /// # Errors
    /// [`DecryptError`] by the signature of the cipher; it does not occur with a 32-byte key.
    pub fn seal(
        &self,
        context: SealedContext<'_>,
        personal: &Map<String, Value>,
        env: &Env,
    ) -> Result<Vec<u8>, DecryptError> {
        let mut plain = serde_json::to_vec(personal).map_err(|_| DecryptError)?;
        let sealed = seal(&self.0, &context.bytes(), &plain, env);
        plain.zeroize();
        Ok([[FORMAT].as_slice(), &sealed?].concat())
    }

    /// Decrypts a ciphertext of [`DataKey::seal`] with the same context.
    ///
    /// # Errors
    /// [`DecryptError`] if it belongs to another event or stream, or was changed.
    pub fn open(
        &self,
        context: SealedContext<'_>,
        sealed: &[u8],
    ) -> Result<Map<String, Value>, DecryptError> {
        let sealed = sealed.strip_prefix(&[FORMAT]).ok_or(DecryptError)?;
        let mut plain = open(&self.0, &context.bytes(), sealed)?;
        let personal = serde_json::from_slice(&plain).map_err(|_| DecryptError);
        plain.zeroize();
        personal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphertext_decrypts_only_in_its_own_context() {
        let env = Env::system();
        let key = DataKey::generate(&env);
        let (mine, other) = (StreamId::new("user-1").unwrap(), StreamId::new("user-2").unwrap());
        let id = env.uuid();
        let context = SealedContext { stream: &mine, id, event_type: "UserRegistered", schema: 1 };
        let personal = Map::from_iter([("email".to_owned(), Value::from("ada@example.com"))]);
        let sealed = key.seal(context, &personal, &env).unwrap();

        assert_eq!(key.open(context, &sealed), Ok(personal));
        for moved in [
            SealedContext { stream: &other, ..context },
            SealedContext { id: env.uuid(), ..context },
            SealedContext { event_type: "UserImported", ..context },
            SealedContext { schema: 2, ..context },
        ] {
            assert_eq!(key.open(moved, &sealed), Err(DecryptError));
        }
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(key.open(context, &changed), Err(DecryptError), "byte {index} is not authenticated");
        }
    }
}
