//! The log as a Merkle tree (RFC 6962 §2.1, RFC 9162 §2.1): leaf hashes, and the frontier, from which the
//! root of the whole log follows with at most 64 hashes. Inclusion proofs and consistency proofs are in
//! `proof`; stored tiles are in [`tiles`](crate::tiles).

mod proof;

use aws_lc_rs::digest::{Context, SHA256};

pub use proof::{Node, consistency, cover, inclusion, root_of, verify_consistency, verify_inclusion};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The leaf hash of a canonical event: `SHA-256(0x00 ‖ event)`.
#[must_use]
pub fn leaf_hash(canonical: &[u8]) -> Hash {
    hash(&[&[0], canonical])
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

/// The root of the empty tree: the hash of the empty string.
#[must_use]
pub fn empty_root() -> Hash {
    hash(&[])
}

/// The right edge of the tree: the roots of its complete subtrees, largest first. Their number is that of the
/// one-bits of the size, at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// Decodes a stored frontier: the concatenated hashes for a tree of `size` leaves.
    ///
    /// # Errors
    /// [`InvalidFrontier`] if the number of bytes does not match the size.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, InvalidFrontier> {
        let (roots, rest) = bytes.as_chunks::<32>();
        if rest.is_empty() && u32::try_from(roots.len()) == Ok(size.count_ones()) {
            Ok(Self { size, roots: roots.to_vec() })
        } else {
            Err(InvalidFrontier { size, bytes: bytes.len() })
        }
    }

    /// The concatenated hashes, for storage.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.roots.concat()
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return empty_root() };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// The length of a stored frontier does not match the size of the log.
#[derive(Debug, thiserror::Error)]
#[error("a log of {size} events cannot have a frontier of {bytes} bytes")]
pub struct InvalidFrontier {
    size: u64,
    bytes: usize,
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = Hash::default();
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A literal, slow implementation of RFC 6962 §2.1.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => hash(&[]),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&naive_root(left), &naive_root(right))
            }
        }
    }

    proptest! {
        #[test]
        fn frontier_root_matches_rfc_6962(count in 0_u32..300) {
            let leaves: Vec<Hash> = (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect();
            let mut frontier = Frontier::default();
            for leaf in &leaves {
                frontier.push(*leaf);
            }
            prop_assert_eq!(frontier.root(), naive_root(&leaves));
            let again = Frontier::from_bytes(frontier.size(), &frontier.to_bytes()).unwrap();
            prop_assert_eq!(again, frontier);
        }
    }

    #[test]
    fn hashes_match_rfc_6962_test_vectors() {
        let hex = |hash: Hash| hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(
            hex(Frontier::default().root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn frontier_of_wrong_length_is_rejected() {
        assert!(Frontier::from_bytes(3, &[0; 32]).is_err());
        assert!(Frontier::from_bytes(1, &[0; 31]).is_err());
    }
}
