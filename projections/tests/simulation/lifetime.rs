//! The lifetime of a process. When it ends, all its tasks are dropped; requests it sent may still be
//! executed.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct ProcessLifetime {
    over: AtomicBool,
    end: Notify,
}

impl ProcessLifetime {
    /// Ends it, whatever its tasks are doing.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.end.notify_waiters();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) async fn ended(&self) {
        let end = self.end.notified();
        if !self.is_over() {
            end.await;
        }
    }
}
