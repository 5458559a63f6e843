//! Sessions: one that has ended is never accepted again, and one that has not stays renewable.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::log::{Log, Violation, ViolationKind};
use crate::session_journal::{SessionAction, SessionAnswer, SessionRecord, SessionRequest};

/// How long a refresh token that was used up is answered with the same successor.
const RETRY_WINDOW: Duration = Duration::from_secs(30);
/// How long a frozen service may process a request after its client has stopped waiting for it: the longest freeze,
/// and some slack.
const LONGEST_DELAY: Duration = Duration::from_secs(12);

/// Every answer that contradicts an earlier one, or the log.
pub(crate) fn session_violations(records: &[SessionRecord], log: &Log) -> Vec<Violation> {
    let ends = LoggedEnds::of(log);
    let mut violations = Vec::new();
    for record in records {
        let history = SessionHistory::of(record);
        let mut report = |kind, detail: String| violations.push(Violation { kind, detail });
        for request in &record.requests {
            if let Some(kind) = history.violation(request) {
                report(kind, format!("session {} at service {}: {request:?}", record.id, request.service));
            }
        }
        let of_session = history.successor_violation().into_iter().chain(ends.violation(&history));
        of_session.for_each(|kind| report(kind, format!("{record:?}")));
    }
    violations
}

struct SessionHistory<'a> {
    record: &'a SessionRecord,
    /// When the refresh token of each generation was first presented.
    presented: BTreeMap<usize, Duration>,
    ended_at: Option<Duration>,
    /// When a token was first refused.
    refused_at: Option<Duration>,
}

impl<'a> SessionHistory<'a> {
    fn of(record: &'a SessionRecord) -> Self {
        let mut presented = BTreeMap::new();
        for request in &record.requests {
            if let SessionAction::Refresh { generation } = request.action {
                let first = presented.entry(generation).or_insert(request.sent);
                *first = request.sent.min(*first);
            }
        }
        let refused = record.requests.iter().filter(|request| request.answer == SessionAnswer::Refused);
        let refused_at = refused.map(|request| request.answered).min();
        Self { record, presented, ended_at: record.ended_at(), refused_at }
    }

    fn violation(&self, request: &SessionRequest) -> Option<ViolationKind> {
        let was = |time: Option<Duration>| time.is_some_and(|time| time < request.sent);
        match &request.answer {
            SessionAnswer::Accepted | SessionAnswer::Renewed { .. } if was(self.ended_at) => {
                Some(ViolationKind::EndedSessionAccepted)
            }
            SessionAnswer::Accepted | SessionAnswer::Renewed { .. } => {
                was(self.refused_at).then_some(ViolationKind::RefusedSessionAccepted)
            }
            SessionAnswer::Refused => {
                (!self.may_refuse(request)).then_some(ViolationKind::OpenSessionRefused)
            }
            SessionAnswer::Unexpected { status, code } => {
                Some(ViolationKind::UnexpectedAnswer { status: *status, code: code.clone() })
            }
            SessionAnswer::Pending | SessionAnswer::Ended | SessionAnswer::Lost | SessionAnswer::TimedOut => {
                None
            }
        }
    }

    /// Whether the session may have ended before a request was answered, by another request or by this one.
    fn may_refuse(&self, request: &SessionRequest) -> bool {
        let may_end = |other: &SessionRequest| {
            let is_end = matches!(other.action, SessionAction::End(_)) && !std::ptr::eq(other, request);
            is_end || self.is_reuse(other)
        };
        self.record.requests.iter().any(|other| other.sent < request.answered && may_end(other))
    }

    /// Whether a refresh may be taken for the use of a copy, which ends the session: it may be processed when the
    /// retry window has passed, or when the next refresh token was used as well.
    fn is_reuse(&self, request: &SessionRequest) -> bool {
        let SessionAction::Refresh { generation } = request.action else { return false };
        let is_timed_out = request.answer == SessionAnswer::TimedOut;
        let delay = if is_timed_out { LONGEST_DELAY } else { Duration::ZERO };
        let processed = request.answered.saturating_add(delay);
        let first = self.presented.get(&generation);
        first.is_some_and(|first| processed.saturating_sub(*first) > RETRY_WINDOW)
            || self.presented.get(&(generation + 1)).is_some_and(|next| *next < processed)
    }

    /// Each refresh token has one successor, and no two have the same.
    fn successor_violation(&self) -> Option<ViolationKind> {
        let mut successors: BTreeMap<usize, &str> = BTreeMap::new();
        for request in &self.record.requests {
            if let (SessionAction::Refresh { generation }, SessionAnswer::Renewed { refresh_token }) =
                (request.action, &request.answer)
                && successors.insert(generation, refresh_token).is_some_and(|other| other != refresh_token)
            {
                return Some(ViolationKind::SuccessorsDiffer { generation });
            }
        }
        let distinct: BTreeSet<_> = successors.values().collect();
        (distinct.len() < successors.len()).then_some(ViolationKind::RefreshTokenIssuedTwice)
    }
}

/// What the log says about the ends of sessions.
struct LoggedEnds {
    /// The reasons of the events of each session.
    reasons: BTreeMap<String, Vec<String>>,
    /// The users whose tokens were all revoked.
    users: BTreeSet<String>,
}

impl LoggedEnds {
    fn of(log: &Log) -> Self {
        let (mut reasons, mut users) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
        for event in log.events() {
            let text = |field: &str| event["data"][field].as_str().unwrap_or_default().to_owned();
            if event["type"] == "SessionRevoked" {
                reasons.entry(text("session")).or_default().push(text("reason"));
            } else if event["type"] == "TokensRevoked" {
                users.extend(event["subject"].as_str().map(str::to_owned));
            }
        }
        Self { reasons, users }
    }

    fn violation(&self, history: &SessionHistory<'_>) -> Option<ViolationKind> {
        let record = history.record;
        let reasons = self.reasons.get(&record.id).map_or(&[][..], Vec::as_slice);
        let is_open = |request: &SessionRequest| history.ended_at.is_none_or(|ended| request.sent < ended);
        let is_reused = record.requests.iter().any(|request| is_open(request) && history.is_reuse(request));
        if reasons.iter().any(|reason| reason == "reuse") && !is_reused {
            return Some(ViolationKind::RetryTakenForReuse);
        }
        if reasons.len() > 1 {
            return Some(ViolationKind::SessionEndedTwice);
        }
        let is_lost = record.ends().any(|(end, request)| {
            let is_logged =
                self.users.contains(&record.user) || !end.revokes_all_tokens() && !reasons.is_empty();
            request.answer == SessionAnswer::Ended && !is_logged
        });
        is_lost.then_some(ViolationKind::AcknowledgedEndLost)
    }
}

#[cfg(test)]
mod tests;
