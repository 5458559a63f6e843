//! Whether an append can still be cancelled: until the transaction of its batch plans it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The state of an append: waiting, begun by a transaction, or cancelled because its caller timed out. Only
/// one that has not begun can be cancelled, and a cancelled one is never begun, so it is certain not to be
/// committed. Clones share the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancellation(Arc<AtomicU8>);

impl Cancellation {
    const WAITING: u8 = 0;
    const BEGUN: u8 = 1;
    const CANCELLED: u8 = 2;

    /// Begins the append; `false` if it was cancelled. A transaction that is retried begins it again.
    pub(crate) fn begin(&self) -> bool {
        self.reach(Self::BEGUN)
    }

    /// Cancels the append; `false` if it has begun.
    pub(crate) fn cancel(&self) -> bool {
        self.reach(Self::CANCELLED)
    }

    /// Whether it was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::CANCELLED
    }

    fn reach(&self, to: u8) -> bool {
        let reached = self.0.compare_exchange(Self::WAITING, to, Ordering::AcqRel, Ordering::Acquire);
        reached.is_ok() || reached == Err(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn append_is_begun_or_cancelled_but_never_both() {
        let begun = Cancellation::default();
        assert!(begun.begin() && begun.begin() && !begun.cancel() && !begun.is_cancelled());
        let cancelled = Cancellation::default();
        let clone = cancelled.clone();
        assert!(cancelled.cancel() && !clone.begin() && clone.is_cancelled());
    }
}
