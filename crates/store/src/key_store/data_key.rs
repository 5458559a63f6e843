//! The key of one stream, and what it seals: the personal part of that stream's events.

use serde_json::{Map, Value};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{DecryptError, MasterKey, MasterKeys, UnwrapError, open, seal};
use crate::env::Env;
use crate::event::{Envelope, StreamId};

/// The first byte of everything sealed: how the rest is to be read.
const FORMAT: u8 = 1;

/// What a sealed body belongs to. It is authenticated with the body, so a ciphertext moved to another event, or an
/// event given another type, no longer opens.
#[derive(Debug, Clone, Copy)]
pub struct SealedContext<'a> {
    /// The stream.
    pub stream: &'a StreamId,
    /// The event's identity.
    pub id: Uuid,
    /// The event's type.
    pub event_type: &'a str,
    /// The event's schema.
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

/// The random key of one stream.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// A new random key.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        Self(env.bytes())
    }

    /// Wraps the key for storage.
    ///
    /// # Errors
    /// As [`MasterKey::wrap`].
    pub fn wrap(&self, stream: &StreamId, master: &MasterKey, env: &Env) -> Result<Vec<u8>, DecryptError> {
        master.wrap(stream.as_str(), &self.0, env)
    }

    /// Unwraps a stored key.
    ///
    /// # Errors
    /// [`UnwrapError`] if its master key is missing, or it is another stream's.
    pub fn unwrap(stream: &StreamId, wrapped: &[u8], masters: &MasterKeys) -> Result<Self, UnwrapError> {
        masters.unwrap(stream.as_str(), wrapped).map(Self)
    }

    /// Seals personal values: `1 ‖ nonce ‖ ciphertext ‖ tag`.
    ///
    /// # Errors
    /// [`DecryptError`] never happens with a 32-byte key; it is the cipher's type that allows for it.
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

    /// Opens what [`DataKey::seal`] made in the same context.
    ///
    /// # Errors
    /// [`DecryptError`] if it is another event's, another stream's, or was changed.
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
            assert_eq!(key.open(context, &changed), Err(DecryptError), "byte {index} is not protected");
        }
    }
}
