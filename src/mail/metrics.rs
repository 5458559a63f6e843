//! Metrics of the mails that this node sends.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::progress::MailProgress;

/// What became of a mail, or of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MailOutcome {
    Sent,
    /// An attempt that is followed by another.
    Failed,
    /// Refused by the relay, or not accepted in time.
    GivenUp,
    /// Its token expired before it was accepted.
    Expired,
    /// Voided by a later event, or its recipient was erased.
    Void,
    /// Given up because its address had received too many.
    Limited,
    /// There is no transport.
    Discarded,
}

impl MailOutcome {
    const ALL: [Self; 7] =
        [Self::Sent, Self::Failed, Self::GivenUp, Self::Expired, Self::Void, Self::Limited, Self::Discarded];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::Expired => "expired",
            Self::Void => "void",
            Self::Limited => "limited",
            Self::Discarded => "discarded",
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct MailMetrics {
    outcomes: Family<[(&'static str, &'static str); 1], Counter>,
    pending: Arc<Mutex<Pending>>,
}

#[derive(Clone, Copy, Default)]
struct Pending {
    count: usize,
    oldest: Option<Timestamp>,
}

impl MailMetrics {
    pub(super) fn count(&self, outcome: MailOutcome) {
        self.outcomes.get_or_create(&[("outcome", outcome.as_str())]).inc();
    }

    /// Sets what is pending. A node that does not send has none.
    pub(super) fn set_pending(&self, progress: Option<&MailProgress>) {
        let pending = progress.map_or_else(Pending::default, |progress| Pending {
            count: progress.pending.len(),
            oldest: progress.oldest(),
        });
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = pending;
    }

    #[cfg(test)]
    pub(super) fn counted(&self, outcome: MailOutcome) -> u64 {
        self.outcomes.get_or_create(&[("outcome", outcome.as_str())]).get()
    }

    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    pub(crate) fn register(&self, registry: &mut Registry, now: Timestamp) {
        for outcome in MailOutcome::ALL {
            drop(self.outcomes.get_or_create(&[("outcome", outcome.as_str())]));
        }
        let outcomes = "Mails of this node by outcome; those that failed are attempted again";
        registry.register("aegis_mails", outcomes, self.outcomes.clone());
        let Pending { count, oldest } = *self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = Gauge::<i64>::default();
        pending.set(i64::try_from(count).unwrap_or(i64::MAX));
        registry.register("aegis_mails_pending", "Mails that the node that sends has not sent yet", pending);
        let age = Gauge::<f64, AtomicU64>::default();
        age.set(oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0)));
        let help = "Age of the oldest event whose mail is pending";
        registry.register("aegis_mails_oldest_pending_seconds", help, age);
    }
}
