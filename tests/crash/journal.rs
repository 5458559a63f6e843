//! What was asked for and what was answered: all that the clients know.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::service::Answer;

use crate::write::Write;

/// Why an outcome is unknown when no answer came.
const SILENCE: &str = "no answer in time";

/// What a client knows after one attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It is done: at this position, and told in these words.
    Done { position: u64, told: String },
    /// Nothing had to be done.
    Unchanged,
    /// It was refused, for good.
    Refused { status: u16, code: String },
    /// This attempt has done nothing, and another one might: 503 `unavailable`, `busy`, `projection_behind`, or nobody
    /// listened.
    NotDone { code: String },
    /// An earlier attempt under the same key is still under way.
    Running,
    /// Nobody can tell: 503 `outcome_unknown`, a connection that broke, an answer that did not come.
    Unknown { why: String },
}

/// One sending of a request. Times count from the beginning of the journal.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// At which service.
    pub(crate) service: usize,
    pub(crate) sent: Duration,
    pub(crate) answered: Duration,
    pub(crate) outcome: Outcome,
}

/// A write and everything that was heard of it, in order. Every attempt carries the same key. One without a key is sent
/// once: whether it was done is then for the log alone to tell.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) write: Write,
    pub(crate) key: Option<String>,
    pub(crate) attempts: Vec<Attempt>,
}

/// All records of a test.
pub(crate) struct Journal {
    started: Instant,
    records: Mutex<Vec<Record>>,
}

impl Outcome {
    /// What an answer says, or that none came.
    pub(crate) fn of(answer: &reqwest::Result<Answer>) -> Self {
        match answer {
            Ok(answer) => Self::of_answer(answer),
            Err(error) if error.is_connect() => Self::NotDone { code: "nobody listens".to_owned() },
            Err(error) if error.is_timeout() => Self::Unknown { why: SILENCE.to_owned() },
            Err(_) => Self::Unknown { why: "the connection broke".to_owned() },
        }
    }

    fn of_answer(answer: &Answer) -> Self {
        let status = answer.status();
        let code = || {
            let body: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
            body["code"].as_str().unwrap_or("no code").to_owned()
        };
        match status {
            200..=299 if answer.header("Aegis-Position").is_empty() => Self::Unchanged,
            200..=299 => {
                let told = format!("{status} {} {}", answer.header("Location"), answer.text());
                Self::Done { position: answer.position(), told }
            }
            409 if code() == "still_running" => Self::Running,
            503 if code() == "outcome_unknown" => Self::Unknown { why: code() },
            // A promise of the contract.
            503 if answer.header("Retry-After").is_empty() => {
                Self::Refused { status, code: format!("{} without Retry-After", code()) }
            }
            503 => Self::NotDone { code: code() },
            _ => Self::Refused { status, code: code() },
        }
    }
}

impl Record {
    /// The position at which it was acknowledged.
    pub(crate) fn acknowledged(&self) -> Option<u64> {
        self.attempts.iter().find_map(|attempt| match attempt.outcome {
            Outcome::Done { position, .. } => Some(position),
            _ => None,
        })
    }

    /// Whether some attempt got no answer at all.
    pub(crate) fn never_answered(&self) -> bool {
        let silent = |attempt: &Attempt| attempt.outcome == Outcome::Unknown { why: SILENCE.to_owned() };
        self.attempts.iter().any(silent)
    }

    /// Whether its client cannot tell if it was done, and may ask.
    pub(crate) fn is_open(&self) -> bool {
        let unknown = |attempt: &Attempt| matches!(attempt.outcome, Outcome::Unknown { .. });
        let settles = |attempt: &Attempt| {
            matches!(attempt.outcome, Outcome::Done { .. } | Outcome::Unchanged | Outcome::Refused { .. })
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
    pub(crate) fn begin(&self, write: Write, keyed: bool) -> (usize, Option<String>) {
        let mut records = self.records.lock().unwrap();
        let place = records.len();
        let key = keyed.then(|| format!("write-{place}"));
        records.push(Record { write, key: key.clone(), attempts: Vec::new() });
        (place, key)
    }

    /// Writes down what came of an attempt.
    pub(crate) fn add(&self, place: usize, attempt: Attempt) {
        self.records.lock().unwrap()[place].attempts.push(attempt);
    }

    /// Everything so far. A write that is under way has no attempt yet.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// Which service has acknowledged a write that was sent after `since`, and when. A write that had to be sent twice
    /// does not count: it may have been done long before.
    pub(crate) fn acknowledgements(&self, since: Duration) -> Vec<(usize, Duration)> {
        let records = self.records.lock().unwrap();
        let firsts = records.iter().filter_map(|record| record.attempts.first());
        let done = firsts.filter(|attempt| matches!(attempt.outcome, Outcome::Done { .. }));
        done.filter(|attempt| attempt.sent >= since)
            .map(|attempt| (attempt.service, attempt.answered))
            .collect()
    }
}
