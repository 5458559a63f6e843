//! The journal of sessions: every request with the tokens of a session, and its answer.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use testkit::service::Response;

/// A way to end a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SessionEnd {
    Logout,
    LogoutEverywhere,
    FromList,
    /// `POST /auth/revoke` with the refresh token.
    ByClient,
    ByAdministrator,
}

impl SessionEnd {
    pub(crate) const ALL: [Self; 5] =
        [Self::Logout, Self::LogoutEverywhere, Self::FromList, Self::ByClient, Self::ByAdministrator];

    /// Whether it ends every session of the user.
    pub(crate) fn revokes_all_tokens(self) -> bool {
        matches!(self, Self::LogoutEverywhere | Self::ByAdministrator)
    }
}

/// What a request does with a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SessionAction {
    /// Presents the access token of a generation.
    Use {
        generation: usize,
    },
    /// Presents the refresh token of a generation.
    Refresh {
        generation: usize,
    },
    End(SessionEnd),
}

/// What the client knows after a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SessionAnswer {
    /// None yet.
    Pending,
    /// The access token is valid.
    Accepted,
    /// The refresh token was exchanged for this one.
    Renewed {
        refresh_token: String,
    },
    /// The session has ended by this request.
    Ended,
    /// The token is void, or the session was not found.
    Refused,
    /// 503, or the connection was refused or broke: nothing of it is processed later.
    Lost,
    /// No answer in time: a frozen service may still process it.
    TimedOut,
    Unexpected {
        status: u16,
        code: String,
    },
}

impl SessionAnswer {
    pub(crate) fn of(action: SessionAction, answer: &reqwest::Result<Response>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return Self::TimedOut,
            Err(_) => return Self::Lost,
        };
        let body: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        match (action, answer.status(), text("code").as_str()) {
            (SessionAction::Use { .. }, 200, _) => Self::Accepted,
            (SessionAction::Refresh { .. }, 200, _) => Self::Renewed { refresh_token: text("refresh_token") },
            (SessionAction::End(_), 200 | 204, _) => Self::Ended,
            // 404: an earlier request, whose answer was lost, ended it after the token of this one was checked.
            (SessionAction::End(SessionEnd::FromList), 404, "not_found")
            | (SessionAction::Use { .. } | SessionAction::End(_), 403, "token_revoked")
            | (SessionAction::Refresh { .. }, 400, "invalid_grant") => Self::Refused,
            (_, 503, _) => Self::Lost,
            (_, status, code) => Self::Unexpected { status, code: code.to_owned() },
        }
    }

    /// Whether the client has no answer.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost | Self::TimedOut)
    }
}

/// One request. Times count from the start of the test; one that is not answered yet is answered at
/// [`Duration::MAX`].
#[derive(Clone, Debug)]
pub(crate) struct SessionRequest {
    /// The index of the service.
    pub(crate) service: usize,
    pub(crate) sent: Duration,
    pub(crate) answered: Duration,
    pub(crate) action: SessionAction,
    pub(crate) answer: SessionAnswer,
}

/// A session, the only one of its user.
#[derive(Clone, Debug)]
pub(crate) struct SessionRecord {
    /// The id of the user.
    pub(crate) user: String,
    /// The id of the session.
    pub(crate) id: String,
    /// In the order in which they were sent.
    pub(crate) requests: Vec<SessionRequest>,
}

impl SessionRecord {
    /// The requests that presented the refresh token of a generation.
    pub(crate) fn refreshes(&self, generation: usize) -> impl Iterator<Item = &SessionRequest> {
        let action = SessionAction::Refresh { generation };
        self.requests.iter().filter(move |request| request.action == action)
    }

    /// The requests to end it.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (SessionEnd, &SessionRequest)> {
        self.requests.iter().filter_map(|request| match request.action {
            SessionAction::End(end) => Some((end, request)),
            _ => None,
        })
    }

    /// When a request to end it was first acknowledged.
    pub(crate) fn ended_at(&self) -> Option<Duration> {
        let acknowledged = self.ends().filter(|(_, request)| request.answer == SessionAnswer::Ended);
        acknowledged.map(|(_, request)| request.answered).min()
    }
}

/// The records of all sessions of a test.
#[derive(Default)]
pub(crate) struct SessionJournal(Mutex<Vec<SessionRecord>>);

impl SessionJournal {
    /// Adds a session; returns its index.
    pub(crate) fn begin(&self, user: String, id: String) -> usize {
        let mut records = self.0.lock().unwrap();
        records.push(SessionRecord { user, id, requests: Vec::new() });
        records.len() - 1
    }

    /// Adds a request that is about to be sent; returns its index. What it does can be seen before its answer.
    pub(crate) fn send(
        &self,
        session: usize,
        service: usize,
        sent: Duration,
        action: SessionAction,
    ) -> usize {
        let mut records = self.0.lock().unwrap();
        let requests = &mut records[session].requests;
        let (answered, answer) = (Duration::MAX, SessionAnswer::Pending);
        requests.push(SessionRequest { service, sent, answered, action, answer });
        requests.len() - 1
    }

    /// Adds the answer to a request.
    pub(crate) fn answer(&self, session: usize, request: usize, answered: Duration, answer: SessionAnswer) {
        let mut records = self.0.lock().unwrap();
        let request = &mut records[session].requests[request];
        (request.answered, request.answer) = (answered, answer);
    }

    pub(crate) fn records(&self) -> Vec<SessionRecord> {
        self.0.lock().unwrap().clone()
    }
}
