//! What verification remembers of each stream, in 24 bytes: its version, and a digest of the key store entry
//! that its events imply. Names and claims are kept as keyed hashes under a random key of this run, so that
//! no one who wrote to the database can have prepared two that collide.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use foldhash::fast::RandomState;

use super::claims::{EventEffects, StoredEntry};
use crate::env::Env;
use crate::event::StreamId;
use crate::key_store::{ClaimHash, KeyEntry};

/// Number of tables. A table doubles when it is full and then needs its old and its new memory; one large
/// table would take half as much again at that moment.
const TABLES: usize = 256;

/// The keyed hash of a stream's name: with a billion streams, two are equal with a probability of 1 to 10^11.
type StreamKey = [u8; 12];

/// The streams of the events verified so far.
pub(super) struct Streams {
    key: hmac::Key,
    tables: Vec<HashMap<StreamKey, StreamState, RandomState>>,
}

/// The state of a stream after the events verified so far.
#[derive(Clone, Copy, Default)]
pub(super) struct StreamState {
    /// Its version. No stream gets four billion events.
    version: u32,
    entry: EntryDigest,
}

impl Streams {
    pub(super) fn new(env: &Env) -> Self {
        let key: [u8; 32] = env.bytes();
        let tables = std::iter::repeat_with(HashMap::default).take(TABLES).collect();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), tables }
    }

    /// The number of streams.
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(HashMap::len).sum()
    }

    /// The version of a stream; zero if it has no event.
    pub(super) fn version(&self, name: &StreamId) -> u64 {
        self.get(name).version.into()
    }

    /// Whether an event erased the stream.
    pub(super) fn is_erased(&self, name: &StreamId) -> bool {
        self.get(name).entry.is_erased()
    }

    /// Sets the version of a stream.
    pub(super) fn set_version(&mut self, name: &StreamId, version: u64) {
        self.change(name, |state| state.version = u32::try_from(version).unwrap_or(u32::MAX));
    }

    /// Applies what an event does to the key store entry of its stream, whose claims are `held` now. Those that it
    /// may lack count if it has them, when they are taken and when they are released.
    pub(super) fn apply(&mut self, effects: &EventEffects, held: &[ClaimHash]) {
        let sum_of_held = |claims: &[ClaimHash]| {
            self.sum(&claims.iter().filter(|claim| held.contains(claim)).copied().collect::<Vec<_>>())
        };
        let taken = self.sum(&effects.taken).wrapping_add(sum_of_held(&effects.taken_if_free));
        let released = self.sum(&effects.released).wrapping_add(sum_of_held(&effects.released_if_held));
        self.change(&effects.stream, |state| {
            let claims = state.entry.claims().wrapping_add(taken).wrapping_sub(released);
            let sealed = state.entry.is_sealed() || effects.is_sealed;
            state.entry = EntryDigest::new(claims, sealed, state.entry.is_erased() || effects.erases);
        });
    }

    /// Whether the stored entry of a stream is the one that its events imply. "No" may also mean that an
    /// event released a claim which its stream did not hold, or that another stream held one: the events of the
    /// stream decide.
    pub(super) fn agrees(&self, name: &StreamId, stored: Option<&StoredEntry>) -> bool {
        let expected = self.get(name).entry;
        match stored {
            None => !expected.is_sealed() && expected.claims() == 0,
            Some((KeyEntry::Erased, claims)) => expected.is_erased() && claims.is_empty(),
            Some((KeyEntry::Key(_), claims)) => {
                !expected.is_erased() && expected.claims() == self.sum(claims)
            }
        }
    }

    fn get(&self, name: &StreamId) -> StreamState {
        let key = self.stream_key(name);
        self.tables.get(table(key)).and_then(|table| table.get(&key)).copied().unwrap_or_default()
    }

    fn change(&mut self, name: &StreamId, change: impl FnOnce(&mut StreamState)) {
        let key = self.stream_key(name);
        if let Some(table) = self.tables.get_mut(table(key)) {
            change(table.entry(key).or_default());
        }
    }

    fn stream_key(&self, name: &StreamId) -> StreamKey {
        let hash = hmac::sign(&self.key, name.as_str().as_bytes());
        hash.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// The sum of the hashes of claims, which does not depend on their order, modulo 2^62.
    fn sum(&self, claims: &[ClaimHash]) -> u64 {
        let hash = |claim: &ClaimHash| {
            let hash = hmac::sign(&self.key, claim.as_bytes());
            u64::from_le_bytes(hash.as_ref().first_chunk().copied().unwrap_or_default())
        };
        claims.iter().map(hash).fold(0, u64::wrapping_add) & EntryDigest::CLAIMS
    }
}

fn table(key: StreamKey) -> usize {
    let [.., last] = key;
    usize::from(last)
}

/// The sum of the hashes of a stream's claims in the lower 62 bits, then whether it was erased and whether it
/// has personal data. Bytes, because a number would be aligned to eight of them.
#[derive(Clone, Copy, Default)]
struct EntryDigest([u8; 8]);

impl EntryDigest {
    const CLAIMS: u64 = (1 << 62) - 1;
    const ERASED: u64 = 1 << 62;
    const SEALED: u64 = 1 << 63;

    fn new(claims: u64, sealed: bool, erased: bool) -> Self {
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let digest = claims & Self::CLAIMS | flag(sealed, Self::SEALED) | flag(erased, Self::ERASED);
        Self(digest.to_le_bytes())
    }

    fn claims(self) -> u64 {
        u64::from_le_bytes(self.0) & Self::CLAIMS
    }

    fn is_sealed(self) -> bool {
        u64::from_le_bytes(self.0) & Self::SEALED != 0
    }

    fn is_erased(self) -> bool {
        u64::from_le_bytes(self.0) & Self::ERASED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;

    fn stream(number: usize) -> StreamId {
        StreamId::new(format!("user-{number}")).unwrap()
    }

    fn claim(byte: u8) -> ClaimHash {
        ClaimHash::from_slice(&[byte; 32]).unwrap()
    }

    fn effects(taken: &[u8], released: &[u8]) -> EventEffects {
        let claims = |bytes: &[u8]| bytes.iter().copied().map(claim).collect();
        EventEffects {
            stream: stream(1),
            position: Position::new(1),
            is_sealed: true,
            erases: false,
            owner: None,
            taken: claims(taken),
            taken_if_free: Vec::new(),
            released: claims(released),
            released_if_held: Vec::new(),
        }
    }

    /// The memory of a table: hashbrown has a power of two of slots, of which it fills seven eighths, each
    /// with a byte of its own.
    fn bytes(streams: &Streams) -> usize {
        let slots = |capacity: usize| (capacity * 8 / 7).next_power_of_two();
        let slot = size_of::<(StreamKey, StreamState)>() + 1;
        streams.tables.iter().map(|table| slots(table.capacity()) * slot).sum()
    }

    #[test]
    fn stream_takes_at_most_64_bytes() {
        const STREAMS: usize = 200_000;
        let mut streams = Streams::new(&Env::system());
        for number in 0..STREAMS {
            streams.set_version(&stream(number), 1);
        }
        assert_eq!(streams.len(), STREAMS);
        let each = bytes(&streams) / STREAMS;
        println!("{each} bytes each");
        assert!(each <= 64, "{each} bytes each");
    }

    #[test]
    fn entry_agrees_if_its_claims_are_those_of_the_events_in_any_order() {
        let mut streams = Streams::new(&Env::system());
        streams.apply(&effects(&[1, 2], &[]), &[]);
        streams.apply(&effects(&[3], &[1]), &[]);
        let key = |claims: &[u8]| {
            Some((KeyEntry::Key(vec![1]), claims.iter().copied().map(claim).collect::<Vec<_>>()))
        };
        for (stored, agrees) in [
            (key(&[3, 2]), true),
            (key(&[2, 3]), true),
            (key(&[2]), false),
            (key(&[2, 3, 1]), false),
            (key(&[2, 2]), false),
            (None, false),
            (Some((KeyEntry::Erased, vec![])), false),
        ] {
            assert_eq!(streams.agrees(&stream(1), stored.as_ref()), agrees, "{stored:?}");
        }
        streams.apply(&EventEffects { erases: true, ..effects(&[], &[]) }, &[]);
        assert!(streams.agrees(&stream(1), Some(&(KeyEntry::Erased, vec![]))));
        assert!(!streams.agrees(&stream(1), Some(&(KeyEntry::Erased, vec![claim(2)]))));
        assert!(!streams.agrees(&stream(1), key(&[2, 3]).as_ref()));
    }
}
