//! A subscriber of server-sent events that checks positions and ignores the rest.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Response};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::error::BenchError;

/// Generous: the pace is reported, however low.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// An open event stream.
pub(crate) struct EventStream {
    response: Response,
    received: ReceivedEvents,
}

/// What a subscriber has received.
struct ReceivedEvents {
    after: u64,
    position: u64,
    first_at: Option<Instant>,
    last_at: Instant,
    /// The beginning of a line.
    line: Vec<u8>,
    id: Option<u64>,
}

impl EventStream {
    /// Subscribes to the events after that position.
    pub(crate) async fn open(address: SocketAddr, token: &str, after: u64) -> Result<Self, BenchError> {
        // A client of its own, so a connection of its own.
        let client = Client::builder().no_proxy().build().map_err(BenchError::invalid)?;
        let url = format!("http://{address}/api/v1/events/stream?after={after}");
        let response = client.get(url).bearer_auth(token).send().await.map_err(BenchError::invalid)?;
        let response = response.error_for_status().map_err(BenchError::invalid)?;
        Ok(Self { response, received: ReceivedEvents::after(after) })
    }

    /// Receives until the position that `last` has in the end; returns the events per second from the first to the last.
    pub(crate) async fn receive_until(
        mut self,
        mut last: watch::Receiver<Option<u64>>,
    ) -> Result<f64, BenchError> {
        loop {
            let until = *last.borrow_and_update();
            if until.is_some_and(|until| self.received.position >= until) {
                return Ok(self.received.per_second());
            }
            let chunk = tokio::select! {
                changed = last.changed(), if until.is_none() => {
                    changed.map_err(BenchError::invalid)?;
                    continue;
                }
                chunk = timeout(EVENT_TIMEOUT, self.response.chunk()) => chunk,
            };
            let chunk = chunk.map_err(|_| BenchError::invalid("a subscriber receives no events"))?;
            let chunk = chunk.map_err(BenchError::invalid)?;
            let chunk = chunk.ok_or_else(|| BenchError::invalid("the event stream has ended"))?;
            self.received.add(&chunk)?;
        }
    }
}

impl ReceivedEvents {
    fn after(after: u64) -> Self {
        let (first_at, last_at) = (None, Instant::now());
        Self { after, position: after, first_at, last_at, line: Vec::new(), id: None }
    }

    fn add(&mut self, chunk: &[u8]) -> Result<(), BenchError> {
        let mut lines = chunk.split(|byte| *byte == b'\n');
        let rest = lines.next_back().unwrap_or_default();
        for end in lines {
            if self.line.is_empty() {
                self.add_line(end)?;
            } else {
                self.line.extend_from_slice(end);
                let line = std::mem::take(&mut self.line);
                self.add_line(&line)?;
            }
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }

    /// `id` comes before `data`; an id without data is no event.
    fn add_line(&mut self, line: &[u8]) -> Result<(), BenchError> {
        if let Some(id) = line.strip_prefix(b"id: ") {
            let id = str::from_utf8(id).map_err(BenchError::invalid)?;
            self.id = Some(id.parse().map_err(BenchError::invalid)?);
        } else if line.starts_with(b"data: ") {
            let position = self.id.take();
            if position != Some(self.position + 1) {
                let previous = self.position;
                return Err(BenchError::invalid(format!("event {position:?} follows {previous}")));
            }
            self.position += 1;
            self.last_at = Instant::now();
            self.first_at.get_or_insert(self.last_at);
        }
        Ok(())
    }

    fn per_second(&self) -> f64 {
        let events = u32::try_from(self.position - self.after).unwrap_or(u32::MAX);
        let took = self.first_at.map_or(Duration::ZERO, |first| self.last_at - first);
        f64::from(events.saturating_sub(1)) / took.as_secs_f64().max(f64::EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str =
        "id: 8\nevent: UserRegistered\ndata: {}\n\n: head 8\n\nid: 9\nevent: A\ndata: {}\n\nid: 9\n\n";

    #[test]
    fn events_are_found_however_they_are_split() {
        for length in 1..EVENTS.len() {
            let mut received = ReceivedEvents::after(7);
            for chunk in EVENTS.as_bytes().chunks(length) {
                received.add(chunk).unwrap();
            }
            assert_eq!(received.position, 9, "{length}");
        }
    }

    #[test]
    fn missing_and_repeated_events_are_found() {
        for after in [5, 8, 9] {
            assert!(ReceivedEvents::after(after).add(EVENTS.as_bytes()).is_err(), "{after}");
        }
    }
}
