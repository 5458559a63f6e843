//! Ways to change a log that concern more than a field of an event. Its events are: users sign up at 1, 2, 3, 4 and 6, and
//! at 5 the user of position 2 is deactivated.

use store::backend::VaultEntry;
use store::checkpoint::Signer;
use store::merkle::Frontier;
use store::vault::ClaimHash;
use store::{Envelope, Position, StreamId};
use uuid::Uuid;

use super::fields::{LEAF, ROOT, SEALED};
use super::record::Record;

/// A way to change a database past the service.
pub(super) struct Kind {
    pub(super) what: &'static str,
    pub(super) change: fn(&mut Record),
    /// The position that is named.
    pub(super) position: u64,
    /// What is said of it, in part.
    pub(super) said: &'static str,
}

const SIGNATURE: &str = "the signature in the head is not that of its position and root";
const MISSING: &str = "it is missing, though the head is at 6";
const OTHER_TIME: &str = "the head has another time than the last event";
const WRONG_KEY: &str = "the key of stream";

/// Events that come, go and change places.
pub(super) const OF_PLACES: [Kind; 16] = [
    Kind {
        what: "removed",
        change: |log| remove(log, 4),
        position: 4,
        said: "it is missing: the next event is at",
    },
    Kind { what: "the last one removed", change: |log| remove(log, 6), position: 6, said: MISSING },
    Kind { what: "removed, gap closed", change: |log| close(log, 4), position: 4, said: LEAF },
    Kind {
        what: "removed, gap closed, leaves made",
        change: |log| then_leaves(log, |log| close(log, 4)),
        position: 6,
        said: MISSING,
    },
    Kind {
        what: "removed, gap closed, leaves and head made",
        change: |log| then_all(log, |log| close(log, 4)),
        position: 5,
        said: SIGNATURE,
    },
    Kind { what: "inserted", change: |log| insert(log, 4), position: 5, said: LEAF },
    Kind {
        what: "inserted, leaves made",
        change: |log| then_leaves(log, |log| insert(log, 4)),
        position: 6,
        said: OTHER_TIME,
    },
    Kind {
        what: "inserted, leaves and head made",
        change: |log| then_all(log, |log| insert(log, 4)),
        position: 7,
        said: SIGNATURE,
    },
    Kind {
        what: "inserted at the end",
        change: |log| insert(log, 7),
        position: 7,
        said: "it is beyond the head, which is at 6",
    },
    Kind { what: "two swapped", change: swap, position: 2, said: LEAF },
    Kind {
        what: "two swapped, leaves made",
        change: |log| then_leaves(log, swap),
        position: 3,
        said: "is before that of the event before",
    },
    Kind {
        what: "two swapped, times left and leaves made",
        change: |log| then_leaves(log, swap_but_times),
        position: 6,
        said: ROOT,
    },
    Kind { what: "reassigned to nobody", change: |log| reassign(log, &nobody()), position: 2, said: LEAF },
    Kind {
        what: "reassigned to nobody, leaves made",
        change: |log| then_leaves(log, |log| reassign(log, &nobody())),
        position: 2,
        said: "is missing from the vault, though it was never erased",
    },
    Kind { what: "reassigned to another user", change: reassign_to_3, position: 2, said: LEAF },
    Kind {
        what: "reassigned to another user, leaves made",
        change: |log| then_leaves(log, reassign_to_3),
        position: 2,
        said: SEALED,
    },
];

/// The head, and the log up to it.
pub(super) const OF_THE_HEAD: [Kind; 12] = [
    Kind { what: "root", change: |log| log.head.root[0] ^= 1, position: 6, said: ROOT },
    Kind { what: "root of nothing", change: |log| log.head.root = [0; 32], position: 6, said: ROOT },
    Kind { what: "signature", change: change_signature, position: 6, said: SIGNATURE },
    Kind { what: "no signature", change: |log| log.head.note = String::new(), position: 6, said: SIGNATURE },
    Kind { what: "another's signature", change: sign_as_another, position: 6, said: SIGNATURE },
    Kind {
        what: "frontier",
        change: change_frontier,
        position: 6,
        said: "the frontier in the head does not follow from the leaves",
    },
    Kind {
        what: "time",
        change: |log| log.head.at = jiff::Timestamp::UNIX_EPOCH,
        position: 6,
        said: OTHER_TIME,
    },
    Kind {
        what: "position",
        change: |log| log.head.position = Position::new(5),
        position: 5,
        said: OTHER_TIME,
    },
    Kind { what: "tail rewritten", change: rewrite_tail, position: 4, said: LEAF },
    Kind {
        what: "tail rewritten, leaves made",
        change: |log| then_leaves(log, rewrite_tail),
        position: 6,
        said: ROOT,
    },
    Kind {
        what: "tail rewritten, leaves and head made",
        change: |log| then_all(log, rewrite_tail),
        position: 6,
        said: SIGNATURE,
    },
    Kind {
        what: "tail rewritten, leaves and head made, signed by another",
        change: |log| {
            then_all(log, rewrite_tail);
            sign_as_another(log);
        },
        position: 6,
        said: SIGNATURE,
    },
];

/// Claims and keys, of the user at position 3.
pub(super) const OF_THE_VAULT: [Kind; 10] = [
    Kind {
        what: "claims taken away",
        change: |log| log.held(3).1.clear(),
        position: 3,
        said: "lacks 2 of the claims that its events say, and holds 0 others",
    },
    Kind {
        what: "a claim too much",
        change: |log| log.held(3).1.push(claim()),
        position: 3,
        said: "lacks 0 of the claims that its events say, and holds 1 others",
    },
    Kind {
        what: "another claim",
        change: |log| log.held(3).1[0] = claim(),
        position: 3,
        said: "lacks 1 of the claims that its events say, and holds 1 others",
    },
    Kind {
        what: "a claim of another user",
        change: |log| {
            let moved = log.held(4).1.pop().unwrap();
            log.held(3).1.push(moved);
        },
        position: 3,
        said: "lacks 0 of the claims that its events say, and holds 1 others",
    },
    Kind {
        what: "a key of another user",
        change: |log| log.held(3).0 = log.held(4).0.clone(),
        position: 3,
        said: WRONG_KEY,
    },
    Kind {
        what: "a key of another user, and an event after theirs",
        change: |log| {
            log.held(3).0 = log.held(4).0.clone();
            "user-eve".clone_into(&mut log.event(6).actor);
        },
        position: 3,
        said: WRONG_KEY,
    },
    Kind {
        what: "a key that is none",
        change: |log| log.held(3).0 = VaultEntry::Key(vec![7; 64]),
        position: 3,
        said: WRONG_KEY,
    },
    Kind {
        what: "a key destroyed",
        change: |log| *log.held(3) = (VaultEntry::Erased, Vec::new()),
        position: 3,
        said: "lost its key",
    },
    Kind {
        what: "an entry removed",
        change: |log| drop(log.vault.remove(&log.stream(3))),
        position: 3,
        said: "is missing from the vault, though it was never erased",
    },
    Kind {
        what: "a stranger in the vault",
        change: |log| drop(log.vault.insert(nobody(), (VaultEntry::Key(vec![7]), Vec::new()))),
        position: 0,
        said: "has no event",
    },
];

/// A user whom no event knows.
pub(super) fn nobody() -> StreamId {
    StreamId::new(format!("user-{}", Uuid::nil().hyphenated())).unwrap()
}

fn claim() -> ClaimHash {
    ClaimHash::from_slice(&[7; 32]).unwrap()
}

fn then_leaves(log: &mut Record, change: fn(&mut Record)) {
    change(log);
    log.make_leaves();
}

fn then_all(log: &mut Record, change: fn(&mut Record)) {
    then_leaves(log, change);
    log.make_head();
}

fn remove(log: &mut Record, position: u64) {
    log.events.retain(|event| event.position.get() != position);
}

fn close(log: &mut Record, position: u64) {
    remove(log, position);
    log.number();
}

/// An event that fits in every way but that nobody has appended it.
pub(super) fn insert(log: &mut Record, position: usize) {
    let before = log.events[position - 2].clone();
    let stream = StreamId::new(format!("token-{}", Uuid::nil().hyphenated())).unwrap();
    let inserted = Envelope { id: Uuid::nil(), stream, version: 1, sealed: None, ..before };
    log.events.insert(position - 1, inserted);
    let old: Vec<_> = log.events.iter().map(|event| event.leaf).collect();
    log.number();
    log.make_leaves();
    for (event, leaf) in log.events.iter_mut().zip(old).skip(position) {
        event.leaf = leaf;
    }
}

fn swap(log: &mut Record) {
    log.events.swap(1, 2);
    log.number();
}

fn swap_but_times(log: &mut Record) {
    swap(log);
    let (second, third) = (log.event(2).at, log.event(3).at);
    log.event(2).at = third;
    log.event(3).at = second;
}

/// All events of the user of position 2.
fn reassign(log: &mut Record, to: &StreamId) {
    let from = log.stream(2);
    for event in log.events.iter_mut().filter(|event| event.stream == from) {
        event.stream = to.clone();
    }
}

fn reassign_to_3(log: &mut Record) {
    let to = log.stream(3);
    reassign(log, &to);
    for (event, version) in log.events.iter_mut().filter(|event| event.stream == to).zip(1..) {
        event.version = version;
    }
}

fn rewrite_tail(log: &mut Record) {
    for position in 4..=6 {
        "user-eve".clone_into(&mut log.event(position).actor);
    }
}

/// Another letter within the signature proper.
fn change_signature(log: &mut Record) {
    let note = &mut log.head.note;
    let place = note.trim_end().len() - 10;
    let letter = if note.as_bytes()[place] == b'A' { "B" } else { "A" };
    note.replace_range(place..=place, letter);
}

/// A good signature of the same log's head, by a key that is not the log's.
fn sign_as_another(log: &mut Record) {
    let origin = log.head.note.lines().next().unwrap().strip_prefix("aegis/").unwrap();
    let signer = Signer::new(Uuid::parse_str(origin).unwrap(), &[7; 32]).unwrap();
    log.head.note = signer.sign(log.head.position.get(), &log.head.root);
}

fn change_frontier(log: &mut Record) {
    let mut bytes = log.head.frontier.to_bytes();
    bytes[0] ^= 1;
    log.head.frontier = Frontier::from_bytes(log.head.position.get(), &bytes).unwrap();
}
