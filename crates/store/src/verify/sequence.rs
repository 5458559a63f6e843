//! Checks the order of the log: positions, stream versions, times, and the Merkle root up to the head. Pure;
//! reading belongs to `pages`.

use std::sync::Arc;

use jiff::Timestamp;

use super::finding::{Finding, FindingKind};
use super::streams::Streams;
use crate::checkpoint::{SignedHead, Signer};
use crate::env::Env;
use crate::event::{Envelope, Position, StreamId};
use crate::head::Head;
use crate::merkle::{Frontier, Hash};
use crate::tiles::TileStore;

/// The fields of an event that depend on the events before it.
pub(super) struct EventHeader {
    pub(super) position: Position,
    pub(super) stream: StreamId,
    pub(super) version: u64,
    pub(super) at: Timestamp,
    pub(super) leaf: Hash,
}

impl From<&Envelope> for EventHeader {
    fn from(event: &Envelope) -> Self {
        let Envelope { position, version, at, leaf, .. } = *event;
        Self { position, stream: event.stream.clone(), version, at, leaf }
    }
}

/// The state of the log after the events verified so far.
pub(super) struct LogSequence {
    last: Option<(Position, Timestamp)>,
    pub(super) streams: Streams,
    frontier: Frontier,
    tiles: Option<Arc<dyn TileStore>>,
    tile_mismatch: Option<Position>,
    /// A head that was signed earlier and must be a prefix of the log.
    since: Option<SignedHead>,
}

impl LogSequence {
    /// An empty log.
    pub(super) fn new(env: &Env) -> Self {
        Self {
            last: None,
            streams: Streams::new(env),
            frontier: Frontier::default(),
            tiles: None,
            tile_mismatch: None,
            since: None,
        }
    }

    /// An empty log that is compared with its tiles, and with a head that was signed earlier.
    pub(super) fn with_tiles(tiles: &Arc<dyn TileStore>, since: Option<SignedHead>, env: &Env) -> Self {
        Self { tiles: Some(Arc::clone(tiles)), since, ..Self::new(env) }
    }

    pub(super) fn tiles(&self) -> Option<Arc<dyn TileStore>> {
        self.tiles.clone()
    }

    /// Records the first event whose leaf hash differs from the one in the tiles.
    pub(super) fn note_tile_mismatch(&mut self, tile_mismatch: Option<Position>) {
        self.tile_mismatch = self.tile_mismatch.or(tile_mismatch);
    }

    /// The first event whose leaf hash differs from the one in the tiles.
    pub(super) fn tile_mismatch(&self) -> Option<Position> {
        self.tile_mismatch
    }

    pub(super) fn position(&self) -> Position {
        self.last.map_or(Position::START, |(position, _)| position)
    }

    pub(super) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Checks and applies the next event. Its leaf hash has been checked already.
    pub(super) fn apply(&mut self, event: &EventHeader) -> Result<(), Finding> {
        let expected = self.position().next();
        if event.position != expected {
            return Err(Finding::new(expected, FindingKind::EventMissing { next: event.position }));
        }
        let expected = self.streams.version(&event.stream) + 1;
        if event.version != expected {
            let (stream, found) = (event.stream.clone(), event.version);
            let kind = FindingKind::StreamVersionMismatch { stream, expected, found };
            return Err(Finding::new(event.position, kind));
        }
        if let Some((_, previous)) = self.last.filter(|(_, previous)| *previous > event.at) {
            let kind = FindingKind::TimeReversed { at: event.at, previous };
            return Err(Finding::new(event.position, kind));
        }
        if !event.stream.owns_key() && self.streams.version(&event.stream.key_owner()) == 0 {
            let (stream, owner) = (event.stream.clone(), event.stream.key_owner());
            return Err(Finding::new(event.position, FindingKind::KeyOwnerMissing { stream, owner }));
        }
        self.streams.set_version(&event.stream, expected);
        self.frontier.push(event.leaf);
        self.last = Some((event.position, event.at));
        self.check_since(event.position)
    }

    fn check_since(&self, position: Position) -> Result<(), Finding> {
        match &self.since {
            Some(since) if since.size == position.get() && since.root != self.root() => {
                Err(Finding::new(position, FindingKind::CheckpointMismatch))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the log is not shorter than the earlier head.
    pub(super) fn check_length(&self) -> Result<(), Finding> {
        let Some(since) = self.since.as_ref().filter(|since| since.size > self.position().get()) else {
            return Ok(());
        };
        let kind = FindingKind::LogTruncated { signed: since.size, last: self.position() };
        Err(Finding::new(self.position().next(), kind))
    }

    /// Checks that the head follows from the events.
    pub(super) fn check_head(&self, head: &Head, signer: &Signer) -> Result<(), Finding> {
        let found = |kind| Err(Finding::new(self.position(), kind));
        if self.last.is_some_and(|(_, at)| at != head.at) {
            return found(FindingKind::HeadTimeMismatch);
        }
        if head.root != self.root() {
            return found(FindingKind::HeadRootMismatch);
        }
        if head.frontier != self.frontier {
            return found(FindingKind::HeadFrontierMismatch);
        }
        // Ed25519 gives one signature for one text (RFC 8032 §5.1.6).
        if self.last.is_some() && head.note != signer.sign(self.frontier.size(), &self.root()) {
            return found(FindingKind::HeadSignatureMismatch);
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
        let mut sequence = LogSequence::new(&Env::system());
        events.iter().try_for_each(|event| sequence.apply(&event.into()))?;
        sequence.check_head(head, &signer())
    }

    #[test]
    fn intact_log_passes() {
        let (events, head) = log();
        assert_eq!(verify_log(&events, &head), Ok(()));
        assert_eq!(verify_log(&[], &Head::default()), Ok(()));
    }

    #[test]
    fn event_of_a_stream_without_its_key_owner_is_found() {
        let mut logins = event(1);
        logins.stream = StreamId::new("logins-1").unwrap();
        let finding = LogSequence::new(&Env::system()).apply(&(&logins).into()).unwrap_err();
        assert_eq!((finding.kind.code(), finding.position), ("key_owner_missing", Position::new(1)));
    }

    fn rehash(event: &mut Envelope) {
        event.leaf = leaf_hash(&canonical_event(event).unwrap());
    }

    type Change = fn(&mut Vec<Envelope>, &mut Head);

    #[test]
    fn every_change_is_found_at_its_position() {
        let cases: [(&str, u64, Change); 8] = [
            ("event_missing", 3, |events, _| drop(events.remove(2))),
            ("stream_version_mismatch", 3, |events, _| events[2].version = 7),
            ("time_reversed", 3, |events, _| events[2].at = Timestamp::UNIX_EPOCH),
            ("head_root_mismatch", 5, |events, _| {
                events[2].actor = "user-eve".to_owned();
                rehash(&mut events[2]);
            }),
            ("head_time_mismatch", 4, |events, _| drop(events.pop())),
            ("head_time_mismatch", 5, |_, head| head.at = Timestamp::UNIX_EPOCH),
            ("head_frontier_mismatch", 5, |_, head| head.frontier = Frontier::default()),
            ("head_signature_mismatch", 5, |_, head| head.note = signer().sign(6, &head.root)),
        ];
        for (code, position, change) in cases {
            let (mut events, mut head) = log();
            change(&mut events, &mut head);
            let finding = verify_log(&events, &head).unwrap_err();
            assert_eq!(finding.kind.code(), code, "{finding}");
            assert_eq!(finding.position, Position::new(position), "{finding}");
        }
    }
}
