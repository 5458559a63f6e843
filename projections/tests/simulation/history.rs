//! The appends that clients requested, with their answers.

use std::sync::Mutex;

use store::{Append, AppendError, Appended, Position};

/// An append as observed by its client.
#[derive(Clone, Debug)]
pub(crate) struct AppendRecord {
    pub(crate) append: Append,
    /// The head when it was requested.
    pub(crate) began: Position,
    /// The head when it was answered.
    pub(crate) ended: Position,
    /// The answer; `None` if client or process ended before it.
    pub(crate) answer: Option<Result<Appended, AppendError>>,
}

#[derive(Default)]
pub(crate) struct History(Mutex<Vec<AppendRecord>>);

impl History {
    /// Records a requested append; returns its number.
    pub(crate) fn begin(&self, append: &Append, head: Position) -> usize {
        let mut records = self.0.lock().unwrap();
        records.push(AppendRecord { append: append.clone(), began: head, ended: head, answer: None });
        records.len() - 1
    }

    /// Records the answer.
    pub(crate) fn end(&self, number: usize, answer: Result<Appended, AppendError>, head: Position) {
        let mut records = self.0.lock().unwrap();
        records[number].ended = head;
        records[number].answer = Some(answer);
    }

    pub(crate) fn records(&self) -> Vec<AppendRecord> {
        self.0.lock().unwrap().clone()
    }
}
