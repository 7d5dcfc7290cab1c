//! What hangs on chance in a relay, out of a seed.

use std::time::Duration;

/// A generator of numbers (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): a seed that is
/// printed today gives the same numbers in every later build.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, and without, 1.
    fn share(&mut self) -> f64 {
        // The 53 bits that such a number holds.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in this share of all cases.
    pub(super) fn hits(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// A part of this time.
    pub(super) fn part(&mut self, of: Duration) -> Duration {
        of.mul_f64(self.share())
    }
}
