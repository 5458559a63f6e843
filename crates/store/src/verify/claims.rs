//! Whether the claims that the vault holds are those that the events say.

use std::collections::{BTreeSet, HashMap};

use super::chain::Chain;
use super::pages::Says;
use super::{Finding, VerifyError};
use crate::append::Claim;
use crate::backend::{Held, VaultEntry, VaultRange};
use crate::error::StoreError;
use crate::event::{Position, Recorded, StreamId};
use crate::event_store::EventStore;
use crate::vault::ClaimHash;

/// Vault entries read at once.
const PAGE: usize = 1000;
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

/// What the events say.
#[derive(Default)]
pub(super) struct Told(HashMap<StreamId, Stream>);

#[derive(Default)]
struct Stream {
    last: Position,
    sealed: bool,
    /// An event says so.
    erased: bool,
    claims: Vec<ClaimHash>,
    /// The vault has an entry of it.
    has_entry: bool,
}

impl Told {
    pub(super) fn take(&mut self, says: Says) {
        let stream = self.0.entry(says.stream).or_default();
        stream.claims.retain(|claim| !says.released.contains(claim));
        stream.claims.extend(says.taken);
        stream.last = says.position;
        stream.sealed |= says.is_sealed;
        stream.erased |= says.erases;
    }

    pub(super) fn streams(&self) -> usize {
        self.0.len()
    }

    pub(super) fn claims(&self) -> usize {
        self.0.values().map(|stream| stream.claims.len()).sum()
    }

    /// The last position that speaks of a stream.
    fn last(&self, stream: &StreamId) -> Position {
        self.0.get(stream).map_or(Position::START, |stream| stream.last)
    }

    /// What is wrong with a stream's vault entry.
    fn judge(&self, name: &StreamId, held: Option<&(VaultEntry, Vec<ClaimHash>)>) -> Result<(), Finding> {
        let unknown = Stream::default();
        let told = self.0.get(name).unwrap_or(&unknown);
        let found = |what: String| Err(Finding::new(told.last, format!("stream {name} {what}")));
        match held {
            None if told.sealed || !told.claims.is_empty() => found("has no entry in the vault".to_owned()),
            None => Ok(()),
            Some(_) if told.last == Position::START => found("is in the vault and has no event".to_owned()),
            Some((VaultEntry::Erased, _)) if !told.erased => {
                found("lost its key, and no event says that it was erased".to_owned())
            }
            Some((VaultEntry::Erased, claims)) if claims.is_empty() => Ok(()),
            Some((VaultEntry::Erased, _)) => found("was erased and still holds claims".to_owned()),
            Some((VaultEntry::Key(_), _)) if told.erased => {
                found("has a key again after it was erased".to_owned())
            }
            Some((VaultEntry::Key(_), claims)) => {
                let missing = told.claims.iter().filter(|claim| !claims.contains(claim)).count();
                let extra = claims.iter().filter(|claim| !told.claims.contains(claim)).count();
                if missing + extra == 0 {
                    return Ok(());
                }
                found(format!("lacks {missing} of the claims that its events say, and holds {extra} others"))
            }
        }
    }
}

impl EventStore {
    /// Compares the vault with what the events say. The vault is read later than the events: what differs is looked at
    /// again, with the events that have come meanwhile, until it stands still.
    pub(super) async fn check_claims(
        &self,
        chain: &mut Chain,
        told: &mut Told,
        reader: ClaimReader,
    ) -> Result<(), VerifyError> {
        let mut suspects = self.suspects(told).await?;
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
        let held = self.backend().held(&VaultRange::Of(streams.iter().cloned().collect())).await?;
        let held: HashMap<_, _> =
            held.into_iter().map(|(stream, entry, claims)| (stream, (entry, claims))).collect();
        let judge = |stream: &StreamId| Some((stream.clone(), told.judge(stream, held.get(stream)).err()?));
        Ok(streams.iter().filter_map(judge).collect())
    }

    /// The streams whose vault entry is not what the events say, as far as they were read.
    async fn suspects(&self, told: &mut Told) -> Result<BTreeSet<StreamId>, StoreError> {
        let mut suspects = BTreeSet::new();
        let mut after = None;
        loop {
            let page: Vec<Held> = self.backend().held(&VaultRange::After(after.clone(), PAGE)).await?;
            let last = page.len() < PAGE;
            for (stream, entry, claims) in page {
                if let Some(told) = told.0.get_mut(&stream) {
                    told.has_entry = true;
                }
                let held = (entry, claims);
                if told.judge(&stream, Some(&held)).is_err() {
                    suspects.insert(stream.clone());
                }
                after = Some(stream);
            }
            if last {
                break;
            }
        }
        let without = told.0.iter().filter(|(_, of_stream)| !of_stream.has_entry).map(|(stream, _)| stream);
        suspects.extend(without.filter(|stream| told.judge(stream, None).is_err()).cloned());
        Ok(suspects)
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
            has_entry: false,
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
            let told = Told(HashMap::from([(name.clone(), told)]));
            let found = told.judge(&name, held.as_ref()).err().map(|finding| finding.what);
            assert_eq!(found.is_some(), wrong.is_some(), "{held:?}: {found:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(wrong.unwrap_or_default()), "{held:?}: {found}");
        }
    }
}
