//! What was asked for and what was answered: all that the clients know.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::service::Response;

use crate::client_write::ClientWrite;

/// Why an outcome is unknown when no answer came.
const NO_ANSWER: &str = "no answer in time";

/// What a client knows after one attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WriteOutcome {
    /// It is done: at this position, and told in these words.
    Acknowledged { position: u64, response: String },
    /// Nothing had to be done.
    Unchanged,
    /// It was refused, for good.
    Rejected { status: u16, code: String },
    /// This attempt has done nothing, and another one might: 503 `unavailable`, `busy`, `projection_behind`, or nobody
    /// listened.
    NotExecuted { code: String },
    /// An earlier attempt under the same key is still under way.
    InProgress,
    /// Nobody can tell: 503 `outcome_unknown`, a connection that broke, an answer that did not come.
    Unknown { reason: String },
}

/// One sending of a request. Times count from the beginning of the journal.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// At which service.
    pub(crate) service: usize,
    pub(crate) sent: Duration,
    pub(crate) answered: Duration,
    pub(crate) outcome: WriteOutcome,
}

/// A write and everything that was heard of it, in order. Every attempt carries the same key. One without a key is sent
/// once: whether it was done is then for the log alone to tell.
#[derive(Clone, Debug)]
pub(crate) struct WriteRecord {
    pub(crate) write: ClientWrite,
    pub(crate) key: Option<String>,
    pub(crate) attempts: Vec<Attempt>,
}

/// All records of a test.
pub(crate) struct Journal {
    started: Instant,
    records: Mutex<Vec<WriteRecord>>,
}

impl WriteOutcome {
    /// What an answer says, or that none came.
    pub(crate) fn of(answer: &reqwest::Result<Response>) -> Self {
        match answer {
            Ok(answer) => Self::of_answer(answer),
            Err(error) if error.is_connect() => Self::NotExecuted { code: "nobody listens".to_owned() },
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
            // A promise of the contract.
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

    /// Whether some attempt got no answer at all.
    pub(crate) fn timed_out(&self) -> bool {
        let silent =
            |attempt: &Attempt| attempt.outcome == WriteOutcome::Unknown { reason: NO_ANSWER.to_owned() };
        self.attempts.iter().any(silent)
    }

    /// Whether its client cannot tell if it was done, and may ask.
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

    /// The time in this journal.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes down a write that is about to be sent: its place in the journal, and its key, if it is to have one.
    pub(crate) fn begin(&self, write: ClientWrite, keyed: bool) -> (usize, Option<String>) {
        let mut records = self.records.lock().unwrap();
        let place = records.len();
        let key = keyed.then(|| format!("write-{place}"));
        records.push(WriteRecord { write, key: key.clone(), attempts: Vec::new() });
        (place, key)
    }

    /// Writes down what came of an attempt.
    pub(crate) fn add(&self, place: usize, attempt: Attempt) {
        self.records.lock().unwrap()[place].attempts.push(attempt);
    }

    /// Everything so far. A write that is under way has no attempt yet.
    pub(crate) fn records(&self) -> Vec<WriteRecord> {
        self.records.lock().unwrap().clone()
    }

    /// Which service has acknowledged a write that was sent after `since`, and when. A write that had to be sent twice
    /// does not count: it may have been done long before.
    pub(crate) fn acknowledgements(&self, since: Duration) -> Vec<(usize, Duration)> {
        let records = self.records.lock().unwrap();
        let firsts = records.iter().filter_map(|record| record.attempts.first());
        let done = firsts.filter(|attempt| matches!(attempt.outcome, WriteOutcome::Acknowledged { .. }));
        done.filter(|attempt| attempt.sent >= since)
            .map(|attempt| (attempt.service, attempt.answered))
            .collect()
    }
}
