//! The log as one chain: each event in its place. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::Timestamp;

use super::Finding;
use super::pages::EventHeader;
use crate::backend::Head;
use crate::checkpoint::{SignedHead, Signer};
use crate::event::{Position, StreamId};
use crate::merkle::{Frontier, Hash};
use crate::tiles::TileStore;

/// The log so far.
#[derive(Default)]
pub(super) struct LogSequence {
    last: Option<(Position, Timestamp)>,
    versions: HashMap<StreamId, u64, RandomState>,
    frontier: Frontier,
    tiles: Option<Arc<dyn TileStore>>,
    tile_mismatch: Option<Position>,
    /// A head that was signed earlier.
    since: Option<SignedHead>,
}

impl LogSequence {
    /// A log that is compared with its tiles, and is to begin with the events of a head that was signed earlier.
    pub(super) fn with_tiles(tiles: &Arc<dyn TileStore>, since: Option<SignedHead>) -> Self {
        Self { tiles: Some(Arc::clone(tiles)), since, ..Self::default() }
    }

    pub(super) fn tiles(&self) -> Option<Arc<dyn TileStore>> {
        self.tiles.clone()
    }

    /// Takes note of an event whose leaf is not the one in the tiles.
    pub(super) fn note_tile_mismatch(&mut self, tile_mismatch: Option<Position>) {
        self.tile_mismatch = self.tile_mismatch.or(tile_mismatch);
    }

    /// The first event whose leaf is not the one in the tiles.
    pub(super) fn tile_mismatch(&self) -> Option<Position> {
        self.tile_mismatch
    }

    pub(super) fn position(&self) -> Position {
        self.last.map_or(Position::START, |(position, _)| position)
    }

    pub(super) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Takes the next event in, whose leaf is its own.
    pub(super) fn take(&mut self, event: &EventHeader) -> Result<(), Finding> {
        let expected = self.position().next();
        if event.position != expected {
            let what = format!("it is missing: the next event is at position {}", event.position);
            return Err(Finding::new(expected, what));
        }
        let found = |what: String| Err(Finding::new(event.position, what));
        let known = self.versions.entry(event.stream.clone()).or_default();
        let version = *known + 1;
        if event.version != version {
            let (stream, found_version) = (&event.stream, event.version);
            return found(format!("stream {stream} has version {found_version} where {version} should be"));
        }
        if let Some((_, before)) = self.last.filter(|(_, before)| *before > event.at) {
            return found(format!("its time, {}, is before that of the event before, {before}", event.at));
        }
        *known = version;
        self.frontier.push(event.leaf);
        self.last = Some((event.position, event.at));
        self.check_since(event.position)
    }

    fn check_since(&self, position: Position) -> Result<(), Finding> {
        match &self.since {
            Some(since) if since.size == position.get() && since.root != self.root() => {
                let what = "the events up to here are not those that the checkpoint was signed for";
                Err(Finding::new(position, what))
            }
            _ => Ok(()),
        }
    }

    /// Whether the log is as long as it once was.
    pub(super) fn check_length(&self) -> Result<(), Finding> {
        let Some(since) = self.since.as_ref().filter(|since| since.size > self.position().get()) else {
            return Ok(());
        };
        let what = format!(
            "it is missing: the checkpoint was signed for {} events, and the log ends at position {}. Its end was cut off",
            since.size,
            self.position()
        );
        Err(Finding::new(self.position().next(), what))
    }

    /// Whether the head is that of the last event.
    pub(super) fn compare(&self, head: &Head, signer: &Signer) -> Result<(), Finding> {
        let found = |what: &str| Err(Finding::new(self.position(), what));
        if self.last.is_some_and(|(_, at)| at != head.at) {
            return found("the head has another time than the last event");
        }
        if head.root != self.root() {
            return found("the root in the head does not follow from the leaves");
        }
        if head.frontier != self.frontier {
            return found("the frontier in the head does not follow from the leaves");
        }
        // Ed25519 gives one signature for one text (RFC 8032 §5.1.6).
        if self.last.is_some() && head.note != signer.sign(self.frontier.size(), &self.root()) {
            return found("the signature in the head is not that of its position and root");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use uuid::Uuid;

    use super::*;
    use crate::canonical::canonical_event;
    use crate::event::Envelope;
    use crate::merkle::leaf_hash;

    fn signer() -> Signer {
        Signer::new(Uuid::nil(), &[7; 32]).unwrap()
    }

    fn event(position: u64) -> Envelope {
        let mut event = Envelope {
            position: Position::new(position),
            id: Uuid::nil(),
            stream: StreamId::new("system").unwrap(),
            version: position,
            event_type: "Happened".to_owned(),
            schema: 1,
            at: Timestamp::from_second(i64::try_from(position).unwrap()).unwrap(),
            actor: "system".to_owned(),
            request_id: String::new(),
            data: Map::new(),
            sealed: None,
            leaf: [0; 32],
        };
        event.leaf = leaf_hash(&canonical_event(&event).unwrap());
        event
    }

    fn log() -> (Vec<Envelope>, Head) {
        let events: Vec<_> = (1..=5).map(event).collect();
        let mut frontier = Frontier::default();
        for event in &events {
            frontier.push(event.leaf);
        }
        let root = frontier.root();
        let note = signer().sign(5, &root);
        let head = Head { position: Position::new(5), at: events[4].at, root, frontier, note };
        (events, head)
    }

    fn verify_log(events: &[Envelope], head: &Head) -> Result<(), Finding> {
        let mut sequence = LogSequence::default();
        events.iter().try_for_each(|event| sequence.take(&event.into()))?;
        sequence.compare(head, &signer())
    }

    #[test]
    fn intact_log_passes() {
        let (events, head) = log();
        assert_eq!(verify_log(&events, &head), Ok(()));
        assert_eq!(verify_log(&[], &Head::default()), Ok(()));
    }

    fn rehash(event: &mut Envelope) {
        event.leaf = leaf_hash(&canonical_event(event).unwrap());
    }

    type Change = fn(&mut Vec<Envelope>, &mut Head);

    #[test]
    fn every_change_is_found_at_its_position() {
        let cases: [(&str, u64, Change); 8] = [
            ("it is missing", 3, |events, _| drop(events.remove(2))),
            ("version 7 where 3", 3, |events, _| events[2].version = 7),
            ("its time", 3, |events, _| events[2].at = Timestamp::UNIX_EPOCH),
            ("the root", 5, |events, _| {
                events[2].actor = "user-eve".to_owned();
                rehash(&mut events[2]);
            }),
            ("another time", 4, |events, _| drop(events.pop())),
            ("another time", 5, |_, head| head.at = Timestamp::UNIX_EPOCH),
            ("the frontier", 5, |_, head| head.frontier = Frontier::default()),
            ("the signature", 5, |_, head| head.note = signer().sign(6, &head.root)),
        ];
        for (what, position, change) in cases {
            let (mut events, mut head) = log();
            change(&mut events, &mut head);
            let finding = verify_log(&events, &head).unwrap_err();
            assert!(finding.what.contains(what), "{what}: {finding}");
            assert_eq!(finding.position, Position::new(position), "{finding}");
        }
    }
}
