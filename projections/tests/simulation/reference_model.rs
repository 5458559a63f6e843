//! A reference model of the log: an independent, plain implementation of the append rules.

use std::collections::{BTreeMap, BTreeSet};

use store::{Append, AppendError, Claim, StreamId, StreamWrite};

/// The state after a prefix of the log.
#[derive(Default)]
pub(crate) struct ReferenceModel {
    versions: BTreeMap<StreamId, u64>,
    keyed: BTreeSet<StreamId>,
    erased: BTreeSet<StreamId>,
    owners: BTreeMap<(&'static str, String), StreamId>,
}

impl ReferenceModel {
    /// The version of a stream; zero if there is none.
    pub(crate) fn version(&self, stream: &StreamId) -> u64 {
        self.versions.get(stream).copied().unwrap_or_default()
    }

    /// Every stream that has events.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &StreamId> {
        self.versions.keys()
    }

    pub(crate) fn is_keyed(&self, stream: &StreamId) -> bool {
        self.keyed.contains(stream)
    }

    pub(crate) fn is_erased(&self, stream: &StreamId) -> bool {
        self.erased.contains(stream)
    }

    /// Every claim and its owner.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (&'static str, &str, &StreamId)> {
        self.owners.iter().map(|((kind, value), owner)| (*kind, value.as_str(), owner))
    }

    /// Why an append must be rejected in this state, if it must.
    pub(crate) fn violation(&self, append: &Append) -> Option<String> {
        let mut taken = BTreeMap::new();
        for write in &append.writes {
            let (stream, actual) = (&write.stream, self.version(&write.stream));
            if self.is_erased(stream) {
                return Some(format!("{stream} was erased"));
            }
            if !write.expected.holds(actual) {
                return Some(format!("{stream} is at version {actual}, not at {}", write.expected));
            }
            if write.erase && !self.is_keyed(stream) {
                return Some(format!("{stream} has nothing to erase"));
            }
            for claim in &write.take {
                if !self.is_free(append, write, claim) {
                    return Some(format!(
                        "{claim:?} {} belongs to another stream than {stream}",
                        claim.value
                    ));
                }
                if taken.insert((claim.kind, &claim.value), stream).is_some_and(|other| other != stream) {
                    return Some(format!("{claim:?} {} is taken twice at once", claim.value));
                }
            }
        }
        None
    }

    fn is_free(&self, append: &Append, write: &StreamWrite, claim: &Claim) -> bool {
        let Some(owner) = self.owners.get(&(claim.kind, claim.value.clone())) else { return true };
        let gives_back =
            |other: &StreamWrite| other.stream == *owner && (other.erase || other.release.contains(claim));
        *owner == write.stream || append.writes.iter().any(gives_back)
    }

    /// Whether that rejection is correct in this state.
    pub(crate) fn justifies(&self, append: &Append, refusal: &AppendError) -> bool {
        match refusal {
            AppendError::Conflict { stream, expected, actual } => {
                let meant = |write: &StreamWrite| write.stream == *stream && write.expected == *expected;
                append.writes.iter().any(meant) && self.version(stream) == *actual && !expected.holds(*actual)
            }
            AppendError::ClaimTaken { kind } => append.writes.iter().any(|write| {
                let mut wanted = write.take.iter().filter(|claim| claim.kind == *kind);
                wanted.any(|claim| {
                    !self.is_free(append, write, claim) || is_wanted_by_another(append, write, claim)
                })
            }),
            AppendError::Erased { stream } => {
                self.is_erased(stream) && append.writes.iter().any(|write| write.stream == *stream)
            }
            AppendError::Invalid(_) => {
                append.writes.iter().any(|write| write.erase && !self.is_keyed(&write.stream))
            }
            // It depends on no state of the log.
            AppendError::DuplicateRequest
            | AppendError::TooLarge { .. }
            | AppendError::Busy
            | AppendError::ClockJumped(_)
            | AppendError::WrappingKeyRotated { .. }
            | AppendError::Unknown(_)
            | AppendError::Store(_) => true,
        }
    }

    /// Applies a committed append.
    pub(crate) fn apply(&mut self, append: &Append) {
        for write in &append.writes {
            let stream = &write.stream;
            *self.versions.entry(stream.clone()).or_default() += u64::try_from(write.events.len()).unwrap();
            if !write.take.is_empty() || write.events.iter().any(|event| !event.personal.is_empty()) {
                self.keyed.insert(stream.clone());
            }
            self.owners.retain(|(kind, value), owner| {
                let released = write.release.iter().any(|claim| claim.kind == *kind && claim.value == *value);
                owner != stream || !(write.erase || released)
            });
            if write.erase {
                self.keyed.remove(stream);
                self.erased.insert(stream.clone());
            }
        }
        for write in &append.writes {
            for Claim { kind, value } in &write.take {
                self.owners.insert((kind, value.clone()), write.stream.clone());
            }
        }
    }
}

fn is_wanted_by_another(append: &Append, write: &StreamWrite, claim: &Claim) -> bool {
    append.writes.iter().any(|other| other.stream != write.stream && other.take.contains(claim))
}
