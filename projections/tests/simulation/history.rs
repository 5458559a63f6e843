//! What the clients have asked of the log, and what they were told.

use std::sync::Mutex;

use store::{Append, AppendError, Appended, Position};

/// An append as its client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) append: Append,
    /// The head when it was asked.
    pub(crate) began: Position,
    /// The head when it was answered.
    pub(crate) ended: Position,
    /// The answer; none if the client, or its process, did not live to hear it.
    pub(crate) answer: Option<Result<Appended, AppendError>>,
}

#[derive(Default)]
pub(crate) struct History(Mutex<Vec<Intent>>);

impl History {
    /// An append is asked for; gives its number.
    pub(crate) fn begin(&self, append: &Append, head: Position) -> usize {
        let mut intents = self.0.lock().unwrap();
        intents.push(Intent { append: append.clone(), began: head, ended: head, answer: None });
        intents.len() - 1
    }

    /// It was answered.
    pub(crate) fn end(&self, number: usize, answer: Result<Appended, AppendError>, head: Position) {
        let mut intents = self.0.lock().unwrap();
        intents[number].ended = head;
        intents[number].answer = Some(answer);
    }

    pub(crate) fn intents(&self) -> Vec<Intent> {
        self.0.lock().unwrap().clone()
    }
}
