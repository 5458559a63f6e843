//! Serves tiles, and builds inclusion proofs and consistency proofs (Merkle tree, RFC 6962) from them. Each
//! proof is verified against the signed head before it is returned.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::extension::{build_missing, leaves};
use super::{TileId, TileStore, Tiles, WIDTH, root_under};
use crate::checkpoint::SignedHead;
use crate::error::{Corruption, StoreError};
use crate::event::Position;
use crate::event_store::EventStore;
use crate::head::Head;
use crate::merkle::{self, Frontier, Hash};

/// Pause after building tiles failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// An inclusion proof: the event is in the log.
#[derive(Clone, Debug)]
pub struct InclusionProof {
    /// The head whose root the proof leads to.
    pub head: Head,
    /// The leaf hash of the event.
    pub leaf: Hash,
    /// The audit path, from the leaf upwards (RFC 6962 §2.1.1).
    pub proof: Vec<Hash>,
}

/// A consistency proof: a later state of the log begins with an earlier one.
#[derive(Clone, Debug)]
pub struct ConsistencyProof {
    /// The root of the earlier state.
    pub from: Hash,
    /// The root of the later state.
    pub to: Hash,
    /// The proof (RFC 6962 §2.1.2).
    pub proof: Vec<Hash>,
}

/// A proof that a range of consecutive events is in the log.
#[derive(Clone, Debug)]
pub struct RangeProof {
    /// The frontier of the tree before the first of them.
    pub before: Frontier,
    /// The root over all events up to the last of them.
    pub root: Hash,
    /// The consistency proof from that root to the signed head.
    pub consistency: Vec<Hash>,
}

/// Why a proof cannot be built.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProofError {
    /// The position is beyond the head, or is not a valid position.
    #[error("position {asked} is not in the log, whose head is at {head}")]
    BeyondHead {
        /// The requested position.
        asked: Position,
        /// The position of the head.
        head: Position,
    },
    /// The database failed, or its data is corrupt.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Builds proofs of a log from its tiles.
#[derive(Clone)]
pub struct Proofs {
    store: EventStore,
    tiles: Arc<dyn TileStore>,
}

impl Proofs {
    /// Creates the proof builder of a log and its tiles.
    #[must_use]
    pub fn new(store: EventStore, tiles: Arc<dyn TileStore>) -> Self {
        Self { store, tiles }
    }

    pub(crate) fn store(&self) -> &EventStore {
        &self.store
    }

    pub(crate) fn tiles(&self) -> &Arc<dyn TileStore> {
        &self.tiles
    }

    /// Builds the missing tiles up to the current head, and returns its position.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the log has a gap, or a tile has an unexpected size.
    pub async fn extend_tiles(&self) -> Result<Position, StoreError> {
        let head = self.store.head().await?.position;
        build_missing(&*self.tiles, head.get()).await?;
        Ok(head)
    }

    /// Builds tiles continuously as the log grows. Readers build missing tiles themselves; this spares them
    /// the wait.
    pub async fn maintain_tiles(&self) {
        let mut updates = self.store.watch_progress();
        loop {
            let next = match self.extend_tiles().await {
                Ok(head) => Position::new(head.get() - head.get() % WIDTH + WIDTH),
                Err(error) => {
                    tracing::warn!(%error, "building tiles of the log failed; retrying");
                    sleep(RETRY_PAUSE).await;
                    continue;
                }
            };
            if updates.wait_for(|progress| progress.head >= next).await.is_err() {
                return;
            }
        }
    }

    /// Reads a tile as of a log of `size` events, which the log must have reached; empty if it has no hashes
    /// then.
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

    /// Builds the inclusion proof of the event at a position, under a recent head.
    ///
    /// # Errors
    /// [`ProofError::BeyondHead`] if there is no such event; [`StoreError::Corrupt`] if the tiles do not lead
    /// to the signed root.
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
            Err(tiles_mismatch(size).into())
        }
    }

    /// Builds the consistency proof that the log at `to` begins with the log at `from`.
    ///
    /// # Errors
    /// [`ProofError::BeyondHead`] if the log has not reached `to`, or `from` is beyond it;
    /// [`StoreError::Corrupt`] if the tiles do not lead to the signed root.
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
            Err(tiles_mismatch(new).into())
        }
    }

    /// The frontier of the tree at that size.
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
        let frontier = roots.and_then(|roots| Frontier::from_bytes(size.get(), &roots.concat()).ok());
        Ok(frontier.ok_or_else(|| tiles_mismatch(size.get()))?)
    }

    /// Proves that the events above `before`, up to `to`, are in the log of a signed head.
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
        let frontier = self.frontier(before).await?;
        let prefix = self.consistency(before, to).await?;
        let suffix = self.consistency(to, Position::new(head.size)).await?;
        if prefix.from == frontier.root() && prefix.to == suffix.from && suffix.to == head.root {
            Ok(RangeProof { before: frontier, root: prefix.to, consistency: suffix.proof })
        } else {
            Err(tiles_mismatch(head.size).into())
        }
    }

    /// Computes the roots over ranges of leaves in a log of `size` events.
    async fn roots(&self, size: u64, ranges: &[Range<u64>]) -> Result<Vec<Hash>, StoreError> {
        let covers: Vec<_> = ranges.iter().map(merkle::cover).collect();
        let wanted: BTreeSet<_> = covers.iter().flatten().map(|node| TileId::under(*node)).collect();
        let tiles = read(&*self.tiles, size, &wanted).await?;
        let root = |nodes: &Vec<merkle::Node>| {
            let roots: Option<Vec<_>> = nodes.iter().map(|node| root_under(&tiles, *node)).collect();
            let roots = roots.ok_or_else(|| tiles_mismatch(size))?;
            Ok(merkle::root_of(&roots).unwrap_or_else(merkle::empty_root))
        };
        covers.iter().map(root).collect()
    }
}

/// Reads tiles of a log of `size` events, after building the missing ones. A partial tile of leaves is read
/// from the events themselves.
async fn read(store: &dyn TileStore, size: u64, wanted: &BTreeSet<TileId>) -> Result<Tiles, StoreError> {
    build_missing(store, size).await?;
    let is_partial = |tile: &&TileId| tile.level == 0 && tile.width_in(size) < WIDTH;
    let stored: Vec<_> = wanted.iter().filter(|tile| !is_partial(tile)).copied().collect();
    let mut tiles = store.tiles(&stored).await?;
    for tile in wanted.iter().filter(is_partial) {
        let from = tile.index * WIDTH;
        let to = from + tile.width_in(size);
        tiles.insert(*tile, leaves(store, from, to.max(from)).await?);
    }
    for (tile, hashes) in &mut tiles {
        hashes.truncate(usize::try_from(tile.width_in(size)).unwrap_or(usize::MAX));
    }
    Ok(tiles)
}

fn tiles_mismatch(size: u64) -> StoreError {
    Corruption::TilesMismatch { size }.into()
}
