//! A bounded buffer of the newest events, rendered once per disclosure for all subscribers. Pure.

use std::collections::VecDeque;

use axum::body::Bytes;
use store::{LogIdentity, Position, StoredEvent, StreamId};

use super::sse;
use crate::cloud_event::{CloudEvent, Disclosure};

const MAX_EVENTS: usize = 8_192;
const MAX_BYTES: usize = 16 << 20;
/// The maximum size of a chunk in bytes, except for a single larger event.
const MAX_CHUNK: usize = 64 << 10;

pub(crate) struct RenderedEvent {
    position: Position,
    stream: StreamId,
    event_type: String,
    personal: Bytes,
    redacted: Bytes,
}

impl RenderedEvent {
    pub(crate) fn new(event: &StoredEvent, log: LogIdentity) -> Result<Self, serde_json::Error> {
        let render = |disclosure| sse::event(&CloudEvent::new(event, log, disclosure)).map(Bytes::from);
        let (personal, redacted) = (render(Disclosure::Personal)?, render(Disclosure::Redacted)?);
        // Most events have no personal values.
        let redacted = if redacted == personal { personal.clone() } else { redacted };
        let envelope = &event.envelope;
        let (stream, event_type) = (envelope.stream.clone(), envelope.event_type.clone());
        Ok(Self { position: envelope.position, stream, event_type, personal, redacted })
    }

    fn frame(&self, disclosure: Disclosure) -> &Bytes {
        match disclosure {
            Disclosure::Personal => &self.personal,
            Disclosure::Redacted => &self.redacted,
        }
    }

    fn size(&self) -> usize {
        let shared = self.personal.as_ptr() == self.redacted.as_ptr();
        self.personal.len() + if shared { 0 } else { self.redacted.len() }
    }
}

/// What a reader may see and wants to see.
pub(crate) struct ReaderView<'a> {
    pub(crate) disclosure: Disclosure,
    /// Only these types; empty: all.
    pub(crate) types: &'a [String],
    /// The stream of the reader, whose events may change their authorization.
    pub(crate) own_stream: &'a StreamId,
    /// The position up to which the events of that stream were taken into account.
    pub(crate) authorized_at: Position,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextEvents {
    /// The matching events up to position `at`, as one chunk; `last_shown` is the last of them.
    Events {
        events: Bytes,
        last_shown: Option<Position>,
        at: Position,
    },
    /// The event at that position may have changed the authorization of the reader.
    RecheckAuthorization(Position),
    UpToDate,
    /// The position is older than the buffer.
    Evicted,
    /// The position is before the start of the broadcast.
    NotBuffered,
}

/// Consecutive events up to the newest.
#[derive(Default)]
pub(crate) struct EventBuffer {
    /// The last position read; `None` before the broadcast has started.
    end: Option<Position>,
    events: VecDeque<RenderedEvent>,
    bytes: usize,
}

impl EventBuffer {
    pub(crate) fn after(end: Position) -> Self {
        Self { end: Some(end), ..Self::default() }
    }

    /// Appends events and evicts the oldest ones beyond the limits.
    pub(crate) fn push(&mut self, events: Vec<RenderedEvent>) {
        for event in events {
            self.end = Some(event.position);
            self.bytes += event.size();
            self.events.push_back(event);
        }
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.size();
        }
    }

    pub(crate) fn positions_of(&self, stream: &StreamId) -> Vec<Position> {
        self.events.iter().filter(|event| event.stream == *stream).map(|event| event.position).collect()
    }

    pub(crate) fn replace(&mut self, by: RenderedEvent) {
        if let Some(event) = self.events.iter_mut().find(|event| event.position == by.position) {
            self.bytes = self.bytes - event.size() + by.size();
            *event = by;
        }
    }

    /// Whether the buffer has no events after that position.
    pub(crate) fn is_caught_up(&self, at: Position) -> bool {
        self.end.is_some_and(|end| at >= end)
    }

    /// The next chunk after a position.
    pub(crate) fn next(&self, after: Position, view: &ReaderView<'_>) -> NextEvents {
        let Some(end) = self.end else { return NextEvents::NotBuffered };
        if after >= end {
            return NextEvents::UpToDate;
        }
        let Some(first) = self.events.front().map(|event| event.position) else {
            return NextEvents::NotBuffered;
        };
        let Some(skip) = after.next().get().checked_sub(first.get()) else { return NextEvents::Evicted };
        let (mut at, mut last_shown, mut frames, mut bytes) = (after, None, Vec::new(), 0);
        for event in self.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            if event.stream == *view.own_stream && event.position > view.authorized_at {
                if at == after {
                    return NextEvents::RecheckAuthorization(event.position);
                }
                break;
            }
            if view.types.is_empty() || view.types.contains(&event.event_type) {
                let frame = event.frame(view.disclosure);
                if bytes > 0 && bytes + frame.len() > MAX_CHUNK {
                    break;
                }
                bytes += frame.len();
                last_shown = Some(event.position);
                frames.push(frame);
            }
            at = event.position;
        }
        let events = match frames[..] {
            // A single frame is shared by all subscribers without a copy.
            [frame] => frame.clone(),
            _ => frames.iter().map(|frame| &frame[..]).collect::<Vec<_>>().concat().into(),
        };
        NextEvents::Events { events, last_shown, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamId {
        StreamId::new(name).unwrap()
    }

    fn event(position: u64, of: &str, size: usize) -> RenderedEvent {
        let personal = Bytes::from(vec![b'p'; size]);
        RenderedEvent {
            position: Position::new(position),
            stream: stream(of),
            event_type: format!("Type{}", position % 2),
            personal,
            redacted: Bytes::from_static(b"i"),
        }
    }

    fn next(buffer: &EventBuffer, after: u64, types: &[&str], authorized_at: u64) -> NextEvents {
        let types: Vec<_> = types.iter().map(|&name| name.to_owned()).collect();
        let (own, authorized_at) = (stream("me"), Position::new(authorized_at));
        let view =
            ReaderView { disclosure: Disclosure::Personal, types: &types, own_stream: &own, authorized_at };
        buffer.next(Position::new(after), &view)
    }

    fn buffered(events: &'static [u8], last_shown: Option<u64>, at: u64) -> NextEvents {
        NextEvents::Events {
            events: Bytes::from_static(events),
            last_shown: last_shown.map(Position::new),
            at: Position::new(at),
        }
    }

    #[test]
    fn next_returns_the_events_after_a_position() {
        let mut buffer = EventBuffer::after(Position::new(4));
        assert_eq!(next(&buffer, 4, &[], 0), NextEvents::UpToDate);
        assert_eq!(next(&buffer, 3, &[], 0), NextEvents::NotBuffered);
        buffer.push(vec![event(5, "a", 1), event(6, "a", 1), event(7, "b", 1)]);
        assert_eq!(next(&buffer, 4, &[], 0), buffered(b"ppp", Some(7), 7));
        assert_eq!(next(&buffer, 6, &[], 0), buffered(b"p", Some(7), 7));
        assert_eq!(next(&buffer, 4, &["Type0"], 0), buffered(b"p", Some(6), 7));
        assert_eq!(next(&buffer, 4, &["Other"], 0), buffered(b"", None, 7));
        for after in [7, 8] {
            assert_eq!(next(&buffer, after, &[], 0), NextEvents::UpToDate);
        }
        assert_eq!(next(&buffer, 3, &[], 0), NextEvents::Evicted);
        assert_eq!(
            next(&EventBuffer::default(), 7, &[], 0),
            NextEvents::NotBuffered,
            "the broadcast has not started"
        );
    }

    #[test]
    fn events_of_the_reader_require_a_new_authorization_check() {
        let mut buffer = EventBuffer::after(Position::new(0));
        buffer.push(vec![event(1, "a", 1), event(2, "me", 1), event(3, "a", 1)]);
        assert_eq!(next(&buffer, 0, &[], 0), buffered(b"p", Some(1), 1));
        assert_eq!(next(&buffer, 1, &[], 0), NextEvents::RecheckAuthorization(Position::new(2)));
        // Also if the filter does not match it.
        assert_eq!(next(&buffer, 1, &["Type1"], 0), NextEvents::RecheckAuthorization(Position::new(2)));
        assert_eq!(next(&buffer, 1, &[], 2), buffered(b"pp", Some(3), 3));
    }

    #[test]
    fn buffer_and_chunks_are_bounded() {
        let mut buffer = EventBuffer::after(Position::new(0));
        let count = u64::try_from(MAX_EVENTS).unwrap() + 10;
        buffer.push((1..=count).map(|position| event(position, "a", 1)).collect());
        assert_eq!(next(&buffer, 9, &[], 0), NextEvents::Evicted);
        assert!(matches!(next(&buffer, 10, &[], 0), NextEvents::Events { .. }));
        buffer.push((count + 1..count + 200).map(|position| event(position, "a", 1 << 20)).collect());
        assert!(buffer.bytes <= MAX_BYTES && buffer.bytes > MAX_BYTES / 2);
        let NextEvents::Events { events, at, .. } = next(&buffer, count + 190, &[], 0) else {
            panic!("not buffered")
        };
        assert_eq!((events.len(), at.get()), (1 << 20, count + 191));
    }

    #[test]
    fn a_replaced_event_keeps_its_position() {
        let mut buffer = EventBuffer::after(Position::new(0));
        buffer.push(vec![event(1, "a", 3), event(2, "b", 3), event(3, "a", 3)]);
        assert_eq!(buffer.positions_of(&stream("a")), [Position::new(1), Position::new(3)]);
        buffer.replace(event(3, "a", 1));
        assert_eq!(next(&buffer, 0, &[], 0), buffered(b"ppppppp", Some(3), 3));
        assert_eq!(buffer.bytes, 7 + 3);
    }
}
