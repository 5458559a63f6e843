//! Whether the claims that the vault holds are those that the events say.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;

use super::chain::Chain;
use super::pages::Says;
use super::{Finding, VerifyError};
use crate::append::Claim;
use crate::backend::VaultEntry;
use crate::error::StoreError;
use crate::event::{Position, Recorded, StreamId};
use crate::event_store::EventStore;
use crate::vault::ClaimHash;

/// Names of streams read at once.
const PAGE: usize = 10_000;
/// How often a stream that differs is looked at again, since it may have changed between two looks.
const LOOKS: usize = 10;

/// The claims that an event takes, and those that it gives back.
#[derive(Clone, Debug, Default)]
pub struct ClaimChange {
    /// Taken by the event's stream.
    pub take: Vec<Claim>,
    /// Given back.
    pub release: Vec<Claim>,
    /// Whether the event erases its stream: key and claims are gone with it.
    pub erases: bool,
}

/// Says which claims an event takes and gives back, or why it cannot be understood.
pub type ClaimReader = fn(&Recorded) -> Result<ClaimChange, String>;

/// What the vault holds of a stream.
pub(super) type Holding = (VaultEntry, Vec<ClaimHash>);
/// What it holds of some.
pub(super) type Holdings = HashMap<StreamId, Holding, RandomState>;

/// What the events say.
#[derive(Default)]
pub(super) struct Told {
    streams: HashMap<StreamId, Stream, RandomState>,
    /// Streams of which the vault held something else when it was read.
    suspects: BTreeSet<StreamId>,
}

#[derive(Default)]
struct Stream {
    last: Position,
    sealed: bool,
    /// An event says so.
    erased: bool,
    claims: Vec<ClaimHash>,
}

impl Told {
    /// Takes in what the events of a page say, and compares what the vault held of their streams later.
    pub(super) fn take(&mut self, page: Vec<Says>, held: &Holdings) {
        let mut told = Vec::with_capacity(page.len());
        for says in page {
            let stream = self.streams.entry(says.stream.clone()).or_default();
            stream.claims.retain(|claim| !says.released.contains(claim));
            stream.claims.extend(says.taken);
            stream.last = says.position;
            stream.sealed |= says.is_sealed;
            stream.erased |= says.erases;
            told.push((says.stream, says.position));
        }
        for (name, position) in told {
            let Some(stream) = self.streams.get(&name).filter(|stream| stream.last == position) else {
                continue;
            };
            if stream.judge(&name, held.get(&name)).is_err() {
                self.suspects.insert(name);
            } else if !self.suspects.is_empty() {
                self.suspects.remove(&name);
            }
        }
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn claims(&self) -> usize {
        self.streams.values().map(|stream| stream.claims.len()).sum()
    }

    /// The last position that speaks of a stream.
    fn last(&self, stream: &StreamId) -> Position {
        self.streams.get(stream).map_or(Position::START, |stream| stream.last)
    }

    /// What is wrong with a stream's vault entry.
    fn judge(&self, name: &StreamId, held: Option<&Holding>) -> Result<(), Finding> {
        self.streams.get(name).unwrap_or(&Stream::default()).judge(name, held)
    }
}

impl Stream {
    /// What is wrong with the vault entry of this stream.
    fn judge(&self, name: &StreamId, held: Option<&Holding>) -> Result<(), Finding> {
        let found = |what: String| Err(Finding::new(self.last, format!("stream {name} {what}")));
        match held {
            None if self.sealed || !self.claims.is_empty() => found("has no entry in the vault".to_owned()),
            None => Ok(()),
            Some(_) if self.last == Position::START => found("is in the vault and has no event".to_owned()),
            Some((VaultEntry::Erased, _)) if !self.erased => {
                found("lost its key, and no event says that it was erased".to_owned())
            }
            Some((VaultEntry::Erased, claims)) if claims.is_empty() => Ok(()),
            Some((VaultEntry::Erased, _)) => found("was erased and still holds claims".to_owned()),
            Some((VaultEntry::Key(_), _)) if self.erased => {
                found("has a key again after it was erased".to_owned())
            }
            Some((VaultEntry::Key(_), claims)) => {
                let missing = self.claims.iter().filter(|claim| !claims.contains(claim)).count();
                let extra = claims.iter().filter(|claim| !self.claims.contains(claim)).count();
                if missing + extra == 0 {
                    return Ok(());
                }
                found(format!("lacks {missing} of the claims that its events say, and holds {extra} others"))
            }
        }
    }
}

impl EventStore {
    /// Compares the vault with what the events say. The vault is read later than the events: what differed is looked at
    /// again, with the events that have come meanwhile, until it stands still.
    pub(super) async fn check_claims(
        &self,
        chain: &mut Chain,
        told: &mut Told,
        reader: ClaimReader,
    ) -> Result<(), VerifyError> {
        let mut suspects = self.strangers(told).await?;
        suspects.extend(told.suspects.iter().cloned());
        for _ in 0..LOOKS {
            if suspects.is_empty() {
                return Ok(());
            }
            self.follow_to_head(chain, told, reader).await?;
            let wrong = self.wrong(told, &suspects).await?;
            let before: HashMap<_, _> = wrong.keys().map(|stream| (stream, told.last(stream))).collect();
            self.follow_to_head(chain, told, reader).await?;
            // Where no event has come in between, the difference stands.
            let stands = wrong.iter().filter(|(stream, _)| before.get(stream) == Some(&told.last(stream)));
            if let Some((_, finding)) = stands.min_by_key(|(_, finding)| finding.position) {
                return Err(finding.clone().into());
            }
            suspects = wrong.into_keys().collect();
        }
        let what = format!(
            "{} streams kept changing while their claims were compared; verify again",
            suspects.len()
        );
        Err(StoreError::Unavailable { what, source: None }.into())
    }

    async fn follow_to_head(
        &self,
        chain: &mut Chain,
        told: &mut Told,
        reader: ClaimReader,
    ) -> Result<(), VerifyError> {
        let head = self.head().await?.position;
        self.follow(chain, told, reader, head, &mut |_, _| {}).await
    }

    /// Those of the streams whose vault entry is not what the events say.
    async fn wrong(
        &self,
        told: &Told,
        streams: &BTreeSet<StreamId>,
    ) -> Result<HashMap<StreamId, Finding>, StoreError> {
        let held = self.backend().held(&streams.iter().cloned().collect::<Vec<_>>()).await?;
        let held: HashMap<_, _> =
            held.into_iter().map(|(stream, entry, claims)| (stream, (entry, claims))).collect();
        let judge = |stream: &StreamId| Some((stream.clone(), told.judge(stream, held.get(stream)).err()?));
        Ok(streams.iter().filter_map(judge).collect())
    }

    /// The streams that are in the vault, and in no event so far.
    async fn strangers(&self, told: &Told) -> Result<BTreeSet<StreamId>, StoreError> {
        let mut strangers = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.backend().holders(after.as_ref(), PAGE).await?;
            strangers.extend(page.iter().filter(|stream| !told.streams.contains_key(*stream)).cloned());
            after = page.last().cloned();
            if page.len() < PAGE {
                return Ok(strangers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_in_which_a_vault_entry_can_be_wrong_is_told() {
        let claim = |byte| ClaimHash::from_slice(&[byte; 32]).unwrap();
        let key = || VaultEntry::Key(vec![1]);
        let stream = |sealed, erased, claims: &[u8]| Stream {
            last: Position::new(7),
            sealed,
            erased,
            claims: claims.iter().copied().map(claim).collect(),
        };
        let no_event = Stream::default();
        for (told, held, wrong) in [
            (stream(true, false, &[1, 2]), Some((key(), vec![claim(2), claim(1)])), None),
            (stream(false, false, &[]), None, None),
            (stream(true, true, &[1]), Some((VaultEntry::Erased, vec![])), None),
            (stream(true, false, &[]), None, Some("has no entry in the vault")),
            (stream(false, false, &[1]), None, Some("has no entry in the vault")),
            (no_event, Some((key(), vec![])), Some("is in the vault and has no event")),
            (
                stream(true, false, &[]),
                Some((VaultEntry::Erased, vec![])),
                Some("lost its key, and no event says"),
            ),
            (stream(true, true, &[]), Some((VaultEntry::Erased, vec![claim(1)])), Some("still holds claims")),
            (stream(true, true, &[]), Some((key(), vec![])), Some("has a key again")),
            (stream(true, false, &[1]), Some((key(), vec![claim(2)])), Some("lacks 1 of the claims")),
        ] {
            let name = StreamId::new("user-1").unwrap();
            let streams = HashMap::from_iter([(name.clone(), told)]);
            let told = Told { streams, ..Told::default() };
            let found = told.judge(&name, held.as_ref()).err().map(|finding| finding.what);
            assert_eq!(found.is_some(), wrong.is_some(), "{held:?}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(wrong.unwrap_or_default()), "{held:?}: {found}");
        }
    }
}
