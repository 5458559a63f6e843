//! Keys that cannot be unwrapped because their master key was not given.

use std::error::Error;
use std::fmt;

use crate::event::StreamId;
use crate::key_store::KeyId;

/// Whose wrapped key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    /// The data key (DEK) of a stream.
    Stream(StreamId),
    /// The data key of any new stream.
    NewStreams,
    /// A key of the service itself: `claims` or `signing`.
    Service(String),
}

impl fmt::Display for KeyOwner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(stream) => write!(out, "the data key of stream {stream}"),
            Self::NewStreams => out.write_str("the data key of new streams"),
            Self::Service(name) => write!(out, "the service key `{name}`"),
        }
    }
}

/// A master key that is needed and was not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingKey {
    /// The one that wraps a key.
    MasterKey {
        /// Whose key it wraps.
        owner: KeyOwner,
        /// The missing master key.
        master: KeyId,
    },
    /// Those that wrap the service keys, without which the service does not start.
    ServiceKeys {
        /// Each service key that cannot be unwrapped, with its master key.
        missing: Vec<(String, KeyId)>,
        /// The master keys that were given.
        given: Vec<KeyId>,
        /// What else each missing master key wraps, where that is known.
        usage: Vec<(KeyId, String)>,
    },
}

impl MissingKey {
    /// The same, with what each missing master key wraps.
    #[must_use]
    pub fn with_usage(self, usage: Vec<(KeyId, String)>) -> Self {
        match self {
            Self::ServiceKeys { missing, given, usage: _ } => Self::ServiceKeys { missing, given, usage },
            Self::MasterKey { .. } => self,
        }
    }

    /// Whether this master key is missing.
    #[must_use]
    pub fn names(&self, id: KeyId) -> bool {
        match self {
            Self::MasterKey { master, .. } => *master == id,
            Self::ServiceKeys { missing, .. } => missing.iter().any(|(_, master)| *master == id),
        }
    }
}

impl Error for MissingKey {}

impl fmt::Display for MissingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterKey { owner, master } => write!(
                out,
                "{owner} is wrapped by master key {master}, which was not given. Give it in \
                 AEGIS_MASTER_KEY_PREVIOUS, or restore its file in the data folder; `aegis keys status` \
                 shows what else it wraps"
            ),
            Self::ServiceKeys { missing, given, usage } => {
                let missing: Vec<_> = missing.iter().map(|(name, id)| format!("`{name}` by {id}")).collect();
                let given: Vec<_> = given.iter().map(KeyId::to_string).collect();
                write!(
                    out,
                    "a master key of this database is missing: it wraps the service keys {}; given was {}. \
                     Give the right one in AEGIS_MASTER_KEY, or, after a rotation, the previous one in \
                     AEGIS_MASTER_KEY_PREVIOUS, or restore `master.key` in the data folder; without it no \
                     personal data can be read. Nothing was changed.",
                    missing.join(", "),
                    given.join(", "),
                )?;
                usage.iter().try_for_each(|(id, wrapped)| write!(out, " Master key {id} wraps {wrapped}."))
            }
        }
    }
}
