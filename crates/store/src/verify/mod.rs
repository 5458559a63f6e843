//! Proving the log: that what is stored is whole, in order, unchanged, and agrees with the head, and that the claims are
//! those that the events say. It reads and never writes, and may run beside processes that append.

mod chain;
mod claims;

use std::fmt;

use crate::backend::{EventQuery, Head};
use crate::error::StoreError;
use crate::event::{Envelope, Position, Recorded};
use crate::event_store::EventStore;
use crate::merkle::Hash;
use crate::read::unseal;

pub use claims::{ClaimChange, ClaimReader};

use self::chain::Chain;
use self::claims::Told;

/// Events read at once.
const PAGE: usize = 1000;

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

impl EventStore {
    /// Verifies the log up to its present head, and the claims. `reader` says which claims an event takes and gives
    /// back; `each_page` is told how far it is, and how far it goes.
    ///
    /// Positions are 1, 2, 3 … without a gap, and so are the versions of each stream; times never fall; each leaf is
    /// that of its event; what is sealed opens, unless it was erased; the head is that of the last event, with the root,
    /// the frontier and the signature that follow from all leaves; each claim that the events say is held, by the stream
    /// that took it, and no other.
    ///
    /// # Errors
    /// [`VerifyError::Found`] with the first thing that is wrong.
    pub async fn verify(
        &self,
        reader: &ClaimReader,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        // What cannot be read for what it is, was changed: where no event tells its place, it has none.
        self.verified(reader, each_page).await.map_err(|error| match error {
            VerifyError::Store(StoreError::Corrupt(what)) => Finding::new(Position::START, what).into(),
            error => error,
        })
    }

    async fn verified(
        &self,
        reader: &ClaimReader,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<Verified, VerifyError> {
        let head = self.head().await?;
        let (mut chain, mut told) = (Chain::default(), Told::default());
        self.follow(&mut chain, &mut told, reader, head.position, each_page).await?;
        chain.compare(&head, self.signer())?;
        self.nothing_beyond(head).await?;
        let verified = Verified {
            position: chain.position(),
            root: chain.root(),
            streams: told.streams(),
            claims: told.claims(),
        };
        self.check_claims(&mut chain, &mut told, reader).await?;
        Ok(verified)
    }

    /// Takes in the events up to `until`.
    async fn follow(
        &self,
        chain: &mut Chain,
        told: &mut Told,
        reader: &ClaimReader,
        until: Position,
        each_page: &mut (dyn FnMut(Position, Position) + Send),
    ) -> Result<(), VerifyError> {
        let mut limit = PAGE;
        while chain.position() < until {
            let query =
                EventQuery { after: chain.position(), until: Some(until), limit, ..EventQuery::default() };
            let events = match self.backend().events(&query).await {
                // One by one it shows which it is, and what is wrong before it.
                Err(StoreError::Corrupt(_)) if limit > 1 => {
                    limit = 1;
                    continue;
                }
                Err(StoreError::Corrupt(what)) => {
                    return Err(Finding::new(chain.position().next(), what).into());
                }
                events => events?,
            };
            if events.is_empty() {
                let missing = chain.position().next();
                return Err(
                    Finding::new(missing, format!("it is missing, though the head is at {until}")).into()
                );
            }
            for event in &events {
                chain.take(event)?;
            }
            for event in self.opened(events).await? {
                let change = reader(&event).map_err(|what| Finding::new(event.envelope.position, what))?;
                told.take(&event, &change, self.claim_key());
            }
            each_page(chain.position(), until);
        }
        Ok(())
    }

    /// Unseals events. Of those that cannot be, the first is found.
    async fn opened(&self, events: Vec<Envelope>) -> Result<Vec<Recorded>, VerifyError> {
        let all = unseal(self.backend(), self.masters(), events.clone()).await;
        let Err(StoreError::Corrupt(_) | StoreError::KeyMissing(_)) = all else { return Ok(all?) };
        let mut opened = Vec::new();
        for event in events {
            let position = event.position;
            match unseal(self.backend(), self.masters(), vec![event]).await {
                Ok(event) => opened.extend(event),
                // Whoever has put another id before a wrapped key cannot be told from whoever has lost a master key.
                Err(StoreError::Corrupt(what) | StoreError::KeyMissing(what)) => {
                    return Err(Finding::new(position, what).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(opened)
    }

    /// What lies beyond the head was never committed, or the head was put back.
    async fn nothing_beyond(&self, mut head: Head) -> Result<(), VerifyError> {
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
