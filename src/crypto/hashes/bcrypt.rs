//! bcrypt as `crypt(3)`, passlib and Django store it, also over a hash of the password.
//!
//! As in those systems, a password is used up to its 72nd byte. A zero byte is a byte like any other.

use std::fmt;

use base64::alphabet::BCRYPT;
use base64::engine::{Engine, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::digest::FixedOutput;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::{PasswordHashError, UnsupportedHash};
use super::form::{Parsed, SALT_BYTES, number, parts};

/// The smallest one that bcrypt defines.
const MIN_COST: u32 = 4;
/// Some seconds.
const MAX_COST: u32 = 16;

/// Stored are 23 of the 24 bytes.
pub(super) const DIGEST_BYTES: usize = 23;

/// They differ in faults of old implementations, not in the hash of a password up to 72 bytes.
const VERSIONS: [&str; 3] = ["$2a$", "$2b$", "$2y$"];
const MAX_KEY_BYTES: usize = 72;
const SALT_CHARACTERS: usize = 22;

/// Old implementations wrote salts with random bits after the last byte; bcrypt ignores them.
const LENIENT: GeneralPurpose = GeneralPurpose::new(&BCRYPT, CONFIG.with_decode_allow_trailing_bits(true));
const STRICT: GeneralPurpose = GeneralPurpose::new(&BCRYPT, CONFIG);
const CONFIG: GeneralPurposeConfig = general_purpose::NO_PAD;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BcryptKind {
    cost: u32,
    prehash: Prehash,
}

/// What bcrypt is computed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Prehash {
    /// The password itself.
    None,
    /// SHA-256 in hexadecimal (Django).
    Sha256Hex,
    /// SHA-256 in base64 (passlib before 1.7.3).
    Sha256Base64,
    /// HMAC-SHA-256 in base64, with the text of the salt as key (passlib).
    HmacSha256Base64,
}

impl BcryptKind {
    fn new(cost: &str, prehash: Prehash) -> Result<Self, UnsupportedHash> {
        let number = number(cost).ok_or(malformed("cost"))?;
        UnsupportedHash::check_cost("bcrypt cost", number, MAX_COST.into())?;
        let cost = u32::try_from(number).ok().filter(|cost| *cost >= MIN_COST);
        Ok(Self { cost: cost.ok_or(malformed("cost"))?, prehash })
    }

    fn stored(self, salt: &str, digest: &str) -> Result<Parsed<BcryptKind>, UnsupportedHash> {
        // The text of the salt is a key, so that no bit of it may be ignored.
        let salts = if self.prehash == Prehash::HmacSha256Base64 { STRICT } else { LENIENT };
        let salt = salts.decode(salt).ok().filter(|salt| salt.len() == SALT_BYTES);
        let digest = LENIENT.decode(digest).ok().map(Zeroizing::new);
        let digest = digest.filter(|digest| digest.len() == DIGEST_BYTES);
        Ok(Parsed {
            kind: self,
            salt: salt.ok_or(malformed("salt"))?,
            digest: digest.ok_or(malformed("digest"))?,
        })
    }

    pub(super) fn compute(
        self,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), PasswordHashError> {
        let salt: [u8; SALT_BYTES] =
            salt.try_into().map_err(|error| PasswordHashError::not_computed(&error))?;
        let key = match self.prehash {
            Prehash::None => Key::new(password),
            Prehash::Sha256Hex => Key::new(Zeroizing::new(hex::encode(sha256(password))).as_bytes()),
            Prehash::Sha256Base64 => Key::of_base64(&sha256(password)),
            Prehash::HmacSha256Base64 => {
                let digest = hmac_sha256(STRICT.encode(salt).as_bytes(), password)?;
                Key::of_base64(&digest)
            }
        };
        let digest = Zeroizing::new(bcrypt::bcrypt(self.cost, salt, key.as_bytes()));
        out.iter_mut().zip(digest.iter()).for_each(|(out, byte)| *out = *byte);
        Ok(())
    }
}

impl fmt::Display for BcryptKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.prehash {
            Prehash::None => "bcrypt",
            Prehash::Sha256Hex | Prehash::Sha256Base64 | Prehash::HmacSha256Base64 => "bcrypt-sha256",
        };
        write!(out, "{name},cost={}", self.cost)
    }
}

/// What bcrypt uses of a password: its first 72 bytes, or all and the zero byte after it.
struct Key {
    bytes: Zeroizing<[u8; MAX_KEY_BYTES]>,
    len: usize,
}

impl Key {
    fn new(password: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; MAX_KEY_BYTES]);
        bytes.iter_mut().zip(password).for_each(|(out, byte)| *out = *byte);
        Self { bytes, len: MAX_KEY_BYTES.min(password.len() + 1) }
    }

    fn of_base64(digest: &[u8; 32]) -> Self {
        Self::new(Zeroizing::new(BASE64_STANDARD.encode(digest)).as_bytes())
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&*self.bytes)
    }
}

fn sha256(password: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut digest = Zeroizing::new([0; 32]);
    Digest::finalize_into(Sha256::new_with_prefix(password), (&mut *digest).into());
    digest
}

fn hmac_sha256(key: &[u8], password: &[u8]) -> Result<Zeroizing<[u8; 32]>, PasswordHashError> {
    let mut digest = Zeroizing::new([0; 32]);
    let hmac =
        Hmac::<Sha256>::new_from_slice(key).map_err(|error| PasswordHashError::not_computed(&error))?;
    hmac.chain_update(password).finalize_into((&mut *digest).into());
    Ok(digest)
}

const fn malformed(part: &'static str) -> UnsupportedHash {
    UnsupportedHash::Malformed { algorithm: "bcrypt", part }
}

/// `cost$`, of two digits, then salt and digest without a separator.
pub(super) fn parse_crypt(rest: &str, prehash: Prehash) -> Result<Parsed<BcryptKind>, UnsupportedHash> {
    let [cost, hash] = parts(rest, '$').ok_or(malformed("structure"))?;
    if cost.len() != 2 {
        return Err(malformed("cost"));
    }
    let kind = BcryptKind::new(cost, prehash)?;
    let (salt, digest) = hash.split_at_checked(SALT_CHARACTERS).ok_or(malformed("salt"))?;
    kind.stored(salt, digest)
}

/// A hash as of `crypt(3)`.
pub(super) fn parse_django(rest: &str, prehash: Prehash) -> Result<Parsed<BcryptKind>, UnsupportedHash> {
    let crypt = VERSIONS.iter().find_map(|version| rest.strip_prefix(version));
    parse_crypt(crypt.ok_or(malformed("version"))?, prehash)
}

/// `v=2,t=2b,r=cost$salt$digest`; before passlib 1.7.3 `2b,cost$salt$digest`.
pub(super) fn parse_passlib(rest: &str) -> Result<Parsed<BcryptKind>, UnsupportedHash> {
    let [settings, salt, digest] = parts(rest, '$').ok_or(malformed("structure"))?;
    let (cost, prehash) = if let Some(cost) = settings.strip_prefix("v=2,t=2b,r=") {
        (cost, Prehash::HmacSha256Base64)
    } else {
        let cost = settings.strip_prefix("2a,").or_else(|| settings.strip_prefix("2b,"));
        (cost.ok_or(malformed("version"))?, Prehash::Sha256Base64)
    };
    BcryptKind::new(cost, prehash)?.stored(salt, digest)
}
