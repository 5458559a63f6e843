//! Proving the log: that what is stored is whole, in order, unchanged, and agrees with the head, and that the claims are
//! those that the events say. It reads and never writes, and may run beside processes that append.

mod key_store;
mod pages;
mod sequence;

use std::fmt;
use std::pin::pin;

use futures::TryStreamExt;

use crate::backend::{EventQuery, Head};
use crate::checkpoint::SignedHead;
use crate::error::StoreError;
use crate::event::Position;
use crate::event_store::EventStore;
use crate::merkle::Hash;
use crate::tiles::Proofs;

pub use key_store::{ClaimChange, ClaimReader};

use self::key_store::ExpectedEntries;
use self::pages::pages;
use self::sequence::LogSequence;

/// The log is right then, and only what is derived from it is not.
const TILES_DIFFER: &str = "the leaf that the tiles hold of it is not its own, though the log is the one that was signed: drop \
     `tiles`, and they are made anew";

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: the position of the event, or of the last event that speaks of it; zero if no event does.
    pub position: Position,
    /// What.
    pub what: String,
}

impl Finding {
    fn new(position: Position, what: impl Into<String>) -> Self {
        Self { position, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "position {}: {}", self.position, self.what)
    }
}

/// Why a log was not verified.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VerifyError {
    /// Something is wrong with it.
    #[error("{0}")]
    Found(Finding),
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl VerifyError {
    /// What is wrong with the log, if it could be read.
    fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Found(finding) => Some(finding),
            Self::Store(_) => None,
        }
    }
}

impl From<Finding> for VerifyError {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}

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
            VerifyError::Store(StoreError::Corrupt(what)) => Finding::new(Position::START, what).into(),
            error => error,
        });
        match (verified, sequence.tile_mismatch()) {
            (Ok(_), Some(position)) => Err(Finding::new(position, TILES_DIFFER).into()),
            // Whoever rewrites the log from some place on makes all right up to its end, but the tiles tell the place.
            (Err(VerifyError::Found(later)), Some(position)) if position < later.position => {
                let what = format!("its leaf is not the one in the tiles; and {later}");
                Err(Finding::new(position, what).into())
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

    /// Takes in the events up to `until`.
    async fn scan_to(
        &self,
        sequence: &mut LogSequence,
        expected: &mut ExpectedEntries,
        reader: ClaimReader,
        until: Position,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<(), VerifyError> {
        let mut pages = pin!(pages(self, sequence.tiles(), reader, sequence.position(), until));
        while let Some(page) = pages.try_next().await? {
            sequence.note_tile_mismatch(page.tile_mismatch);
            let effects = page.effects.as_ref().err().and_then(VerifyError::finding);
            for header in page.headers {
                let position = header.position;
                sequence.take(&header)?;
                let found = [page.leaf.as_ref(), effects].into_iter().flatten();
                if let Some(finding) = found.into_iter().find(|finding| finding.position == position) {
                    return Err(finding.clone().into());
                }
            }
            expected.take(page.effects?, &page.held);
            if let Some(finding) = page.unreadable {
                return Err(finding.into());
            }
            if sequence.position() < page.end && page.end == until {
                let missing = sequence.position().next();
                let what = format!("it is missing, though the head is at {until}");
                return Err(Finding::new(missing, what).into());
            }
            each_page(sequence.position(), until);
        }
        Ok(())
    }

    /// What lies beyond the head was never committed, or the head was put back.
    async fn check_nothing_beyond_head(&self, mut head: Head) -> Result<(), VerifyError> {
        loop {
            let query = EventQuery { after: head.position, limit: 1, ..EventQuery::default() };
            let Some(event) = self.backend().events(&query).await?.into_iter().next() else { return Ok(()) };
            // Somebody may have appended it since.
            let now = self.head().await?;
            if now.position < event.position {
                let what = format!("it is beyond the head, which is at {}", now.position);
                return Err(Finding::new(event.position, what).into());
            }
            head = now;
        }
    }
}
