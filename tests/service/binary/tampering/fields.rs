//! Attacks on one field of one event, with the old leaf and with a recomputed one.

use store::Envelope;
use uuid::Uuid;

use super::attacks::Attack;
use super::raw_database::RawDatabase;

/// The code if the leaf hash does not match the event.
pub(super) const LEAF: &str = "leaf_mismatch";
/// The code if the leaf hashes match, but the root is not the signed one.
pub(super) const ROOT: &str = "head_root_mismatch";
/// The code if a ciphertext belongs to another event.
pub(super) const SEALED: &str = "personal_data_undecryptable";

/// Changes of the event at position 3 without a recomputed leaf.
pub(super) const FIELD_ATTACKS: [Attack; 14] = [
    Attack { what: "id", change: |log| id(log.event(3)), position: 3, code: LEAF },
    Attack { what: "stream", change: |log| stream(log.event(3)), position: 3, code: LEAF },
    Attack {
        what: "version",
        change: |log| log.event(3).version = 2,
        position: 3,
        code: "stream_version_mismatch",
    },
    Attack { what: "type", change: |log| event_type(log.event(3)), position: 3, code: LEAF },
    Attack { what: "schema", change: |log| log.event(3).schema = 2, position: 3, code: LEAF },
    Attack { what: "at", change: |log| later(log.event(3)), position: 3, code: LEAF },
    Attack {
        what: "at, before the previous event",
        change: |log| log.event(3).at = jiff::Timestamp::UNIX_EPOCH,
        position: 3,
        code: "time_reversed",
    },
    Attack { what: "actor", change: |log| actor(log.event(3)), position: 3, code: LEAF },
    Attack { what: "request_id", change: |log| request_id(log.event(3)), position: 3, code: LEAF },
    Attack { what: "data", change: |log| data(log.event(5)), position: 5, code: LEAF },
    Attack { what: "sealed", change: |log| sealed(log.event(3)), position: 3, code: LEAF },
    Attack { what: "sealed, removed", change: |log| log.event(3).sealed = None, position: 3, code: LEAF },
    Attack { what: "sealed, of another event", change: ciphertext_of_another, position: 3, code: LEAF },
    Attack { what: "leaf", change: |log| log.event(3).leaf[31] ^= 1, position: 3, code: LEAF },
];

/// The same with a recomputed leaf: only the encrypted data and the signed root reveal them.
pub(super) const FIELD_ATTACKS_WITH_RECOMPUTED_LEAF: [Attack; 13] = [
    Attack { what: "id", change: |log| id(log.event(3)), position: 3, code: SEALED },
    Attack { what: "stream", change: |log| stream(log.event(3)), position: 3, code: "data_key_missing" },
    Attack {
        what: "version",
        change: |log| log.event(3).version = 2,
        position: 3,
        code: "stream_version_mismatch",
    },
    Attack { what: "type", change: |log| event_type(log.event(3)), position: 3, code: SEALED },
    Attack { what: "schema", change: |log| log.event(3).schema = 2, position: 3, code: SEALED },
    Attack { what: "at", change: |log| later(log.event(6)), position: 6, code: "head_time_mismatch" },
    Attack {
        what: "at, before the previous event",
        change: |log| log.event(3).at = jiff::Timestamp::UNIX_EPOCH,
        position: 3,
        code: "time_reversed",
    },
    Attack { what: "actor", change: |log| actor(log.event(3)), position: 6, code: ROOT },
    Attack { what: "request_id", change: |log| request_id(log.event(3)), position: 6, code: ROOT },
    Attack { what: "data", change: |log| data(log.event(5)), position: 6, code: ROOT },
    Attack { what: "sealed", change: |log| sealed(log.event(3)), position: 3, code: SEALED },
    Attack { what: "a ciphertext of another user", change: ciphertext_of_another, position: 3, code: SEALED },
    Attack {
        what: "a ciphertext of another event of the same user",
        change: |log| log.event(2).sealed = log.event(5).sealed.clone(),
        position: 2,
        code: SEALED,
    },
];

fn id(event: &mut Envelope) {
    event.id = Uuid::nil();
}

fn stream(event: &mut Envelope) {
    event.stream = super::attacks::unknown_stream();
}

fn event_type(event: &mut Envelope) {
    "UserImported".clone_into(&mut event.event_type);
}

fn later(event: &mut Envelope) {
    event.at = jiff::Timestamp::from_millisecond(event.at.as_millisecond() + 1).unwrap();
}

fn actor(event: &mut Envelope) {
    "user-eve".clone_into(&mut event.actor);
}

fn request_id(event: &mut Envelope) {
    "another".clone_into(&mut event.request_id);
}

fn data(event: &mut Envelope) {
    event.data.insert("note".to_owned(), "added".into());
}

fn sealed(event: &mut Envelope) {
    *event.sealed.as_mut().unwrap().last_mut().unwrap() ^= 1;
}

fn ciphertext_of_another(log: &mut RawDatabase) {
    log.event(3).sealed = log.event(4).sealed.clone();
}
