//! Argon2 (RFC 9106) in reused memory: a hashing thread retains the blocks for one hash at current costs,
//! which avoids page faults worth a third of a hash. The blocks are wiped after every use.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use domain::PasswordHash;
use zeroize::Zeroize;

/// The largest costs that a stored hash may have: an imported hash could otherwise demand any amount of work.
/// The bounds admit every setting in common use.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_ITERATIONS: u32 = 64;
const MAX_PARALLELISM: u32 = 64;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

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
    fn params(self, hash_bytes: usize) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.iterations, self.parallelism, Some(hash_bytes))
    }
}

/// What determines how long a hash takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HashKind {
    algorithm: Algorithm,
    version: Version,
    costs: HashParameters,
    hash_bytes: usize,
}

impl HashKind {
    /// The kind of new hashes.
    pub(super) fn current(costs: HashParameters) -> Result<Self, PasswordHashError> {
        costs.params(HASH_BYTES).map_err(|error| PasswordHashError(error.to_string()))?;
        Ok(Self { algorithm: Algorithm::Argon2id, version: Version::V0x13, costs, hash_bytes: HASH_BYTES })
    }

    /// The kind of a stored hash; `None` if it cannot be verified.
    #[must_use]
    pub fn of(hash: &PasswordHash) -> Option<Self> {
        let ParsedHash { algorithm, version, costs, hash, .. } = ParsedHash::parse(hash.expose()).ok()?;
        Some(Self { algorithm, version, costs, hash_bytes: hash.len() })
    }

    /// A hash of this kind, which is made of no password.
    pub(super) fn decoy(self, secret: &[u8; 32]) -> Result<PasswordHash, PasswordHashError> {
        let hash: Vec<u8> = secret.iter().copied().cycle().take(self.hash_bytes).collect();
        let salt = secret.first_chunk::<SALT_BYTES>().unwrap_or(&[0; SALT_BYTES]);
        self.phc_string(salt, &hash)
    }

    fn phc_string(self, salt: &[u8], hash: &[u8]) -> Result<PasswordHash, PasswordHashError> {
        let (algorithm, version) = (self.algorithm.as_str(), u32::from(self.version));
        let (salt, hash) = (BASE64_STANDARD_NO_PAD.encode(salt), BASE64_STANDARD_NO_PAD.encode(hash));
        let phc = format!("${algorithm}$v={version}${self}${salt}${hash}");
        PasswordHash::new(phc).map_err(|fault| PasswordHashError(fault.to_string()))
    }
}

/// The costs, as in a PHC string.
impl fmt::Display for HashKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HashParameters { memory_kib, iterations, parallelism } = self.costs;
        write!(out, "m={memory_kib},t={iterations},p={parallelism}")
    }
}

/// A stored hash that cannot be verified, or costs that are out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password hash cannot be used: {0}")]
pub struct PasswordHashError(String);

impl PasswordHashError {
    pub(super) fn thread_not_started(error: &std::io::Error) -> Self {
        Self(format!("a hashing thread could not be started: {error}"))
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

    /// Hashes a password into a PHC string.
    pub(super) fn hash(
        &mut self,
        password: &[u8],
        salt: &[u8; SALT_BYTES],
    ) -> Result<PasswordHash, PasswordHashError> {
        let mut out = [0; HASH_BYTES];
        let kind = HashKind::current(self.costs)?;
        self.compute(kind.algorithm, kind.version, self.costs, password, salt, &mut out)?;
        kind.phc_string(salt, &out)
    }

    /// Whether a new hash would be of the same kind.
    pub(super) fn is_current(&self, hash: &PasswordHash) -> bool {
        HashKind::current(self.costs).is_ok_and(|current| HashKind::of(hash) == Some(current))
    }

    pub(super) fn verify(&mut self, password: &[u8], hash: &PasswordHash) -> Result<bool, PasswordHashError> {
        let stored = ParsedHash::parse(hash.expose())?;
        let mut out = vec![0; stored.hash.len()];
        self.compute(stored.algorithm, stored.version, stored.costs, password, &stored.salt, &mut out)?;
        Ok(aws_lc_rs::constant_time::verify_slices_are_equal(&out, &stored.hash).is_ok())
    }

    fn compute(
        &mut self,
        algorithm: Algorithm,
        version: Version,
        costs: HashParameters,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<(), PasswordHashError> {
        let unusable = |error: argon2::Error| PasswordHashError(error.to_string());
        let params = costs.params(out.len()).map_err(unusable)?;
        let count = params.block_count();
        if self.blocks.len() < count {
            self.blocks.resize(count, Block::new());
        }
        let blocks = self.blocks.get_mut(..count).unwrap_or_default();
        let done = Argon2::new(algorithm, version, params).hash_password_into_with_memory(
            password,
            salt,
            out,
            &mut *blocks,
        );
        blocks.iter_mut().for_each(Zeroize::zeroize);
        // A single costly hash, such as one of the legacy service, must not retain its memory.
        let retained = self.costs.params(HASH_BYTES).map_or(0, |params| params.block_count());
        if self.blocks.len() > retained {
            self.blocks.truncate(retained);
            self.blocks.shrink_to_fit();
        }
        done.map_err(unusable)
    }
}

/// A PHC string of the Argon2 family with costs within the bounds.
struct ParsedHash {
    algorithm: Algorithm,
    version: Version,
    costs: HashParameters,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl ParsedHash {
    fn parse(text: &str) -> Result<Self, PasswordHashError> {
        let unusable = |what: &str| PasswordHashError(what.to_owned());
        let phc = argon2::password_hash::phc::PasswordHash::new(text)
            .map_err(|_| unusable("it is not a PHC string"))?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str())
            .map_err(|_| unusable("its algorithm is not Argon2"))?;
        let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from);
        let params = Params::try_from(&phc).map_err(|_| unusable("its costs are out of Argon2's range"))?;
        let costs = HashParameters {
            memory_kib: params.m_cost(),
            iterations: params.t_cost(),
            parallelism: params.p_cost(),
        };
        let bounded = costs.memory_kib <= MAX_MEMORY_KIB
            && costs.iterations <= MAX_ITERATIONS
            && costs.parallelism <= MAX_PARALLELISM;
        if !bounded {
            return Err(unusable("its costs exceed the limit for one login"));
        }
        match (phc.salt, phc.hash) {
            (Some(salt), Some(hash)) => Ok(Self {
                algorithm,
                version: version.map_err(|_| unusable("its Argon2 version is unknown"))?,
                costs,
                salt: salt.as_ref().to_vec(),
                hash: hash.as_bytes().to_vec(),
            }),
            _ => Err(unusable("it lacks a salt or a hash")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashParameters = HashParameters { memory_kib: 64, iterations: 1, parallelism: 1 };

    fn password_hash(phc: &str) -> PasswordHash {
        PasswordHash::new(phc.to_owned()).unwrap()
    }

    #[test]
    fn password_verifies_only_against_its_own_hash() {
        let mut hasher = Argon2Hasher::new(CHEAP);
        let hash = hasher.hash(b"correct horse", &[1; 16]).unwrap();
        assert!(hash.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert_eq!(hasher.verify(b"correct horse", &hash), Ok(true));
        assert_eq!(hasher.verify(b"correct hors", &hash), Ok(false));
    }

    #[test]
    fn legacy_argon2_cffi_hashes_verify() {
        // Made by argon2-cffi 23.1, `PasswordHasher().hash("correct horse battery")`: m=65536, t=3, p=4.
        let hash = password_hash(include_str!("argon2_cffi_hash.txt").trim());
        let mut hasher = Argon2Hasher::new(CHEAP);
        assert_eq!(hasher.verify(b"correct horse battery", &hash), Ok(true));
        assert_eq!(hasher.verify(b"wrong", &hash), Ok(false));
    }

    #[test]
    fn memory_of_a_costly_hash_is_released() {
        let costs = HashParameters { memory_kib: 256, ..CHEAP };
        let costly = Argon2Hasher::new(costs).hash(b"costly", &[1; 16]).unwrap();
        let mut hasher = Argon2Hasher::new(CHEAP);
        assert_eq!(hasher.verify(b"costly", &costly), Ok(true));
        let retained = |hasher: &Argon2Hasher| (hasher.blocks.len(), hasher.blocks.capacity());
        let first = retained(&hasher);
        let usual = hasher.hash(b"usual", &[1; 16]).unwrap();
        assert_eq!((first, retained(&hasher)), ((64, 64), (64, 64)), "a block is a KiB");
        hasher.verify(b"costly", &costly).unwrap();
        assert_eq!(retained(&hasher), (64, 64));
        // A cheap hash does not release the memory of current costs.
        let mut hasher = Argon2Hasher::new(costs);
        hasher.hash(b"costly", &[1; 16]).unwrap();
        hasher.verify(b"usual", &usual).unwrap();
        assert_eq!(retained(&hasher), (256, 256));
    }

    #[test]
    fn hashes_with_excessive_costs_are_rejected_before_hashing() {
        let mut hasher = Argon2Hasher::new(CHEAP);
        let salt_and_hash = "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for costs in ["m=4194304,t=1,p=1", "m=64,t=4294967295,p=1", "m=1048576,t=1,p=65"] {
            assert!(
                hasher
                    .verify(b"x", &password_hash(&format!("$argon2id$v=19${costs}${salt_and_hash}")))
                    .is_err()
            );
        }
        assert!(hasher.verify(b"x", &password_hash("plain text")).is_err());
    }
}
