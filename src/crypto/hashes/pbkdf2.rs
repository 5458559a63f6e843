//! PBKDF2 (RFC 8018) with HMAC, as passlib, Django and Werkzeug store it.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine};
use zeroize::Zeroizing;

use super::error::UnsupportedHash;
use super::form::{Parsed, number, parts};

/// Ten times what Django and Werkzeug use by default; some seconds.
const MAX_ITERATIONS: u32 = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pbkdf2Kind {
    digest: Digest,
    iterations: NonZeroU32,
}

/// The hash function of the HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

impl Pbkdf2Kind {
    fn new(digest: Digest, iterations: &str) -> Result<Self, UnsupportedHash> {
        let number = number(iterations).ok_or(malformed("iteration count"))?;
        UnsupportedHash::check_cost("PBKDF2 iteration count", number, MAX_ITERATIONS.into())?;
        let iterations = u32::try_from(number).ok().and_then(NonZeroU32::new);
        Ok(Self { digest, iterations: iterations.ok_or(malformed("iteration count"))? })
    }

    /// The digest has the size of its hash function: more would cost a multiple of the iterations.
    pub(super) fn digest_bytes(self) -> usize {
        match self.digest {
            Digest::Sha1 => 20,
            Digest::Sha256 => 32,
            Digest::Sha512 => 64,
        }
    }

    fn stored(self, salt: Vec<u8>, digest: Vec<u8>) -> Result<Parsed<Pbkdf2Kind>, UnsupportedHash> {
        let digest = Zeroizing::new(digest);
        if digest.len() != self.digest_bytes() {
            return Err(malformed("digest"));
        }
        Ok(Parsed { kind: self, salt, digest })
    }

    pub(super) fn compute(self, password: &[u8], salt: &[u8], out: &mut [u8]) {
        let algorithm = match self.digest {
            Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        pbkdf2::derive(algorithm, self.iterations, salt, password, out);
    }
}

impl fmt::Display for Pbkdf2Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.digest {
            Digest::Sha1 => "sha1",
            Digest::Sha256 => "sha256",
            Digest::Sha512 => "sha512",
        };
        write!(out, "pbkdf2-{name},i={}", self.iterations)
    }
}

const fn malformed(part: &'static str) -> UnsupportedHash {
    UnsupportedHash::Malformed { algorithm: "PBKDF2", part }
}

/// `iterations$salt$digest`, both in base64 with `.` for `+` and without padding.
pub(super) fn parse_passlib(rest: &str, digest: Digest) -> Result<Parsed<Pbkdf2Kind>, UnsupportedHash> {
    let [iterations, salt, hash] = parts(rest, '$').ok_or(malformed("structure"))?;
    let kind = Pbkdf2Kind::new(digest, iterations)?;
    let decode =
        |text: &str, part| BASE64_STANDARD_NO_PAD.decode(text.replace('.', "+")).map_err(|_| malformed(part));
    kind.stored(decode(salt, "salt")?, decode(hash, "digest")?)
}

/// `digest name$iterations$salt$digest`.
pub(super) fn parse_passlib_named(rest: &str) -> Result<Parsed<Pbkdf2Kind>, UnsupportedHash> {
    let (name, rest) = rest.split_once('$').ok_or(UnsupportedHash::UnknownForm)?;
    // Its SHA-1 has a prefix without a name.
    let digest = Digest::of_name(name).filter(|digest| *digest != Digest::Sha1);
    parse_passlib(rest, digest.ok_or(UnsupportedHash::UnknownForm)?)
}

/// `iterations$salt$digest`: the salt is text, the digest base64.
pub(super) fn parse_django(rest: &str, digest: Digest) -> Result<Parsed<Pbkdf2Kind>, UnsupportedHash> {
    let [iterations, salt, hash] = parts(rest, '$').ok_or(malformed("structure"))?;
    let kind = Pbkdf2Kind::new(digest, iterations)?;
    let hash = BASE64_STANDARD.decode(hash).map_err(|_| malformed("digest"))?;
    kind.stored(salt.into(), hash)
}

/// `digest name:iterations$salt$digest`: the salt is text, the digest hexadecimal.
pub(super) fn parse_werkzeug(rest: &str) -> Result<Parsed<Pbkdf2Kind>, UnsupportedHash> {
    let [method, salt, hash] = parts(rest, '$').ok_or(malformed("structure"))?;
    let [name, iterations] = parts(method, ':').ok_or(malformed("structure"))?;
    let digest = Digest::of_name(name).ok_or(UnsupportedHash::UnknownForm)?;
    let kind = Pbkdf2Kind::new(digest, iterations)?;
    kind.stored(salt.into(), hex::decode(hash).map_err(|_| malformed("digest"))?)
}
