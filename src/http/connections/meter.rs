//! Counters with a limit.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A number in use, and how large it may become.
#[derive(Debug)]
pub(super) struct Meter {
    used: AtomicUsize,
    limit: usize,
}

impl Meter {
    pub(super) const fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Adds an amount unless that would exceed the limit. Into an unused meter any amount fits: what is
    /// larger than the limit could never be added otherwise.
    pub(super) fn try_add(&self, amount: usize) -> bool {
        let added = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            let sum = used.saturating_add(amount);
            (used == 0 || sum <= self.limit).then_some(sum)
        });
        added.is_ok()
    }

    pub(super) fn subtract(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_does_not_exceed_its_limit() {
        let meter = Meter::new(10);
        assert!(meter.try_add(6) && meter.try_add(4) && !meter.try_add(1));
        meter.subtract(6);
        assert!(meter.try_add(6) && !meter.try_add(1));
    }

    #[test]
    fn one_amount_beyond_the_limit_fits_into_an_unused_meter() {
        let meter = Meter::new(10);
        assert!(meter.try_add(1000) && !meter.try_add(1));
        meter.subtract(1000);
        assert!(meter.try_add(1) && !meter.try_add(1000));
    }
}
