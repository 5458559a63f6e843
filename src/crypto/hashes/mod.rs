//! Stored password hashes, of Aegis and of other systems: which forms are accepted, what they may cost, and
//! whether a password matches. Threads and queues belong to the pool.

mod argon2;
mod bcrypt;
mod error;
mod form;
mod pbkdf2;
mod scrypt;

#[cfg(test)]
mod tests;

use std::fmt;

use domain::{MAX_PASSWORD_HASH_BYTES, PasswordHash};
use zeroize::Zeroizing;

use self::argon2::{Argon2Hasher, Argon2Kind};
use self::bcrypt::{BcryptKind, Prehash};
use self::form::{Parsed, SALT_BYTES};
use self::pbkdf2::{Digest, Pbkdf2Kind};
use self::scrypt::ScryptKind;

pub use self::argon2::HashParameters;
pub use self::error::{PasswordHashError, UnsupportedHash};

/// What determines how long a hash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HashKind {
    Argon2(Argon2Kind),
    Bcrypt(BcryptKind),
    Scrypt(ScryptKind),
    Pbkdf2(Pbkdf2Kind),
}

impl HashKind {
    /// The kind of new hashes.
    pub(super) fn current(costs: HashParameters) -> Result<Self, PasswordHashError> {
        Ok(Self::Argon2(Argon2Kind::current(costs)?))
    }

    /// The kind of a stored hash; `None` if it cannot be verified.
    pub(super) fn of(hash: &PasswordHash) -> Option<Self> {
        StoredHash::parse(hash.expose()).ok().map(|stored| stored.kind)
    }

    fn digest_bytes(self) -> usize {
        match self {
            Self::Argon2(kind) => kind.digest_bytes(),
            Self::Bcrypt(_) => bcrypt::DIGEST_BYTES,
            Self::Scrypt(kind) => kind.digest_bytes(),
            Self::Pbkdf2(kind) => kind.digest_bytes(),
        }
    }
}

macro_rules! from_kinds {
    ($($algorithm:ident: $kind:ty),*) => {
        $(impl From<$kind> for HashKind {
            fn from(kind: $kind) -> Self {
                Self::$algorithm(kind)
            }
        })*
    };
}

from_kinds!(Argon2: Argon2Kind, Bcrypt: BcryptKind, Scrypt: ScryptKind, Pbkdf2: Pbkdf2Kind);

/// The algorithm and its costs. For Argon2, which makes new hashes, the costs alone, as in a PHC string.
impl fmt::Display for HashKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2(kind) => kind.fmt(out),
            Self::Bcrypt(kind) => kind.fmt(out),
            Self::Scrypt(kind) => kind.fmt(out),
            Self::Pbkdf2(kind) => kind.fmt(out),
        }
    }
}

/// A hash with costs within the bounds: a password can be verified against it. Has no `Debug`.
#[derive(Clone)]
pub struct StoredHash {
    kind: HashKind,
    salt: Vec<u8>,
    digest: Zeroizing<Vec<u8>>,
}

impl StoredHash {
    /// Parses any accepted form: the PHC strings of Argon2, and the forms of bcrypt, scrypt and PBKDF2 that
    /// passlib, Django, Werkzeug and the `crypt` of other systems write. `docs/security.md` lists them.
    ///
    /// # Errors
    /// [`UnsupportedHash::TooCostly`] if its costs are above the limits, otherwise why it is no such hash.
    pub fn parse(text: &str) -> Result<Self, UnsupportedHash> {
        if text.len() > MAX_PASSWORD_HASH_BYTES {
            return Err(UnsupportedHash::TooLong { max: MAX_PASSWORD_HASH_BYTES });
        }
        // Django writes the name of its hasher before the PHC string.
        let phc = text.strip_prefix("argon2").unwrap_or(text);
        if phc.starts_with("$argon2") {
            return stored(argon2::parse(phc));
        }
        let found = FORMS.iter().find_map(|(prefix, parse)| Some((text.strip_prefix(prefix)?, parse)));
        found.map_or(Err(UnsupportedHash::UnknownForm), |(rest, parse)| parse(rest))
    }

    #[must_use]
    pub fn kind(&self) -> HashKind {
        self.kind
    }

    /// A hash of this kind, which is made of no password.
    pub(super) fn decoy(kind: HashKind, secret: &[u8; 32]) -> Self {
        let digest = secret.iter().copied().cycle().take(kind.digest_bytes()).collect();
        let salt = secret.iter().copied().take(SALT_BYTES).collect();
        Self { kind, salt, digest: Zeroizing::new(digest) }
    }
}

fn stored<K: Into<HashKind>>(
    parsed: Result<Parsed<K>, UnsupportedHash>,
) -> Result<StoredHash, UnsupportedHash> {
    let Parsed { kind, salt, digest } = parsed?;
    Ok(StoredHash { kind: kind.into(), salt, digest })
}

type Parser = fn(&str) -> Result<StoredHash, UnsupportedHash>;

/// The prefixes by which the forms are known, and the parsers of what follows them.
const FORMS: [(&str, Parser); 14] = [
    // crypt(3), pyca/bcrypt and passlib
    ("$2a$", |rest| stored(bcrypt::parse_crypt(rest, Prehash::None))),
    ("$2b$", |rest| stored(bcrypt::parse_crypt(rest, Prehash::None))),
    ("$2y$", |rest| stored(bcrypt::parse_crypt(rest, Prehash::None))),
    // Django
    ("bcrypt$", |rest| stored(bcrypt::parse_django(rest, Prehash::None))),
    ("bcrypt_sha256$", |rest| stored(bcrypt::parse_django(rest, Prehash::Sha256Hex))),
    ("scrypt$", |rest| stored(scrypt::parse_django(rest))),
    ("pbkdf2_sha1$", |rest| stored(pbkdf2::parse_django(rest, Digest::Sha1))),
    ("pbkdf2_sha256$", |rest| stored(pbkdf2::parse_django(rest, Digest::Sha256))),
    // passlib
    ("$bcrypt-sha256$", |rest| stored(bcrypt::parse_passlib(rest))),
    ("$scrypt$", |rest| stored(scrypt::parse_passlib(rest))),
    ("$pbkdf2$", |rest| stored(pbkdf2::parse_passlib(rest, Digest::Sha1))),
    ("$pbkdf2-", |rest| stored(pbkdf2::parse_passlib_named(rest))),
    // Werkzeug
    ("scrypt:", |rest| stored(scrypt::parse_werkzeug(rest))),
    ("pbkdf2:", |rest| stored(pbkdf2::parse_werkzeug(rest))),
];

/// Hashes and verifies; keeps the hashing memory of one thread.
pub(super) struct Hasher {
    /// The costs of new hashes.
    costs: HashParameters,
    argon2: Argon2Hasher,
}

impl Hasher {
    pub(super) fn new(costs: HashParameters) -> Self {
        Self { costs, argon2: Argon2Hasher::new(costs) }
    }

    /// Hashes a password into a PHC string.
    pub(super) fn hash(
        &mut self,
        password: &[u8],
        salt: &[u8; SALT_BYTES],
    ) -> Result<PasswordHash, PasswordHashError> {
        let kind = Argon2Kind::current(self.costs)?;
        let mut digest = Zeroizing::new(vec![0; kind.digest_bytes()]);
        self.argon2.compute(kind, password, salt, &mut digest)?;
        let phc = kind.phc_string(salt, &digest);
        PasswordHash::new(phc).map_err(|fault| PasswordHashError::not_computed(&fault))
    }

    /// Whether a new hash would be of the same kind.
    pub(super) fn is_current(&self, hash: &StoredHash) -> bool {
        HashKind::current(self.costs) == Ok(hash.kind)
    }

    pub(super) fn verify(&mut self, password: &[u8], stored: &StoredHash) -> Result<bool, PasswordHashError> {
        let mut digest = Zeroizing::new(vec![0; stored.digest.len()]);
        match stored.kind {
            HashKind::Argon2(kind) => self.argon2.compute(kind, password, &stored.salt, &mut digest)?,
            HashKind::Bcrypt(kind) => kind.compute(password, &stored.salt, &mut digest)?,
            HashKind::Scrypt(kind) => kind.compute(password, &stored.salt, &mut digest)?,
            HashKind::Pbkdf2(kind) => kind.compute(password, &stored.salt, &mut digest),
        }
        Ok(aws_lc_rs::constant_time::verify_slices_are_equal(&digest, &stored.digest).is_ok())
    }
}
