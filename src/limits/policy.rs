//! A quota, and the refusal of a request that exceeds it, in the terms of
//! `draft-ietf-httpapi-ratelimit-headers`.

use std::fmt;
use std::time::Duration;

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuotaUnit {
    /// Requests within a window.
    Requests { window: Duration },
    /// Requests at the same time.
    ConcurrentRequests,
}

/// A quota; shown as an item of `RateLimit-Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    pub(crate) quota: u32,
    pub(crate) unit: QuotaUnit,
}

impl Policy {
    /// A token bucket of that many requests, which is full again after the window.
    pub(crate) const fn bucket(name: &'static str, quota: u32, window: Duration) -> Self {
        Self { name, quota, unit: QuotaUnit::Requests { window } }
    }

    pub(crate) const fn concurrent(name: &'static str, quota: u32) -> Self {
        Self { name, quota, unit: QuotaUnit::ConcurrentRequests }
    }

    /// The refusal of a request, which may be repeated after this time.
    pub(crate) const fn exceeded(self, retry_after: Duration) -> LimitExceeded {
        LimitExceeded { policy: self, retry_after }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\";q={}", self.name, self.quota)?;
        match self.unit {
            QuotaUnit::Requests { window } => write!(out, ";w={}", window.as_secs()),
            QuotaUnit::ConcurrentRequests => out.write_str(";qu=\"concurrent-requests\""),
        }
    }
}

/// A request exceeds a quota; shown as an item of `RateLimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitExceeded {
    pub(crate) policy: Policy,
    pub(crate) retry_after: Duration,
}

impl LimitExceeded {
    /// Whole seconds after which to repeat the request, at least one.
    pub(crate) fn retry_after_seconds(&self) -> u64 {
        let seconds = self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0);
        seconds.max(1)
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{}\";r=0;t={}", self.policy.name, self.retry_after_seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_and_refusals_are_structured_fields() {
        let bucket = Policy::bucket("sign-ups", 200, Duration::from_mins(3));
        assert_eq!(bucket.to_string(), "\"sign-ups\";q=200;w=180");
        assert_eq!(bucket.exceeded(Duration::from_millis(1200)).to_string(), "\"sign-ups\";r=0;t=2");
        let share = Policy::concurrent("connection", 8);
        assert_eq!(share.to_string(), "\"connection\";q=8;qu=\"concurrent-requests\"");
        assert_eq!(share.exceeded(Duration::ZERO).retry_after_seconds(), 1);
    }
}
