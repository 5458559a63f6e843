//! The journal: every request of the clients and its outcome.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::service::Response;

use crate::client_write::ClientWrite;

/// The reason of an unknown outcome after a timeout.
const NO_ANSWER: &str = "no answer in time";

/// What a client knows of a write after one attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WriteOutcome {
    /// Executed: its position and the response.
    Acknowledged { position: u64, response: String },
    /// Nothing had to be changed.
    Unchanged,
    /// Rejected for good.
    Rejected { status: u16, code: String },
    /// Not executed, and can be retried: 503 `unavailable`, `busy`, `projection_behind`, or the connection
    /// was refused.
    NotExecuted { code: String },
    /// An earlier attempt under the same key is still running.
    InProgress,
    /// Possibly executed: 503 `outcome_unknown`, a broken connection, or a timeout.
    Unknown { reason: String },
}

/// One request and its outcome. Times count from the start of the journal.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The index of the service.
    pub(crate) service: usize,
    pub(crate) sent: Duration,
    pub(crate) answered: Duration,
    pub(crate) outcome: WriteOutcome,
}

/// A write and its attempts, in order, all under the same idempotency key. A write without a key is sent
/// once, so only the log shows whether it was executed.
#[derive(Clone, Debug)]
pub(crate) struct WriteRecord {
    pub(crate) write: ClientWrite,
    pub(crate) key: Option<String>,
    pub(crate) attempts: Vec<Attempt>,
}

/// The records of all writes of a test.
pub(crate) struct Journal {
    started: Instant,
    records: Mutex<Vec<WriteRecord>>,
}

impl WriteOutcome {
    /// The outcome according to the response, or its absence.
    pub(crate) fn of(answer: &reqwest::Result<Response>) -> Self {
        match answer {
            Ok(answer) => Self::of_answer(answer),
            Err(error) if error.is_connect() => Self::NotExecuted { code: "connection refused".to_owned() },
            Err(error) if error.is_timeout() => Self::Unknown { reason: NO_ANSWER.to_owned() },
            Err(_) => Self::Unknown { reason: "the connection broke".to_owned() },
        }
    }

    fn of_answer(answer: &Response) -> Self {
        let status = answer.status();
        let code = || {
            let body: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
            body["code"].as_str().unwrap_or("no code").to_owned()
        };
        match status {
            200..=299 if answer.header("Aegis-Position").is_empty() => Self::Unchanged,
            200..=299 => {
                let response = format!("{status} {} {}", answer.header("Location"), answer.text());
                Self::Acknowledged { position: answer.position(), response }
            }
            409 if code() == "still_running" => Self::InProgress,
            503 if code() == "outcome_unknown" => Self::Unknown { reason: code() },
            // The contract requires `Retry-After`.
            503 if answer.header("Retry-After").is_empty() => {
                Self::Rejected { status, code: format!("{} without Retry-After", code()) }
            }
            503 => Self::NotExecuted { code: code() },
            _ => Self::Rejected { status, code: code() },
        }
    }
}

impl WriteRecord {
    /// The position at which it was acknowledged.
    pub(crate) fn acknowledged(&self) -> Option<u64> {
        self.attempts.iter().find_map(|attempt| match attempt.outcome {
            WriteOutcome::Acknowledged { position, .. } => Some(position),
            _ => None,
        })
    }

    /// Whether an attempt timed out.
    pub(crate) fn timed_out(&self) -> bool {
        let timed_out =
            |attempt: &Attempt| attempt.outcome == WriteOutcome::Unknown { reason: NO_ANSWER.to_owned() };
        self.attempts.iter().any(timed_out)
    }

    /// Whether the client does not know if it was executed, and can resolve that by its key.
    pub(crate) fn is_indeterminate(&self) -> bool {
        let unknown = |attempt: &Attempt| matches!(attempt.outcome, WriteOutcome::Unknown { .. });
        let settles = |attempt: &Attempt| {
            matches!(
                attempt.outcome,
                WriteOutcome::Acknowledged { .. } | WriteOutcome::Unchanged | WriteOutcome::Rejected { .. }
            )
        };
        let unknown = self.attempts.iter().rposition(unknown);
        let settled = self.attempts.iter().rposition(settles);
        self.key.is_some() && unknown.is_some_and(|unknown| settled.is_none_or(|settled| settled < unknown))
    }
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), records: Mutex::default() }
    }

    /// The time since the start of the journal.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Adds a write that is about to be sent; returns its index, and its idempotency key if it gets one.
    pub(crate) fn begin(&self, write: ClientWrite, with_key: bool) -> (usize, Option<String>) {
        let mut records = self.records.lock().unwrap();
        let index = records.len();
        let key = with_key.then(|| format!("write-{index}"));
        records.push(WriteRecord { write, key: key.clone(), attempts: Vec::new() });
        (index, key)
    }

    /// Adds an attempt.
    pub(crate) fn add(&self, index: usize, attempt: Attempt) {
        self.records.lock().unwrap()[index].attempts.push(attempt);
    }

    /// All records so far. A write in flight has no attempt yet.
    pub(crate) fn records(&self) -> Vec<WriteRecord> {
        self.records.lock().unwrap().clone()
    }

    /// Service and time of each acknowledgement of a write sent after `since`. Only first attempts count: a
    /// resent write may have been executed long before.
    pub(crate) fn acknowledgements(&self, since: Duration) -> Vec<(usize, Duration)> {
        let records = self.records.lock().unwrap();
        let firsts = records.iter().filter_map(|record| record.attempts.first());
        let done = firsts.filter(|attempt| matches!(attempt.outcome, WriteOutcome::Acknowledged { .. }));
        done.filter(|attempt| attempt.sent >= since)
            .map(|attempt| (attempt.service, attempt.answered))
            .collect()
    }
}
