//! The newest events, rendered: once for each view, however many follow. Pure.

use std::collections::VecDeque;

use axum::body::Bytes;
use store::{Position, Recorded, StreamId};
use uuid::Uuid;

use super::frame;
use crate::cloud_event::{CloudEvent, Disclosure};

/// Events kept at most.
const MOST: usize = 8_192;
/// Bytes kept at most.
const MOST_BYTES: usize = 16 << 20;
/// Bytes handed out at once, but for an event that is larger.
const PIECE: usize = 64 << 10;

/// An event as it is sent.
pub(super) struct Rendered {
    position: Position,
    stream: StreamId,
    event_type: String,
    personal: Bytes,
    impersonal: Bytes,
}

impl Rendered {
    /// Renders an event of the log of that id.
    pub(super) fn new(event: &Recorded, log_id: Uuid) -> Result<Self, serde_json::Error> {
        let render = |disclosure| frame::event(&CloudEvent::new(event, log_id, disclosure)).map(Bytes::from);
        let (personal, impersonal) = (render(Disclosure::Personal)?, render(Disclosure::Impersonal)?);
        // Most events hold nothing personal.
        let impersonal = if impersonal == personal { personal.clone() } else { impersonal };
        let envelope = &event.envelope;
        let (stream, event_type) = (envelope.stream.clone(), envelope.event_type.clone());
        Ok(Self { position: envelope.position, stream, event_type, personal, impersonal })
    }

    fn view(&self, disclosure: Disclosure) -> &Bytes {
        match disclosure {
            Disclosure::Personal => &self.personal,
            Disclosure::Impersonal => &self.impersonal,
        }
    }

    fn size(&self) -> usize {
        let shared = self.personal.as_ptr() == self.impersonal.as_ptr();
        self.personal.len() + if shared { 0 } else { self.impersonal.len() }
    }
}

/// What somebody is to be shown.
pub(super) struct View<'a> {
    pub(super) disclosure: Disclosure,
    /// Only these types; empty: all.
    pub(super) types: &'a [String],
    /// The stream that may change what they are shown.
    pub(super) own: &'a StreamId,
    /// They have been judged by what that stream says up to here.
    pub(super) judged: Position,
}

/// What comes after a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The positions up to here, and the events among them that are to be shown.
    Here { events: Bytes, shown: Option<Position>, at: Position },
    /// At that position something happened to the reader themselves.
    Judge(Position),
    /// Nothing yet.
    UpToDate,
    /// It is here no longer.
    Passed,
    /// It was never here.
    Unknown,
}

/// Events that follow one another, up to the newest.
#[derive(Default)]
pub(super) struct Window {
    /// The last position that is here, or would be; none while nobody looks at the log.
    end: Option<Position>,
    events: VecDeque<Rendered>,
    bytes: usize,
}

impl Window {
    /// An empty one, of what comes after that position.
    pub(super) fn after(end: Position) -> Self {
        Self { end: Some(end), ..Self::default() }
    }

    /// Adds events that follow the last.
    pub(super) fn push(&mut self, events: Vec<Rendered>) {
        for event in events {
            self.end = Some(event.position);
            self.bytes += event.size();
            self.events.push_back(event);
        }
        while self.events.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.size();
        }
    }

    /// The positions of a stream's events.
    pub(super) fn of_stream(&self, stream: &StreamId) -> Vec<Position> {
        self.events.iter().filter(|event| event.stream == *stream).map(|event| event.position).collect()
    }

    /// Shows an event otherwise from now on.
    pub(super) fn replace(&mut self, by: Rendered) {
        if let Some(event) = self.events.iter_mut().find(|event| event.position == by.position) {
            self.bytes = self.bytes - event.size() + by.size();
            *event = by;
        }
    }

    /// Whether nothing is here that comes after that position; not while nobody looks at the log.
    pub(super) fn is_reached(&self, at: Position) -> bool {
        self.end.is_some_and(|end| at >= end)
    }

    /// What comes after that position.
    pub(super) fn next(&self, after: Position, view: &View<'_>) -> Next {
        let Some(end) = self.end else { return Next::Unknown };
        if after >= end {
            return Next::UpToDate;
        }
        let Some(first) = self.events.front().map(|event| event.position) else { return Next::Unknown };
        let Some(skip) = after.next().get().checked_sub(first.get()) else { return Next::Passed };
        let (mut at, mut shown, mut frames, mut bytes) = (after, None, Vec::new(), 0);
        for event in self.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            if event.stream == *view.own && event.position > view.judged {
                if at == after {
                    return Next::Judge(event.position);
                }
                break;
            }
            if view.types.is_empty() || view.types.contains(&event.event_type) {
                let frame = event.view(view.disclosure);
                if bytes > 0 && bytes + frame.len() > PIECE {
                    break;
                }
                bytes += frame.len();
                shown = Some(event.position);
                frames.push(frame);
            }
            at = event.position;
        }
        let events = match frames[..] {
            // What one sends, all send: nothing is copied.
            [frame] => frame.clone(),
            _ => frames.iter().map(|frame| &frame[..]).collect::<Vec<_>>().concat().into(),
        };
        Next::Here { events, shown, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamId {
        StreamId::new(name).unwrap()
    }

    fn event(position: u64, of: &str, size: usize) -> Rendered {
        let personal = Bytes::from(vec![b'p'; size]);
        Rendered {
            position: Position::new(position),
            stream: stream(of),
            event_type: format!("Type{}", position % 2),
            personal,
            impersonal: Bytes::from_static(b"i"),
        }
    }

    fn next(window: &Window, after: u64, types: &[&str], judged: u64) -> Next {
        let types: Vec<_> = types.iter().map(|&name| name.to_owned()).collect();
        let (own, judged) = (stream("me"), Position::new(judged));
        let view = View { disclosure: Disclosure::Personal, types: &types, own: &own, judged };
        window.next(Position::new(after), &view)
    }

    fn here(events: &'static [u8], shown: Option<u64>, at: u64) -> Next {
        Next::Here {
            events: Bytes::from_static(events),
            shown: shown.map(Position::new),
            at: Position::new(at),
        }
    }

    #[test]
    fn everybody_gets_what_comes_after_their_place() {
        let mut window = Window::after(Position::new(4));
        assert_eq!(next(&window, 4, &[], 0), Next::UpToDate);
        assert_eq!(next(&window, 3, &[], 0), Next::Unknown);
        window.push(vec![event(5, "a", 1), event(6, "a", 1), event(7, "b", 1)]);
        assert_eq!(next(&window, 4, &[], 0), here(b"ppp", Some(7), 7));
        assert_eq!(next(&window, 6, &[], 0), here(b"p", Some(7), 7));
        assert_eq!(next(&window, 4, &["Type0"], 0), here(b"p", Some(6), 7));
        assert_eq!(next(&window, 4, &["Other"], 0), here(b"", None, 7));
        for after in [7, 8] {
            assert_eq!(next(&window, after, &[], 0), Next::UpToDate);
        }
        assert_eq!(next(&window, 3, &[], 0), Next::Passed);
        assert_eq!(next(&Window::default(), 7, &[], 0), Next::Unknown, "nobody looks at the log");
    }

    #[test]
    fn nobody_gets_past_what_happens_to_themselves_unjudged() {
        let mut window = Window::after(Position::new(0));
        window.push(vec![event(1, "a", 1), event(2, "me", 1), event(3, "a", 1)]);
        assert_eq!(next(&window, 0, &[], 0), here(b"p", Some(1), 1));
        assert_eq!(next(&window, 1, &[], 0), Next::Judge(Position::new(2)));
        // Also if they do not ask for it.
        assert_eq!(next(&window, 1, &["Type1"], 0), Next::Judge(Position::new(2)));
        assert_eq!(next(&window, 1, &[], 2), here(b"pp", Some(3), 3));
    }

    #[test]
    fn what_is_kept_and_what_is_handed_out_at_once_is_bounded() {
        let mut window = Window::after(Position::new(0));
        let many = u64::try_from(MOST).unwrap() + 10;
        window.push((1..=many).map(|position| event(position, "a", 1)).collect());
        assert_eq!(next(&window, 9, &[], 0), Next::Passed);
        assert!(matches!(next(&window, 10, &[], 0), Next::Here { .. }));
        window.push((many + 1..many + 200).map(|position| event(position, "a", 1 << 20)).collect());
        assert!(window.bytes <= MOST_BYTES && window.bytes > MOST_BYTES / 2);
        let Next::Here { events, at, .. } = next(&window, many + 190, &[], 0) else { panic!("gone") };
        assert_eq!((events.len(), at.get()), (1 << 20, many + 191));
    }

    #[test]
    fn what_is_shown_otherwise_stays_in_its_place() {
        let mut window = Window::after(Position::new(0));
        window.push(vec![event(1, "a", 3), event(2, "b", 3), event(3, "a", 3)]);
        assert_eq!(window.of_stream(&stream("a")), [Position::new(1), Position::new(3)]);
        window.replace(event(3, "a", 1));
        assert_eq!(next(&window, 0, &[], 0), here(b"ppppppp", Some(3), 3));
        assert_eq!(window.bytes, 7 + 3);
    }
}
