//! RFC 9162 Merkle trees over SHA-256: tree heads, and the path by which a log grows by one leaf.

use nautilus_core::Digest32;
use sha2::{Digest, Sha256};

/// Hash of a leaf (RFC 9162 §2.1.1: prefix 0x00).
pub fn leaf_hash(data: &[u8]) -> Digest32 {
    Digest32(
        Sha256::new()
            .chain_update([0])
            .chain_update(data)
            .finalize()
            .into(),
    )
}

/// Hash of an inner node (prefix 0x01).
fn node_hash(left: &Digest32, right: &Digest32) -> Digest32 {
    Digest32(
        Sha256::new()
            .chain_update([1])
            .chain_update(left.0)
            .chain_update(right.0)
            .finalize()
            .into(),
    )
}

/// The head of the tree without leaves (RFC 9162 §2.1.1).
pub fn empty_root() -> Digest32 {
    Digest32(Sha256::digest([]).into())
}

/// An append-only tree of which only the roots of its perfect subtrees are kept: 64 hashes at most.
#[derive(Clone, Debug, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the perfect subtrees, largest first.
    peaks: Vec<Digest32>,
}

impl Frontier {
    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The tree head.
    pub fn root(&self) -> Digest32 {
        match self.peaks.split_last() {
            Some((smallest, larger)) => fold(*smallest, larger.iter().rev()),
            None => empty_root(),
        }
    }

    /// The inclusion path of the leaf that is appended next, lowest sibling first (RFC 9162 §2.1.3.1).
    /// These are the peaks, so the same path proves the head before ([`root_before`]).
    pub fn next_path(&self) -> Vec<Digest32> {
        self.peaks.iter().rev().copied().collect()
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Digest32) {
        let mut carry = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                carry = node_hash(&left, &carry);
            }
        }
        self.peaks.push(carry);
        self.size = self.size.saturating_add(1);
    }
}

/// The tree head over `leaves`, given as leaf hashes.
pub fn root(leaves: impl IntoIterator<Item = Digest32>) -> Digest32 {
    let mut tree = Frontier::default();
    leaves.into_iter().for_each(|leaf| tree.append(leaf));
    tree.root()
}

/// The head of a tree whose last leaf is number `index`, by that leaf's inclusion path; none if the path
/// does not have the length that `index` demands.
pub fn root_after(index: u64, leaf: Digest32, path: &[Digest32]) -> Option<Digest32> {
    fits(index, path).then(|| fold(leaf, path.iter()))
}

/// The head of the same tree before that leaf came: the same path proves that the log was only appended to.
pub fn root_before(index: u64, path: &[Digest32]) -> Option<Digest32> {
    match path.split_first() {
        _ if !fits(index, path) => None,
        Some((smallest, larger)) => Some(fold(*smallest, larger.iter())),
        None => Some(empty_root()),
    }
}

fn fits(index: u64, path: &[Digest32]) -> bool {
    u32::try_from(path.len()).is_ok_and(|length| length == index.count_ones())
}

fn fold<'a>(start: Digest32, left_siblings: impl Iterator<Item = &'a Digest32>) -> Digest32 {
    left_siblings.fold(start, |right, left| node_hash(left, &right))
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;

    use super::*;

    #[test]
    fn heads_and_last_paths_equal_those_of_an_independent_tree() {
        let mut oracle = MemoryBackedTree::<sha2_0_11::Sha256, Vec<u8>>::new();
        let mut ours = Frontier::default();
        assert_eq!(ours.root(), empty_root());
        for index in 0..130_u64 {
            let data = index.to_le_bytes().to_vec();
            let before = ours.root();
            let path = ours.next_path();
            let leaf = leaf_hash(&data);
            ours.append(leaf);
            oracle.push(data);
            assert_eq!(
                ours.root().0[..],
                oracle.root().as_bytes()[..],
                "size {}",
                index + 1
            );
            let proof = oracle.prove_inclusion(usize::try_from(index).unwrap());
            let flat: Vec<u8> = path.iter().flat_map(|hash| hash.0).collect();
            assert_eq!(flat, proof.as_bytes(), "path of leaf {index}");
            assert_eq!(root_after(index, leaf, &path), Some(ours.root()));
            assert_eq!(root_before(index, &path), Some(before));
        }
        assert_eq!(ours.size(), 130);
    }

    #[test]
    fn a_changed_path_gives_another_head_and_a_wrong_length_gives_none() {
        let mut tree = Frontier::default();
        (0..7_u8).for_each(|byte| tree.append(leaf_hash(&[byte])));
        let path = tree.next_path();
        let leaf = leaf_hash(b"last");
        let expected = root_after(7, leaf, &path).unwrap();
        for position in 0..path.len() {
            for bit in 0..8 {
                let mut changed = path.clone();
                changed[position].0[bit * 4] ^= 1 << bit;
                assert_ne!(root_after(7, leaf, &changed), Some(expected));
                assert_ne!(root_before(7, &changed), Some(tree.root()));
            }
        }
        assert_eq!(root_after(7, leaf, &path[1..]), None);
        assert_eq!(root_before(7, &path[1..]), None);
        assert_eq!(root_after(6, leaf, &path), None);
        assert_eq!(root_after(0, leaf, &[]), Some(leaf));
        assert_eq!(root_before(0, &[]), Some(empty_root()));
    }
}
