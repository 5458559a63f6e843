//! Tiles as they are asked for, and proofs made of them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::extension::{grow, leaves};
use super::{TileId, TileStore, Tiles, WIDTH, root_under};
use crate::checkpoint::SignedHead;
use crate::error::{Corruption, StoreError};
use crate::event::Position;
use crate::event_store::EventStore;
use crate::head::Head;
use crate::merkle::{self, Frontier, Hash};

/// The pause after tiles could not be made.
const PAUSE: Duration = Duration::from_secs(5);

/// That an event is in the log.
#[derive(Clone, Debug)]
pub struct InclusionProof {
    /// The head that it is proved under.
    pub head: Head,
    /// The leaf hash of the event.
    pub leaf: Hash,
    /// The audit path, from the leaf upwards (RFC 6962 §2.1.1).
    pub proof: Vec<Hash>,
}

/// That a longer log begins with a shorter one.
#[derive(Clone, Debug)]
pub struct ConsistencyProof {
    /// The root of the shorter log.
    pub from: Hash,
    /// The root of the longer one.
    pub to: Hash,
    /// The proof (RFC 6962 §2.1.2).
    pub proof: Vec<Hash>,
}

/// That events which follow one another are in a log.
#[derive(Clone, Debug)]
pub struct RangeProof {
    /// The right edge of the tree before them.
    pub before: Frontier,
    /// The root over all events up to the last of them.
    pub root: Hash,
    /// The proof that the log begins with those events.
    pub consistency: Vec<Hash>,
}

/// Why there is no proof.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProofError {
    /// The log has not reached that position, or that is none.
    #[error("position {asked} is not in the log, whose head is at {head}")]
    BeyondHead {
        /// What was asked for.
        asked: Position,
        /// Where the log is.
        head: Position,
    },
    /// The database, or what is in it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The log as a tree that can be proved.
#[derive(Clone)]
pub struct Proofs {
    store: EventStore,
    tiles: Arc<dyn TileStore>,
}

impl Proofs {
    /// Proofs of that log, whose tiles are kept there.
    #[must_use]
    pub fn new(store: EventStore, tiles: Arc<dyn TileStore>) -> Self {
        Self { store, tiles }
    }

    /// The log.
    pub(crate) fn store(&self) -> &EventStore {
        &self.store
    }

    /// Where its tiles are kept.
    pub(crate) fn tiles(&self) -> &Arc<dyn TileStore> {
        &self.tiles
    }

    /// Makes the tiles that the log as it is now fills, and that are missing; gives the size of that log.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the log has a gap, or tiles have other sizes than they should.
    pub async fn extend_tiles(&self) -> Result<Position, StoreError> {
        let head = self.store.head().await?.position;
        grow(&*self.tiles, head.get()).await?;
        Ok(head)
    }

    /// Makes tiles as the log grows, without an end. Readers make those that are missing themselves: this saves them the
    /// wait.
    pub async fn maintain_tiles(&self) {
        let mut updates = self.store.watch_progress();
        loop {
            let next = match self.extend_tiles().await {
                Ok(head) => Position::new(head.get() - head.get() % WIDTH + WIDTH),
                Err(error) => {
                    tracing::warn!(%error, "cannot make the tiles of the log; trying again");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            if updates.wait_for(|progress| progress.head >= next).await.is_err() {
                return;
            }
        }
    }

    /// A tile as it is in a log of so many events, which must have been reached; nothing if it is empty then.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub async fn tile(&self, tile: TileId, size: Position) -> Result<Vec<Hash>, StoreError> {
        let size = size.get();
        if tile.width_in(size) == 0 {
            return Ok(Vec::new());
        }
        let mut tiles = read(&*self.tiles, size, &[tile].into()).await?;
        Ok(tiles.remove(&tile).unwrap_or_default())
    }

    /// Proves that the event at that position is in the log as it is now, or was a moment ago.
    ///
    /// # Errors
    /// [`ProofError::BeyondHead`] if there is no such event; [`StoreError::Corrupt`] if the tiles do not lead to the root
    /// that is signed.
    pub async fn inclusion(&self, position: Position) -> Result<InclusionProof, ProofError> {
        let head = self.store.head_at_least(position).await?;
        let (index, size) = (position.get().checked_sub(1), head.position.get());
        let beyond = ProofError::BeyondHead { asked: position, head: head.position };
        let Some(index) = index else { return Err(beyond) };
        let Some(path) = merkle::inclusion(index, size) else { return Err(beyond) };
        let mut ranges = path;
        ranges.push(index..position.get());
        let mut proof = self.roots(size, &ranges).await?;
        let leaf = proof.pop().unwrap_or_default();
        if merkle::verify_inclusion(index, size, &leaf, &proof, &head.root) {
            Ok(InclusionProof { head, leaf, proof })
        } else {
            Err(wrong_tiles(size).into())
        }
    }

    /// Proves that the log as it was at `to` begins with the log as it was at `from`.
    ///
    /// # Errors
    /// [`ProofError::BeyondHead`] if the log has not reached `to`, or `from` is beyond that; [`StoreError::Corrupt`] if the
    /// tiles do not lead to the root that is signed.
    pub async fn consistency(&self, from: Position, to: Position) -> Result<ConsistencyProof, ProofError> {
        let head = self.store.head_at_least(to).await?;
        if to > head.position {
            return Err(ProofError::BeyondHead { asked: to, head: head.position });
        }
        let (old, new) = (from.get(), to.get());
        let beyond = || ProofError::BeyondHead { asked: from, head: to };
        let path = merkle::consistency(old, new).ok_or_else(beyond)?;
        let ranges: Vec<_> = path.iter().cloned().chain([0..old, 0..new]).collect();
        let mut hashes = self.roots(head.position.get(), &ranges).await?;
        let (to_root, from_root) = (hashes.pop().unwrap_or_default(), hashes.pop().unwrap_or_default());
        let signed = to != head.position || to_root == head.root;
        if signed && merkle::verify_consistency((old, &from_root), (new, &to_root), &hashes) {
            Ok(ConsistencyProof { from: from_root, to: to_root, proof: hashes })
        } else {
            Err(wrong_tiles(new).into())
        }
    }

    /// The right edge of the tree as it was at that size.
    ///
    /// # Errors
    /// [`ProofError::BeyondHead`] if the log has not reached it; [`StoreError`] if the tiles cannot be read.
    async fn frontier(&self, size: Position) -> Result<Frontier, ProofError> {
        let head = self.store.head_at_least(size).await?;
        if size > head.position {
            return Err(ProofError::BeyondHead { asked: size, head: head.position });
        }
        let nodes = merkle::cover(&(0..size.get()));
        let wanted = nodes.iter().map(|node| TileId::under(*node)).collect();
        let tiles = read(&*self.tiles, head.position.get(), &wanted).await?;
        let roots: Option<Vec<_>> = nodes.iter().map(|node| root_under(&tiles, *node)).collect();
        let edge = roots.and_then(|roots| Frontier::from_bytes(size.get(), &roots.concat()).ok());
        Ok(edge.ok_or_else(|| wrong_tiles(size.get()))?)
    }

    /// Proves that the events above `before`, up to `to`, are in the log of that signed head.
    ///
    /// # Errors
    /// [`ProofError::BeyondHead`] if the log has not reached that head, or the positions are not in order;
    /// [`StoreError::Corrupt`] if the tiles do not lead to its root.
    pub async fn range(
        &self,
        before: Position,
        to: Position,
        head: &SignedHead,
    ) -> Result<RangeProof, ProofError> {
        let edge = self.frontier(before).await?;
        let opening = self.consistency(before, to).await?;
        let bridge = self.consistency(to, Position::new(head.size)).await?;
        if opening.from == edge.root() && opening.to == bridge.from && bridge.to == head.root {
            Ok(RangeProof { before: edge, root: opening.to, consistency: bridge.proof })
        } else {
            Err(wrong_tiles(head.size).into())
        }
    }

    /// The roots over ranges of leaves, in a log of that size.
    async fn roots(&self, size: u64, ranges: &[Range<u64>]) -> Result<Vec<Hash>, StoreError> {
        let covers: Vec<_> = ranges.iter().map(merkle::cover).collect();
        let wanted: BTreeSet<_> = covers.iter().flatten().map(|node| TileId::under(*node)).collect();
        let tiles = read(&*self.tiles, size, &wanted).await?;
        let root = |nodes: &Vec<merkle::Node>| {
            let roots: Option<Vec<_>> = nodes.iter().map(|node| root_under(&tiles, *node)).collect();
            let roots = roots.ok_or_else(|| wrong_tiles(size))?;
            Ok(merkle::root_of(&roots).unwrap_or_else(merkle::empty_root))
        };
        covers.iter().map(root).collect()
    }
}

/// Tiles in a log of that size, made first if they are missing. The last tile of leaves is made of the leaves themselves.
async fn read(store: &dyn TileStore, size: u64, wanted: &BTreeSet<TileId>) -> Result<Tiles, StoreError> {
    grow(store, size).await?;
    let unfinished = |tile: &&TileId| tile.level == 0 && tile.width_in(size) < WIDTH;
    let stored: Vec<_> = wanted.iter().filter(|tile| !unfinished(tile)).copied().collect();
    let mut tiles = store.tiles(&stored).await?;
    for tile in wanted.iter().filter(unfinished) {
        let from = tile.index * WIDTH;
        let to = from + tile.width_in(size);
        tiles.insert(*tile, leaves(store, from, to.max(from)).await?);
    }
    for (tile, hashes) in &mut tiles {
        hashes.truncate(usize::try_from(tile.width_in(size)).unwrap_or(usize::MAX));
    }
    Ok(tiles)
}

fn wrong_tiles(size: u64) -> StoreError {
    Corruption::TilesMismatch { size }.into()
}
