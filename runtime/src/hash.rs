//! A hash for ids in those tables of a context whose keys no peer chooses.
//!
//! The keys of mailboxes and routes are such: handles are drawn at random here, and the root gives ids out one after the other. So a
//! keyed hash, which the standard one is and which costs as much as all the rest of a look at a table, protects nothing.

use std::hash::{BuildHasherDefault, Hasher};

/// Makes hashes of ids.
pub(crate) type Plain = BuildHasherDefault<PlainHasher>;

/// Spreads whole numbers over all bits: maps take buckets by the low ones and shards by the high ones.
#[derive(Debug, Default)]
pub(crate) struct PlainHasher(u64);

/// 2^64 over the golden ratio, and odd.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for PlainHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        let spread = (self.0.rotate_left(5) ^ n).wrapping_mul(SPREAD);
        self.0 = spread ^ (spread >> 32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use actogen_core::{ContextId, LinkId};

    use super::*;

    #[test]
    fn ids_that_follow_one_another_are_spread_over_low_and_high_bits() {
        let hashes: Vec<u64> =
            (0..1024).map(|id| Plain::default().hash_one(ContextId(id))).collect();
        for bits in [|hash: u64| hash % 256, |hash: u64| hash >> 56] {
            let seen: HashSet<u64> = hashes.iter().map(|&hash| bits(hash)).collect();
            assert!(seen.len() > 200, "{} of 256", seen.len());
        }
    }

    #[test]
    fn pairs_are_told_apart() {
        let pairs = (0..64).flat_map(|a| (0..64).map(move |b| (LinkId(a), ContextId(b))));
        let hashes: HashSet<u64> = pairs.map(|pair| Plain::default().hash_one(pair)).collect();
        assert_eq!(hashes.len(), 64 * 64);
    }
}
