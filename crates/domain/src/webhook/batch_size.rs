//! How many events one delivery to a webhook may contain.

/// The largest number of events in one delivery, from 1 to [`MAX`](BatchSize::MAX).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchSize(u8);

impl BatchSize {
    /// The largest size that may be asked for.
    pub const MAX: u8 = 100;

    /// Parses a number of events; `None` unless it is from 1 to [`MAX`](BatchSize::MAX).
    #[must_use]
    pub fn new(events: u64) -> Option<Self> {
        u8::try_from(events).ok().filter(|events| (1..=Self::MAX).contains(events)).map(Self)
    }

    /// The number of events.
    #[must_use]
    pub fn events(self) -> u64 {
        u64::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_from_1_to_100() {
        assert_eq!(
            [0, 1, 100, 101, 256, u64::MAX].map(|size| BatchSize::new(size).is_some()),
            [false, true, true, false, false, false]
        );
        assert_eq!(BatchSize::new(100).unwrap().events(), 100);
    }
}
