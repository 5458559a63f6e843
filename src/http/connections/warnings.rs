//! Warnings about refused connections, at most one per minute: a flood of connections must not become a flood
//! of log lines.

use std::time::Duration;

use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(super) struct RefusalWarnings {
    refused: u64,
    last: Option<Instant>,
}

impl RefusalWarnings {
    pub(super) fn count(&mut self) {
        self.refused += 1;
    }

    /// Logs what was refused since the last warning.
    pub(super) fn report(&mut self, now: Instant, open: usize) {
        let is_due = self.last.is_none_or(|last| now >= last + INTERVAL);
        if self.refused > 0 && is_due {
            let refused = std::mem::take(&mut self.refused);
            tracing::warn!(
                refused,
                open,
                "connections refused: too many are open, in total or from one address; the metric \
                 aegis_http_connections_refused has the reasons, AEGIS_MAX_CONNECTIONS is the limit"
            );
            self.last = Some(now);
        }
    }
}
