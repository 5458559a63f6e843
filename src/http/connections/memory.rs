//! Memory that is held for clients: bytes that they have not taken or not sent completely.

use std::sync::Arc;

use super::connection::Connection;

/// Bytes charged to a connection, to its address and to the process, until dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    connection: Arc<Connection>,
    bytes: usize,
}

/// The charge of an answer, in the extensions of its response.
pub(crate) type AnswerCharge = Arc<Charge>;

/// In the extensions of a response: its body is shared by all answers, and is not charged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedAnswer;

impl Charge {
    /// `None` if one of the limits would be exceeded.
    pub(crate) fn take(connection: &Arc<Connection>, bytes: usize) -> Option<Self> {
        let meters = connection.memory_meters();
        for (index, meter) in meters.iter().enumerate() {
            if !meter.try_add(bytes) {
                meters.iter().take(index).for_each(|meter| meter.subtract(bytes));
                return None;
            }
        }
        Some(Self { connection: Arc::clone(connection), bytes })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        for meter in self.connection.memory_meters() {
            meter.subtract(self.bytes);
        }
    }
}
