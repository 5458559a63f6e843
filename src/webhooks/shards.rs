//! Spreads the webhooks over the nodes: each webhook belongs to one of 16 shards by its id, and the shards are dealt
//! out in turn to the nodes that hold one of the leases of the delivery.
//!
//! Nodes may disagree for a moment about who delivers a shard. That causes duplicates at most: cursors move by
//! compare-and-set, and a worker whose cursor another node has moved ends.

use std::sync::Arc;

use domain::WebhookId;
use store::leader_election::{LEASE_TERM, RENEW_INTERVAL};
use store::lease::{LEASE_SLACK, Lease};
use store::{LeaseStore, StoreError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// The leases of the delivery. As many nodes as there are leases deliver, the others are standbys; more would not
/// have a shard each.
pub(super) const LEASES: &[&str] = &[
    "webhooks-00",
    "webhooks-01",
    "webhooks-02",
    "webhooks-03",
    "webhooks-04",
    "webhooks-05",
    "webhooks-06",
    "webhooks-07",
    "webhooks-08",
    "webhooks-09",
    "webhooks-10",
    "webhooks-11",
    "webhooks-12",
    "webhooks-13",
    "webhooks-14",
    "webhooks-15",
];
const SHARDS: usize = LEASES.len();

/// A set of shards, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shards(u16);

impl Shards {
    /// Whether a webhook belongs to one of them.
    pub(super) fn contains(self, id: WebhookId) -> bool {
        // The last bits of an id are random.
        let [.., last] = id.as_bytes();
        self.0 & bit(usize::from(*last) % SHARDS) != 0
    }

    fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those of the holder of the lease at index `own`, among the holders of the `held` leases, in ascending order.
    fn of_holder(own: usize, held: &[usize]) -> Self {
        let rank = held.iter().position(|lease| *lease == own);
        (0..SHARDS).filter(|shard| rank.is_some_and(|rank| shard % held.len() == rank)).collect()
    }
}

impl FromIterator<usize> for Shards {
    fn from_iter<T: IntoIterator<Item = usize>>(shards: T) -> Self {
        Self(shards.into_iter().map(bit).fold(0, |all, shard| all | shard))
    }
}

fn bit(shard: usize) -> u16 {
    1 << shard
}

/// Follows which shards the holder of a lease delivers.
pub(super) struct ShardAssignment {
    pub(super) leases: Arc<dyn LeaseStore>,
    /// The index of its lease.
    pub(super) own: usize,
}

/// The shards of this node in the course of time.
struct Transition {
    /// The shards that it may deliver now.
    current: Shards,
    /// The shards that it is to deliver, and since when.
    wanted: Shards,
    since: Instant,
}

impl ShardAssignment {
    /// Publishes the shards as they change, forever.
    pub(super) async fn run(&self, shards: &watch::Sender<Shards>) {
        let begun = Instant::now();
        let mut transition =
            Transition { current: Shards::default(), wanted: Shards::default(), since: begun };
        let mut read = begun;
        loop {
            let requested = Instant::now();
            match timeout(LEASE_TERM, self.held()).await {
                Ok(Ok(held)) => {
                    read = requested;
                    transition.advance(Shards::of_holder(self.own, &held), held.len() > 1, requested);
                }
                Ok(Err(error)) => tracing::debug!(%error, "leases of the webhook delivery not read"),
                Err(_) => tracing::debug!("leases of the webhook delivery not read in time"),
            }
            if read.elapsed() >= LEASE_TERM {
                // Another node may have taken over.
                transition.advance(Shards::default(), true, Instant::now());
            }
            shards
                .send_if_modified(|known| std::mem::replace(known, transition.current) != transition.current);
            sleep(RENEW_INTERVAL).await;
        }
    }

    /// The indexes of the leases that are held, by this node too.
    async fn held(&self) -> Result<Vec<usize>, StoreError> {
        let leases = self.leases.list_leases().await?;
        let is_held = |lease: &Lease| lease.is_held() && lease.remaining <= LEASE_TERM + LEASE_SLACK;
        let index = |lease: &Lease| LEASES.iter().position(|name| *name == lease.name);
        let mut held: Vec<_> = leases.iter().filter(|lease| is_held(lease)).filter_map(index).collect();
        if !held.contains(&self.own) {
            // Whether it was lost is found out by the renewal.
            held.push(self.own);
        }
        held.sort_unstable();
        Ok(held)
    }
}

impl Transition {
    /// Gives up at once what is not wanted any more. What is new begins after the time that other nodes need to give
    /// it up.
    fn advance(&mut self, wanted: Shards, has_others: bool, now: Instant) {
        if wanted != self.wanted {
            (self.wanted, self.since) = (wanted, now);
        }
        self.current = self.current.intersection(wanted);
        if !has_others || now.saturating_duration_since(self.since) >= LEASE_TERM {
            self.current = wanted;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shards(numbers: &[usize]) -> Shards {
        numbers.iter().copied().collect()
    }

    #[test]
    fn every_shard_belongs_to_one_holder_and_holders_have_about_as_many() {
        for held in [vec![0], vec![3, 7], vec![0, 1, 15], (0..SHARDS).collect()] {
            let all: Vec<_> = held.iter().map(|own| Shards::of_holder(*own, &held)).collect();
            for shard in 0..SHARDS {
                assert_eq!(
                    all.iter().filter(|shards| shards.0 & bit(shard) != 0).count(),
                    1,
                    "{shard} of {held:?}"
                );
            }
            let sizes = all.iter().map(|shards| shards.0.count_ones());
            let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
            assert!(most - least <= 1, "{held:?}");
        }
        assert_eq!(Shards::of_holder(1, &[0, 2]), Shards::default(), "it holds no lease");
    }

    #[test]
    fn new_shards_wait_until_other_nodes_have_given_them_up() {
        let begun = Instant::now();
        let mut node = Transition { current: Shards::default(), wanted: Shards::default(), since: begun };
        node.advance(shards(&[1, 3]), true, begun);
        assert_eq!(node.current, shards(&[]));
        node.advance(shards(&[1, 3]), true, begun + LEASE_TERM);
        assert_eq!(node.current, shards(&[1, 3]));
        // A third node: what it takes is given up at once, what becomes free is begun later.
        let third = begun + 2 * LEASE_TERM;
        node.advance(shards(&[1, 4]), true, third);
        assert_eq!(node.current, shards(&[1]));
        node.advance(shards(&[1, 4]), true, third + LEASE_TERM - Duration::from_millis(1));
        assert_eq!(node.current, shards(&[1]));
        node.advance(shards(&[1, 4]), true, third + LEASE_TERM);
        assert_eq!(node.current, shards(&[1, 4]));
    }

    #[test]
    fn only_holder_begins_at_once() {
        let now = Instant::now();
        let mut node = Transition { current: Shards::default(), wanted: Shards::default(), since: now };
        node.advance(shards(&[0, 1]), false, now);
        assert_eq!(node.current, shards(&[0, 1]));
    }
}
