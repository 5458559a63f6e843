//! Argon2 (RFC 9106) in reused memory: a hashing thread retains the blocks for one hash at current costs,
//! which avoids page faults worth a third of a hash. The blocks are wiped after every use.

use std::collections::BTreeSet;
use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, MIN_SALT_LEN, Params, Version};
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use zeroize::{Zeroize, Zeroizing};

use super::error::{PasswordHashError, UnsupportedHash};
use super::form::Parsed;

/// The largest costs that a stored hash may have: an imported hash could otherwise demand any amount of work.
/// The bounds admit every setting in common use.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_ITERATIONS: u32 = 64;
const MAX_PARALLELISM: u32 = 64;

const DIGEST_BYTES: usize = 32;

/// The costs of new hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashParameters {
    pub memory_kib: u32,
    /// Passes over the memory (`t`).
    pub iterations: u32,
    /// Lanes (`p`).
    pub parallelism: u32,
}

impl HashParameters {
    fn params(self, digest_bytes: usize) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.iterations, self.parallelism, Some(digest_bytes))
    }

    fn check_limits(self) -> Result<(), UnsupportedHash> {
        for (cost, found, limit) in [
            ("Argon2 memory (KiB)", self.memory_kib, MAX_MEMORY_KIB),
            ("Argon2 iterations", self.iterations, MAX_ITERATIONS),
            ("Argon2 parallelism", self.parallelism, MAX_PARALLELISM),
        ] {
            UnsupportedHash::check_cost(cost, found.into(), limit.into())?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Argon2Kind {
    algorithm: Algorithm,
    version: Version,
    costs: HashParameters,
    digest_bytes: usize,
}

impl Argon2Kind {
    /// The kind of new hashes.
    pub(super) fn current(costs: HashParameters) -> Result<Self, PasswordHashError> {
        costs.params(DIGEST_BYTES).map_err(|error| PasswordHashError::not_computed(&error))?;
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        Ok(Self { algorithm, version, costs, digest_bytes: DIGEST_BYTES })
    }

    pub(super) fn digest_bytes(self) -> usize {
        self.digest_bytes
    }

    pub(super) fn phc_string(self, salt: &[u8], digest: &[u8]) -> String {
        let (algorithm, version) = (self.algorithm.as_str(), u32::from(self.version));
        let (salt, digest) = (BASE64_STANDARD_NO_PAD.encode(salt), BASE64_STANDARD_NO_PAD.encode(digest));
        format!("${algorithm}$v={version}${self}${salt}${digest}")
    }
}

/// The costs, as in a PHC string.
impl fmt::Display for Argon2Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HashParameters { memory_kib, iterations, parallelism } = self.costs;
        write!(out, "m={memory_kib},t={iterations},p={parallelism}")
    }
}

/// The hashing memory of one thread.
pub(super) struct Argon2Hasher {
    /// The costs of new hashes.
    costs: HashParameters,
    blocks: Vec<Block>,
}

impl Argon2Hasher {
    pub(super) fn new(costs: HashParameters) -> Self {
        Self { costs, blocks: Vec::new() }
    }

    pub(super) fn compute(
        &mut self,
        kind: Argon2Kind,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), PasswordHashError> {
        let not_computed = |error: argon2::Error| PasswordHashError::not_computed(&error);
        let params = kind.costs.params(out.len()).map_err(not_computed)?;
        let count = params.block_count();
        if self.blocks.len() < count {
            self.blocks.resize(count, Block::new());
        }
        let blocks = self.blocks.get_mut(..count).unwrap_or_default();
        let done = Argon2::new(kind.algorithm, kind.version, params).hash_password_into_with_memory(
            password,
            salt,
            out,
            &mut *blocks,
        );
        blocks.iter_mut().for_each(Zeroize::zeroize);
        // A single costly hash, such as one of the legacy service, must not retain its memory.
        let retained = self.costs.params(DIGEST_BYTES).map_or(0, |params| params.block_count());
        if self.blocks.len() > retained {
            self.blocks.truncate(retained);
            self.blocks.shrink_to_fit();
        }
        done.map_err(not_computed)
    }
}

const fn malformed(part: &'static str) -> UnsupportedHash {
    UnsupportedHash::Malformed { algorithm: "Argon2", part }
}

/// Parses a PHC string of the Argon2 family.
pub(super) fn parse(text: &str) -> Result<Parsed<Argon2Kind>, UnsupportedHash> {
    let phc = phc::PasswordHash::new(text).map_err(|_| malformed("structure"))?;
    let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(|_| UnsupportedHash::UnknownForm)?;
    let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from);
    let version = version.map_err(|_| malformed("version"))?;
    // Of a repeated parameter, parsers disagree on which one counts.
    let mut names = BTreeSet::new();
    if !phc.params.iter().all(|(name, _)| names.insert(name)) {
        return Err(malformed("costs"));
    }
    let params = Params::try_from(&phc).map_err(|_| malformed("costs"))?;
    let costs = HashParameters {
        memory_kib: params.m_cost(),
        iterations: params.t_cost(),
        parallelism: params.p_cost(),
    };
    costs.check_limits()?;
    let salt = phc.salt.filter(|salt| salt.as_ref().len() >= MIN_SALT_LEN).ok_or(malformed("salt"))?;
    let digest = phc.hash.ok_or(malformed("digest"))?;
    let kind = Argon2Kind { algorithm, version, costs, digest_bytes: digest.len() };
    Ok(Parsed { kind, salt: salt.as_ref().to_vec(), digest: Zeroizing::new(digest.as_bytes().to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashParameters = HashParameters { memory_kib: 64, iterations: 1, parallelism: 1 };

    fn compute(hasher: &mut Argon2Hasher, costs: HashParameters) {
        let kind = Argon2Kind::current(costs).unwrap();
        hasher.compute(kind, b"a password", &[1; 16], &mut [0; DIGEST_BYTES]).unwrap();
    }

    #[test]
    fn memory_of_a_costly_hash_is_released() {
        let costs = HashParameters { memory_kib: 256, ..CHEAP };
        let retained = |hasher: &Argon2Hasher| (hasher.blocks.len(), hasher.blocks.capacity());
        let mut hasher = Argon2Hasher::new(CHEAP);
        for costs in [costs, CHEAP, costs] {
            compute(&mut hasher, costs);
            assert_eq!(retained(&hasher), (64, 64), "a block is a KiB");
        }
        // A cheap hash does not release the memory of current costs.
        let mut hasher = Argon2Hasher::new(costs);
        for costs in [costs, CHEAP] {
            compute(&mut hasher, costs);
            assert_eq!(retained(&hasher), (256, 256));
        }
    }
}
