//! Seeded random numbers.

use std::time::Duration;

/// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub(crate) struct SeededRng(u64);

impl SeededRng {
    /// The generator of `name` under this seed.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut rng = Self(seed);
        for byte in name.bytes() {
            rng.0 = rng.next_u64() ^ u64::from(byte);
        }
        rng
    }

    /// An independent generator.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// A number below `end`, which must not be zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_u64() % u64::try_from(end).unwrap()).unwrap()
    }

    /// True once in `times` on average.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A duration from `shortest` to below `longest`.
    pub(crate) fn duration_between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let range = usize::try_from(longest.saturating_sub(shortest).as_micros()).unwrap();
        shortest + Duration::from_micros(u64::try_from(self.below(range.max(1))).unwrap())
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
