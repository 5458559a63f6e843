//! Inclusion proofs and consistency proofs: which subtrees they consist of (RFC 6962 §2.1.1, §2.1.2) and how
//! they are verified (RFC 9162 §2.1.3.2, §2.1.4.2). Reading the hashes belongs to [`tiles`](crate::tiles).

use std::ops::Range;

use super::{Hash, node_hash};

/// A complete subtree of the Merkle tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The height: the subtree has 2^`level` leaves.
    pub level: u32,
    /// The index among the subtrees of that level, from 0.
    pub index: u64,
}

/// The inclusion proof of the leaf at `index`, from 0, in a tree of `size` leaves: the ranges of leaves whose
/// roots make up the audit path, in the order of the RFC. `None` if there is no such leaf.
#[must_use]
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let (mut whole, mut path) = (0..size, Vec::new());
    while whole.end - whole.start > 1 {
        let middle = whole.start + split(whole.end - whole.start);
        let (left, right) = (whole.start..middle, middle..whole.end);
        let (inside, sibling) = if index < middle { (left, right) } else { (right, left) };
        path.push(sibling);
        whole = inside;
    }
    path.reverse();
    Some(path)
}

/// The consistency proof that a tree of `new` leaves begins with the `old` leaves of an earlier tree, in the
/// same form. `None` if the earlier tree is larger.
#[must_use]
pub fn consistency(old: u64, new: u64) -> Option<Vec<Range<u64>>> {
    if old > new {
        return None;
    }
    // Every tree is consistent with the empty tree and with itself.
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut whole, mut path) = (0..new, Vec::new());
    while whole.end != old {
        let middle = whole.start + split(whole.end - whole.start);
        if old <= middle {
            path.push(middle..whole.end);
            whole.end = middle;
        } else {
            path.push(whole.start..middle);
            whole.start = middle;
        }
    }
    // The verifier knows the root of the old tree.
    if whole.start > 0 {
        path.push(whole);
    }
    path.reverse();
    Some(path)
}

/// Splits a range of leaves into complete subtrees, from the left.
#[must_use]
pub fn cover(range: &Range<u64>) -> Vec<Node> {
    let (mut from, mut nodes) = (range.start, Vec::new());
    while from < range.end {
        let fits = (range.end - from).ilog2();
        let level = if from == 0 { fits } else { fits.min(from.trailing_zeros()) };
        nodes.push(Node { level, index: from >> level });
        from += 1 << level;
    }
    nodes
}

/// Computes the root over a range of leaves from the roots of the subtrees that [`cover`] it.
#[must_use]
pub fn root_of(nodes: &[Hash]) -> Option<Hash> {
    let mut from_right = nodes.iter().rev();
    let last = *from_right.next()?;
    Some(from_right.fold(last, |right, left| node_hash(left, &right)))
}

/// Verifies the inclusion proof of the leaf at `index`, from 0, in a tree of `size` leaves with this root.
#[must_use]
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Verifies the consistency proof that the tree of `new` leaves with the second root begins with the tree of
/// `old` leaves with the first root.
#[must_use]
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> bool {
    if old >= new || old == 0 {
        return proof.is_empty() && (old == 0 || old == new && old_root == new_root);
    }
    // If the old tree is complete, the proof omits its root.
    let whole = old.is_power_of_two().then_some(*old_root);
    let mut path = whole.iter().chain(proof);
    let Some(first) = path.next() else { return false };
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut before, mut after) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            before = node_hash(sibling, &before);
            after = node_hash(sibling, &after);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            after = node_hash(&after, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && before == *old_root && after == *new_root
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::super::{Frontier, leaf_hash};
    use super::*;

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    fn root(leaves: &[Hash]) -> Hash {
        let mut frontier = Frontier::default();
        for leaf in leaves {
            frontier.push(*leaf);
        }
        frontier.root()
    }

    /// The root of each range, checked against the root computed from its cover.
    fn hashes(leaves: &[Hash], ranges: &[Range<u64>]) -> Vec<Hash> {
        let part = |range: &Range<u64>| {
            let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            root(&leaves[from..to])
        };
        for range in ranges {
            let nodes = cover(range);
            let whole = nodes.iter().map(|node| node.index << node.level..(node.index + 1) << node.level);
            let parts: Vec<_> = whole.map(|leaves| part(&leaves)).collect();
            assert_eq!(root_of(&parts), Some(part(range)), "{range:?}");
        }
        ranges.iter().map(part).collect()
    }

    #[test]
    fn inclusion_proofs_verify_for_their_leaf_only() {
        let all = leaves(70);
        for size in 1..=all.len() {
            let (tree, count) = (root(&all[..size]), u64::try_from(size).unwrap());
            for index in 0..count {
                let proof = hashes(&all, &inclusion(index, count).unwrap());
                let leaf = &all[usize::try_from(index).unwrap()];
                assert!(verify_inclusion(index, count, leaf, &proof, &tree), "{index} of {count}");
                let other = leaf_hash(b"another");
                assert!(!verify_inclusion(index, count, &other, &proof, &tree));
                assert!(!verify_inclusion(index, count, leaf, &proof, &other));
                assert!(!verify_inclusion(index + 1, count, leaf, &proof, &tree));
                for left_out in 0..proof.len() {
                    let mut shorter = proof.clone();
                    shorter.remove(left_out);
                    assert!(!verify_inclusion(index, count, leaf, &shorter, &tree));
                }
                let longer = [proof.as_slice(), &[other]].concat();
                assert!(!verify_inclusion(index, count, leaf, &longer, &tree));
            }
            assert_eq!(inclusion(count, count), None);
        }
    }

    #[test]
    fn consistency_proofs_verify_for_their_prefix_only() {
        let all = leaves(70);
        let roots: Vec<_> = (0..=all.len()).map(|size| root(&all[..size])).collect();
        for new in 0..all.len() {
            for old in 0..=new {
                let (from, to) = (u64::try_from(old).unwrap(), u64::try_from(new).unwrap());
                let proof = hashes(&all, &consistency(from, to).unwrap());
                let (before, after) = ((from, &roots[old]), (to, &roots[new]));
                assert!(verify_consistency(before, after, &proof), "{old} to {new}");
                let other = leaf_hash(b"another");
                if old > 0 {
                    assert!(!verify_consistency((from, &other), after, &proof), "{old} to {new}");
                    assert!(!verify_consistency(before, (to, &other), &proof), "{old} to {new}");
                }
                let longer = [proof.as_slice(), &[other]].concat();
                assert!(!verify_consistency(before, after, &longer), "{old} to {new}");
                if old > 0 && old < new {
                    assert!(!verify_consistency((from + 1, &roots[old]), after, &proof), "{old} to {new}");
                }
            }
        }
        assert_eq!(consistency(3, 2), None);
    }
}
