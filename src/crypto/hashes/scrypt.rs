//! scrypt (RFC 7914), as passlib, Django and Werkzeug store it.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine};
use scrypt::Params;
use zeroize::Zeroizing;

use super::error::{PasswordHashError, UnsupportedHash};
use super::form::{Parsed, number, parts};

/// 1 GiB for the steps, as for Argon2: the largest setting in use, N = 2^20 with r = 8.
const MAX_STEPS_KIB: u64 = 1024 * 1024;
/// The steps and a few lanes.
const MAX_MEMORY_KIB: u64 = MAX_STEPS_KIB + 64;
/// The bound of `N * r * p`: four passes over the largest memory.
const MAX_WORK: u64 = 4 * MAX_STEPS_KIB * 1024 / BLOCK_BYTES;
/// The unit of `r`.
const BLOCK_BYTES: u64 = 128;

/// The sizes of digests: passlib stores 32 bytes, Django and Werkzeug 64. Fewer than 16 would be guessed.
const DIGEST_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScryptKind {
    log_n: u8,
    r: u32,
    p: u32,
    digest_bytes: usize,
}

impl ScryptKind {
    pub(super) fn digest_bytes(self) -> usize {
        self.digest_bytes
    }

    pub(super) fn compute(
        self,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), PasswordHashError> {
        let not_computed = |error: &dyn fmt::Display| PasswordHashError::not_computed(&error);
        let params = Params::new(self.log_n, self.r, self.p).map_err(|error| not_computed(&error))?;
        scrypt::scrypt(password, salt, &params, out).map_err(|error| not_computed(&error))
    }
}

impl fmt::Display for ScryptKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "scrypt,ln={},r={},p={}", self.log_n, self.r, self.p)
    }
}

const fn malformed(part: &'static str) -> UnsupportedHash {
    UnsupportedHash::Malformed { algorithm: "scrypt", part }
}

/// The costs as they are stored.
struct Costs {
    n: u64,
    r: u64,
    p: u64,
}

impl Costs {
    fn parse(n: &str, r: &str, p: &str) -> Result<Self, UnsupportedHash> {
        let cost = |text| number(text).ok_or(malformed("costs"));
        Ok(Self { n: cost(n)?, r: cost(r)?, p: cost(p)? })
    }

    fn stored(self, salt: Vec<u8>, digest: Vec<u8>) -> Result<Parsed<ScryptKind>, UnsupportedHash> {
        let (digest, Self { n, r, p }) = (Zeroizing::new(digest), self);
        // One block for each step and one for each lane.
        let memory_kib = n.saturating_add(p).saturating_mul(r).saturating_mul(BLOCK_BYTES) / 1024;
        UnsupportedHash::check_cost("scrypt memory (KiB)", memory_kib, MAX_MEMORY_KIB)?;
        let work = n.saturating_mul(r).saturating_mul(p);
        UnsupportedHash::check_cost("scrypt work (N*r*p)", work, MAX_WORK)?;
        let costs = (n > 1 && n.is_power_of_two() && r > 0 && p > 0).then_some(());
        let costs = costs.and_then(|()| {
            Some((u8::try_from(n.ilog2()).ok()?, u32::try_from(r).ok()?, u32::try_from(p).ok()?))
        });
        let (log_n, r, p) = costs.ok_or(malformed("costs"))?;
        if !DIGEST_BYTES.contains(&digest.len()) {
            return Err(malformed("digest"));
        }
        let kind = ScryptKind { log_n, r, p, digest_bytes: digest.len() };
        Ok(Parsed { kind, salt, digest })
    }
}

/// `ln=…,r=…,p=…$salt$digest`, in base64 without padding.
pub(super) fn parse_passlib(rest: &str) -> Result<Parsed<ScryptKind>, UnsupportedHash> {
    let [costs, salt, digest] = parts(rest, '$').ok_or(malformed("structure"))?;
    let [ln, r, p] = parts(costs, ',').ok_or(malformed("costs"))?;
    let cost = |text: &str, name| text.strip_prefix(name).and_then(number).ok_or(malformed("costs"));
    let (ln, r, p) = (cost(ln, "ln=")?, cost(r, "r=")?, cost(p, "p=")?);
    let n = u32::try_from(ln).ok().and_then(|ln| 1u64.checked_shl(ln)).unwrap_or(u64::MAX);
    let costs = Costs { n, r, p };
    let decode = |text, part| BASE64_STANDARD_NO_PAD.decode(text).map_err(|_| malformed(part));
    costs.stored(decode(salt, "salt")?, decode(digest, "digest")?)
}

/// `N$salt$r$p$digest`: the salt is text, the digest base64.
pub(super) fn parse_django(rest: &str) -> Result<Parsed<ScryptKind>, UnsupportedHash> {
    let [n, salt, r, p, digest] = parts(rest, '$').ok_or(malformed("structure"))?;
    let digest = BASE64_STANDARD.decode(digest).map_err(|_| malformed("digest"))?;
    Costs::parse(n, r, p)?.stored(salt.into(), digest)
}

/// `N:r:p$salt$digest`: the salt is text, the digest hexadecimal.
pub(super) fn parse_werkzeug(rest: &str) -> Result<Parsed<ScryptKind>, UnsupportedHash> {
    let [costs, salt, digest] = parts(rest, '$').ok_or(malformed("structure"))?;
    let [n, r, p] = parts(costs, ':').ok_or(malformed("costs"))?;
    let digest = hex::decode(digest).map_err(|_| malformed("digest"))?;
    Costs::parse(n, r, p)?.stored(salt.into(), digest)
}
