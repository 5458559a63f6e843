//! What deliveries to a webhook do, as shown by the API, the command line and the metrics.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What deliveries to a webhook do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DeliveryState {
    /// Events are delivered as they are appended.
    #[default]
    Active,
    /// A read model is behind: deliveries continue once it includes the webhook, or its owner.
    Waiting,
    /// An event could not be delivered and is retried.
    Failing,
    /// Nothing is delivered until the webhook is resumed.
    Suspended,
    /// The cursor is beyond the end of the log, which was restored from an older backup.
    AheadOfLog,
    /// Its definition or its cursor is damaged, or cannot be decrypted by this node.
    Unreadable,
}

impl DeliveryState {
    pub(crate) const ALL: [Self; 6] =
        [Self::Active, Self::Waiting, Self::Failing, Self::Suspended, Self::AheadOfLog, Self::Unreadable];

    /// The name in the API, on the command line and in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Failing => "failing",
            Self::Suspended => "suspended",
            Self::AheadOfLog => "ahead_of_log",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What a worker does, for the pool.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedState {
    delivery: Arc<Mutex<DeliveryState>>,
    is_deleted: Arc<AtomicBool>,
}

impl SharedState {
    pub(super) fn get(&self) -> DeliveryState {
        *self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, state: DeliveryState) {
        *self.delivery.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Whether the worker has found that the log has no such webhook, or not any more: it is not started again,
    /// although the read model may list the webhook for a long time.
    pub(super) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Relaxed)
    }

    pub(super) fn set_deleted(&self) {
        self.is_deleted.store(true, Ordering::Relaxed);
    }
}
