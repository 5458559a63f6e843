//! Proving the log: that what is stored is whole, in order, unchanged, and agrees with the head, and that the claims are
//! those that the events say. It reads and never writes, and may run beside processes that append.

mod claims;
mod finding;
mod key_store;
mod pages;
mod scan;
mod sequence;

use crate::backend::EventQuery;
use crate::checkpoint::SignedHead;
use crate::error::StoreError;
use crate::event::Position;
use crate::event_store::EventStore;
use crate::head::Head;
use crate::merkle::Hash;
use crate::tiles::Proofs;

pub use claims::{ClaimChange, ClaimReader};
pub use finding::{Finding, FindingKind, VerifyError};

use self::key_store::ExpectedEntries;
use self::sequence::LogSequence;

/// A log that was found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How far: the head when it began.
    pub position: Position,
    /// The Merkle root up to there.
    pub root: Hash,
    /// The number of streams.
    pub streams: usize,
    /// The number of claims that they hold.
    pub claims: usize,
}

impl Proofs {
    /// Verifies the log up to its present head, and the claims. `reader` says which claims an event takes and gives
    /// back; `each_page` is told how far it is, and how far it goes.
    ///
    /// Positions are 1, 2, 3 … without a gap, and so are the versions of each stream; times never fall; each leaf is
    /// that of its event, and the one in the tiles; what is sealed opens, unless it was erased; the head is that of the
    /// last event, with the root, the frontier and the signature that follow from all leaves; each claim that the events
    /// say is held, by the stream that took it, and no other. With a head that was signed earlier, the log begins with the
    /// events of that one.
    ///
    /// # Errors
    /// [`VerifyError::Found`] with the first thing that is wrong.
    pub async fn verify(
        &self,
        reader: ClaimReader,
        since: Option<&SignedHead>,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        self.store()
            .verify_with(LogSequence::with_tiles(self.tiles(), since.cloned()), reader, each_page)
            .await
    }
}

impl EventStore {
    /// As [`Proofs::verify`], but for the tiles, and since the beginning.
    ///
    /// # Errors
    /// [`VerifyError::Found`] with the first thing that is wrong.
    pub async fn verify(
        &self,
        reader: ClaimReader,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        self.verify_with(LogSequence::default(), reader, each_page).await
    }

    async fn verify_with(
        &self,
        mut sequence: LogSequence,
        reader: ClaimReader,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        let verified = self.verified(&mut sequence, reader, each_page).await.map_err(|error| match error {
            // What cannot be read for what it is, was changed: where no event tells its place, it has none.
            VerifyError::Store(StoreError::Corrupt(corruption)) => {
                Finding::new(Position::START, corruption.into()).into()
            }
            error => error,
        });
        match (verified, sequence.tile_mismatch()) {
            (Ok(_), Some(position)) => Err(Finding::new(position, FindingKind::TilesDamaged).into()),
            // Whoever rewrites the log from some place on makes all right up to its end, but the tiles tell the place.
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
        let mut expected = ExpectedEntries::default();
        self.scan_to(sequence, &mut expected, reader, head.position, each_page).await?;
        sequence.check_length()?;
        sequence.compare(&head, self.signer())?;
        self.check_nothing_beyond_head(head).await?;
        let verified = Verified {
            position: sequence.position(),
            root: sequence.root(),
            streams: expected.streams(),
            claims: expected.claims(),
        };
        self.check_claims(sequence, &mut expected, reader).await?;
        Ok(verified)
    }

    /// What lies beyond the head was never committed, or the head was put back.
    async fn check_nothing_beyond_head(&self, mut head: Head) -> Result<(), VerifyError> {
        loop {
            let query = EventQuery { after: head.position, limit: 1, ..EventQuery::default() };
            let Some(event) = self.backend().events(&query).await?.into_iter().next() else { return Ok(()) };
            // Somebody may have appended it since.
            let now = self.head().await?;
            if now.position < event.position {
                let kind = FindingKind::EventBeyondHead { head: now.position };
                return Err(Finding::new(event.position, kind).into());
            }
            head = now;
        }
    }
}
