//! Attacks on more than one field of one event. The log: users sign up at positions 1, 2, 3, 4 and 6; at 5
//! the user of position 2 is deactivated.

use store::checkpoint::Signer;
use store::key_store::{ClaimHash, KeyEntry};
use store::merkle::Frontier;
use store::{Envelope, Position, StreamId};
use uuid::Uuid;

use super::fields::{LEAF, ROOT, SEALED};
use super::raw_database::RawDatabase;

/// A direct change of the database.
pub(super) struct Attack {
    pub(super) what: &'static str,
    pub(super) change: fn(&mut RawDatabase),
    /// The position that is named.
    pub(super) position: u64,
    /// The code of the finding.
    pub(super) code: &'static str,
}

const SIGNATURE: &str = "head_signature_mismatch";
const MISSING: &str = "event_missing_before_head";
const OTHER_TIME: &str = "head_time_mismatch";
const WRONG_KEY: &str = "key_undecryptable";

/// Inserted, removed, reordered and reassigned events.
pub(super) const EVENT_ATTACKS: [Attack; 16] = [
    Attack { what: "event removed", change: |log| remove(log, 4), position: 4, code: "event_missing" },
    Attack { what: "last event removed", change: |log| remove(log, 6), position: 6, code: MISSING },
    Attack {
        what: "event removed, positions renumbered",
        change: |log| remove_and_renumber(log, 4),
        position: 4,
        code: LEAF,
    },
    Attack {
        what: "event removed, positions renumbered, leaves recomputed",
        change: |log| and_recompute_leaves(log, |log| remove_and_renumber(log, 4)),
        position: 6,
        code: MISSING,
    },
    Attack {
        what: "event removed, positions renumbered, leaves and head recomputed",
        change: |log| and_recompute_all(log, |log| remove_and_renumber(log, 4)),
        position: 5,
        code: SIGNATURE,
    },
    Attack { what: "event inserted", change: |log| insert(log, 4), position: 5, code: LEAF },
    Attack {
        what: "event inserted, leaves recomputed",
        change: |log| and_recompute_leaves(log, |log| insert(log, 4)),
        position: 6,
        code: OTHER_TIME,
    },
    Attack {
        what: "event inserted, leaves and head recomputed",
        change: |log| and_recompute_all(log, |log| insert(log, 4)),
        position: 7,
        code: SIGNATURE,
    },
    Attack {
        what: "event inserted at the end",
        change: |log| insert(log, 7),
        position: 7,
        code: "event_beyond_head",
    },
    Attack { what: "two events swapped", change: swap, position: 2, code: LEAF },
    Attack {
        what: "two events swapped, leaves recomputed",
        change: |log| and_recompute_leaves(log, swap),
        position: 3,
        code: "time_reversed",
    },
    Attack {
        what: "two events swapped, times kept and leaves recomputed",
        change: |log| and_recompute_leaves(log, swap_keeping_times),
        position: 6,
        code: ROOT,
    },
    Attack {
        what: "events moved to an unknown stream",
        change: |log| reassign(log, &unknown_stream()),
        position: 2,
        code: LEAF,
    },
    Attack {
        what: "events moved to an unknown stream, leaves recomputed",
        change: |log| and_recompute_leaves(log, |log| reassign(log, &unknown_stream())),
        position: 2,
        code: "data_key_missing",
    },
    Attack {
        what: "events moved to the stream of another user",
        change: reassign_to_3,
        position: 2,
        code: LEAF,
    },
    Attack {
        what: "events moved to the stream of another user, leaves recomputed",
        change: |log| and_recompute_leaves(log, reassign_to_3),
        position: 2,
        code: SEALED,
    },
];

/// The head, and the log up to it.
pub(super) const HEAD_ATTACKS: [Attack; 12] = [
    Attack { what: "root", change: |log| log.head.root[0] ^= 1, position: 6, code: ROOT },
    Attack { what: "zero root", change: |log| log.head.root = [0; 32], position: 6, code: ROOT },
    Attack { what: "signature", change: change_signature, position: 6, code: SIGNATURE },
    Attack {
        what: "no signature",
        change: |log| log.head.note = String::new(),
        position: 6,
        code: SIGNATURE,
    },
    Attack { what: "signature by another key", change: sign_as_another, position: 6, code: SIGNATURE },
    Attack { what: "frontier", change: change_frontier, position: 6, code: "head_frontier_mismatch" },
    Attack {
        what: "time",
        change: |log| log.head.at = jiff::Timestamp::UNIX_EPOCH,
        position: 6,
        code: OTHER_TIME,
    },
    Attack {
        what: "position",
        change: |log| log.head.position = Position::new(5),
        position: 5,
        code: OTHER_TIME,
    },
    Attack { what: "tail rewritten", change: rewrite_tail, position: 4, code: LEAF },
    Attack {
        what: "tail rewritten, leaves recomputed",
        change: |log| and_recompute_leaves(log, rewrite_tail),
        position: 6,
        code: ROOT,
    },
    Attack {
        what: "tail rewritten, leaves and head recomputed",
        change: |log| and_recompute_all(log, rewrite_tail),
        position: 6,
        code: SIGNATURE,
    },
    Attack {
        what: "tail rewritten, leaves and head recomputed, signed by another key",
        change: |log| {
            and_recompute_all(log, rewrite_tail);
            sign_as_another(log);
        },
        position: 6,
        code: SIGNATURE,
    },
];

/// Unique claims and keys of the user at position 3.
pub(super) const KEY_STORE_ATTACKS: [Attack; 10] = [
    Attack {
        what: "claims removed",
        change: |log| log.key_entry(3).1.clear(),
        position: 3,
        code: "claims_mismatch",
    },
    Attack {
        what: "unexpected claim added",
        change: |log| log.key_entry(3).1.push(claim()),
        position: 3,
        code: "claims_mismatch",
    },
    Attack {
        // Of three claims one may be missing, and another in its place: that of the skeleton.
        what: "claim removed and another replaced",
        change: |log| {
            let claims = &mut log.key_entry(3).1;
            claims.pop();
            claims[0] = claim();
        },
        position: 3,
        code: "claims_mismatch",
    },
    Attack {
        what: "claim of another user added",
        change: |log| {
            let moved = log.key_entry(4).1.pop().unwrap();
            log.key_entry(3).1.push(moved);
        },
        position: 3,
        code: "claims_mismatch",
    },
    Attack {
        what: "data key of another user",
        change: |log| log.key_entry(3).0 = log.key_entry(4).0.clone(),
        position: 3,
        code: WRONG_KEY,
    },
    Attack {
        what: "data key of another user, and a later event changed",
        change: |log| {
            log.key_entry(3).0 = log.key_entry(4).0.clone();
            "user-eve".clone_into(&mut log.event(6).actor);
        },
        position: 3,
        code: WRONG_KEY,
    },
    Attack {
        what: "malformed data key",
        change: |log| log.key_entry(3).0 = KeyEntry::Key(vec![7; 64]),
        position: 3,
        code: "key_missing",
    },
    Attack {
        what: "data key destroyed",
        change: |log| *log.key_entry(3) = (KeyEntry::Erased, Vec::new()),
        position: 3,
        code: "key_destroyed",
    },
    Attack {
        what: "key store entry removed",
        change: |log| drop(log.key_entries.remove(&log.stream(3))),
        position: 3,
        code: "data_key_missing",
    },
    Attack {
        what: "orphaned entry",
        change: |log| drop(log.key_entries.insert(unknown_stream(), (KeyEntry::Key(vec![7]), Vec::new()))),
        position: 0,
        code: "key_entry_orphaned",
    },
];

/// A stream without events.
pub(super) fn unknown_stream() -> StreamId {
    StreamId::new(format!("user-{}", Uuid::nil().hyphenated())).unwrap()
}

fn claim() -> ClaimHash {
    ClaimHash::from_slice(&[7; 32]).unwrap()
}

fn and_recompute_leaves(log: &mut RawDatabase, change: fn(&mut RawDatabase)) {
    change(log);
    log.recompute_leaves();
}

fn and_recompute_all(log: &mut RawDatabase, change: fn(&mut RawDatabase)) {
    and_recompute_leaves(log, change);
    log.recompute_head();
}

fn remove(log: &mut RawDatabase, position: u64) {
    log.events.retain(|event| event.position.get() != position);
}

fn remove_and_renumber(log: &mut RawDatabase, position: u64) {
    remove(log, position);
    log.renumber();
}

/// Inserts a well-formed event that was never appended.
pub(super) fn insert(log: &mut RawDatabase, position: usize) {
    let before = log.events[position - 2].clone();
    let stream = StreamId::new(format!("other-{}", Uuid::nil().hyphenated())).unwrap();
    let inserted = Envelope { id: Uuid::nil(), stream, version: 1, sealed: None, ..before };
    log.events.insert(position - 1, inserted);
    let old: Vec<_> = log.events.iter().map(|event| event.leaf).collect();
    log.renumber();
    log.recompute_leaves();
    for (event, leaf) in log.events.iter_mut().zip(old).skip(position) {
        event.leaf = leaf;
    }
}

fn swap(log: &mut RawDatabase) {
    log.events.swap(1, 2);
    log.renumber();
}

fn swap_keeping_times(log: &mut RawDatabase) {
    swap(log);
    let (second, third) = (log.event(2).at, log.event(3).at);
    log.event(2).at = third;
    log.event(3).at = second;
}

/// All events of the user of position 2.
fn reassign(log: &mut RawDatabase, to: &StreamId) {
    let from = log.stream(2);
    for event in log.events.iter_mut().filter(|event| event.stream == from) {
        event.stream = to.clone();
    }
}

fn reassign_to_3(log: &mut RawDatabase) {
    let to = log.stream(3);
    reassign(log, &to);
    for (event, version) in log.events.iter_mut().filter(|event| event.stream == to).zip(1..) {
        event.version = version;
    }
}

fn rewrite_tail(log: &mut RawDatabase) {
    for position in 4..=6 {
        "user-eve".clone_into(&mut log.event(position).actor);
    }
}

/// Changes a letter of the signature.
fn change_signature(log: &mut RawDatabase) {
    let note = &mut log.head.note;
    let index = note.trim_end().len() - 10;
    let letter = if note.as_bytes()[index] == b'A' { "B" } else { "A" };
    note.replace_range(index..=index, letter);
}

/// Signs the head of the same log correctly, but with another key.
fn sign_as_another(log: &mut RawDatabase) {
    let origin = log.head.note.lines().next().unwrap().strip_prefix("aegis/").unwrap();
    let signer = Signer::new(Uuid::parse_str(origin).unwrap(), &[7; 32]).unwrap();
    log.head.note = signer.sign(log.head.position.get(), &log.head.root);
}

fn change_frontier(log: &mut RawDatabase) {
    let mut bytes = log.head.frontier.to_bytes();
    bytes[0] ^= 1;
    log.head.frontier = Frontier::from_bytes(log.head.position.get(), &bytes).unwrap();
}
