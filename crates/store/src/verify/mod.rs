//! Verifies the log: it is complete, ordered and unchanged, and agrees with the signed head, the tiles and
//! the key store. Verification only reads, and may run while other processes append. Read models are not
//! verified here.

mod claims;
mod finding;
mod key_store;
mod pages;
mod scan;
mod sequence;
mod streams;

use crate::backend::EventQuery;
use crate::checkpoint::SignedHead;
use crate::error::StoreError;
use crate::event::Position;
use crate::event_store::EventStore;
use crate::head::Head;
use crate::merkle::Hash;
use crate::tiles::Proofs;

pub use claims::{ClaimChange, ClaimReader};
pub(crate) use claims::{EventEffects, StoredEntry};
pub use finding::{Finding, FindingKind, VerifyError};

pub(crate) use pages::effects;

use self::key_store::KeyStoreComparison;
use self::sequence::LogSequence;

/// The result of a verification without findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The position of the head when the verification began.
    pub position: Position,
    /// The Merkle root at that position.
    pub root: Hash,
    /// The number of streams.
    pub streams: usize,
    /// The number of claims that the streams must hold.
    pub claims: usize,
}

impl Proofs {
    /// Verifies the log up to its current head, its tiles and the key store. `reader` derives from an event
    /// which claims it takes and releases; `each_page` receives the position reached and the last position.
    ///
    /// Invariants:
    ///
    /// - Positions are 1, 2, 3 … without a gap, and so are the versions of each stream; times never decrease.
    /// - Each leaf hash is the hash of its event, and equals the one in the tiles.
    /// - Personal data decrypts, unless it was erased by crypto-shredding.
    /// - Time, root, frontier and signature of the head follow from the events; the time is not in the future.
    /// - The unique claims in the key store are those that the events have taken and not released. A claim that was
    ///   introduced after an event may be missing.
    /// - A stream that belongs to an erased stream is erased.
    /// - A stream that is sealed under the key of another one has events only between the first one of that stream
    ///   and its erasure.
    /// - If `since` is given, an earlier signed head, the log begins with the events of that head.
    ///
    /// # Errors
    /// [`VerifyError::Found`] with the first finding.
    pub async fn verify(
        &self,
        reader: ClaimReader,
        since: Option<&SignedHead>,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        let sequence = LogSequence::with_tiles(self.tiles(), since.cloned(), self.store().env());
        self.store().verify_with(sequence, reader, each_page).await
    }
}

impl EventStore {
    /// As [`Proofs::verify`], without the tiles and without an earlier head.
    ///
    /// # Errors
    /// [`VerifyError::Found`] with the first finding.
    pub async fn verify(
        &self,
        reader: ClaimReader,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        self.verify_with(LogSequence::new(self.env()), reader, each_page).await
    }

    async fn verify_with(
        &self,
        mut sequence: LogSequence,
        reader: ClaimReader,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        let verified = self.verified(&mut sequence, reader, each_page).await.map_err(|error| match error {
            // Corrupt data that belongs to no event is reported at position 0.
            VerifyError::Store(StoreError::Corrupt(corruption)) => {
                Finding::new(Position::START, corruption.into()).into()
            }
            error => error,
        });
        match (verified, sequence.tile_mismatch()) {
            (Ok(_), Some(position)) => Err(Finding::new(position, FindingKind::TilesDamaged).into()),
            // A log that was rewritten from one position on is consistent in itself; the tiles reveal the
            // position.
            (Err(VerifyError::Found(later)), Some(position)) if position < later.position => {
                let kind = FindingKind::TileLeafMismatch { later: Box::new(later) };
                Err(Finding::new(position, kind).into())
            }
            (verified, _) => verified,
        }
    }

    async fn verified(
        &self,
        sequence: &mut LogSequence,
        reader: ClaimReader,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        let head = self.head().await?;
        let mut comparison = KeyStoreComparison::default();
        self.scan_to(sequence, &mut comparison, reader, head.position, each_page).await?;
        sequence.check_length()?;
        sequence.check_head(&head, self.signer())?;
        let (at, last) = (head.at, head.position);
        self.check_nothing_beyond_head(head).await?;
        comparison.check_owners(&sequence.streams)?;
        let verified = Verified {
            position: sequence.position(),
            root: sequence.root(),
            streams: sequence.streams.len(),
            claims: comparison.claims,
        };
        self.check_claims(sequence, &mut comparison, reader).await?;
        if self.clock().future(at).is_some() {
            return Err(Finding::new(last, FindingKind::HeadInFuture { at, now: self.clock().now() }).into());
        }
        Ok(verified)
    }

    /// An event beyond the head was never committed, or the head was rolled back.
    async fn check_nothing_beyond_head(&self, mut head: Head) -> Result<(), VerifyError> {
        loop {
            let query = EventQuery { after: head.position, limit: 1, ..EventQuery::default() };
            let Some(event) = self.backend().events(&query).await?.into_iter().next() else { return Ok(()) };
            // It may have been appended after the head was read.
            let now = self.head().await?;
            if now.position < event.position {
                let kind = FindingKind::EventBeyondHead { head: now.position };
                return Err(Finding::new(event.position, kind).into());
            }
            head = now;
        }
    }
}
