//! A client of server-sent events (WHATWG HTML, "Server-sent events").

use std::time::Duration;

use serde_json::Value;

use super::timeouts::DEFAULT_TIMEOUT;

/// An open event stream.
pub struct EventStream {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

/// One item of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum SseItem {
    /// An event with its fields.
    Event {
        /// `id:`, a position.
        id: u64,
        /// `event:`, the type.
        event: String,
        /// `data:` as JSON.
        data: Value,
    },
    /// A line that begins with a colon.
    Comment(String),
}

impl EventStream {
    /// Asserts that the response is an event stream.
    #[must_use]
    pub fn new(response: reqwest::Response) -> Self {
        assert_eq!(response.status().as_u16(), 200);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with("text/event-stream"), "{}", header("content-type"));
        assert_eq!(header("x-accel-buffering"), "no");
        Self { response, buffer: Vec::new() }
    }

    /// The next event or comment; `None` once the stream has ended.
    pub async fn next(&mut self) -> Option<SseItem> {
        self.next_within(DEFAULT_TIMEOUT).await
    }

    /// The next event or comment, which must arrive within `limit`.
    pub async fn next_within(&mut self, limit: Duration) -> Option<SseItem> {
        let next = tokio::time::timeout(limit, self.read()).await;
        next.unwrap_or_else(|_| panic!("nothing arrived on the stream within {limit:?}"))
    }

    /// Position, type and data of the next event, skipping comments; `None` once the stream has ended.
    pub async fn event(&mut self) -> Option<(u64, String, Value)> {
        loop {
            match self.next().await? {
                SseItem::Event { id, event, data } => return Some((id, event, data)),
                SseItem::Comment(_) => {}
            }
        }
    }

    /// The positions of the next `count` events.
    pub async fn positions(&mut self, count: usize) -> Vec<u64> {
        let mut positions = Vec::new();
        while positions.len() < count {
            positions.push(self.event().await.expect("the stream ended").0);
        }
        positions
    }

    async fn read(&mut self) -> Option<SseItem> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(item) = item(&String::from_utf8(block).unwrap()) {
                    return Some(item);
                }
                continue;
            }
            // A closed and a broken stream are the same to a client that resumes.
            self.buffer.extend(self.response.chunk().await.ok().flatten()?);
        }
    }
}

fn item(block: &str) -> Option<SseItem> {
    let (mut id, mut event, mut data, mut comment) = (None, None, Vec::new(), None);
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => comment = Some(value.to_owned()),
            "id" => id = Some(value.parse().unwrap_or_else(|_| panic!("not a position: {line}"))),
            "event" => event = Some(value.to_owned()),
            "data" => data.push(value),
            "retry" => assert!(value.parse::<u64>().is_ok(), "{line}"),
            _ => panic!("not a field of server-sent events: {line}"),
        }
    }
    if data.is_empty() {
        return comment.map(SseItem::Comment);
    }
    let data = serde_json::from_str(&data.join("\n")).unwrap();
    Some(SseItem::Event {
        id: id.expect("an event without id"),
        event: event.expect("an event without type"),
        data,
    })
}
