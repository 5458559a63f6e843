//! A reader of the feed: it must see 1, 2, 3 … each once and in order, across crashes of its process.

use std::time::Duration;

use store::{EventQuery, Position, Recorded, StoreError};
use tokio::time::{sleep, timeout};

use crate::node::Node;
use crate::world::World;

/// A wake-up that got lost costs no more than this.
const POLL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Follows the feed for as long as the process lives.
pub(crate) async fn follow(world: &World, place: usize, node: &Node) {
    let chance = world.chance.fork();
    let seen = &world.places[place].seen;
    loop {
        let after = Position::new(u64::try_from(seen.lock().unwrap().len()).unwrap());
        let mut signals = node.store.signals();
        let query = EventQuery {
            after,
            limit: usize::try_from(chance.within(1..=10)).unwrap(),
            ..EventQuery::default()
        };
        match read(node, &query, chance.happens(500)).await {
            Ok(events) if events.is_empty() => {
                let news = signals.wait_for(|signal| signal.head > after);
                // Whether it was heard or the time is up: the log tells.
                drop(timeout(POLL, news).await);
            }
            Ok(events) => take_in(world, place, events),
            Err(error) if error.is_transient() => sleep(PAUSE).await,
            Err(error) => world.broken(format!("a follower at {after} was told: {error}")),
        }
    }
}

async fn read(node: &Node, query: &EventQuery, page: bool) -> Result<Vec<Recorded>, StoreError> {
    if page { Ok(node.store.page(query).await?.events) } else { node.store.read(query).await }
}

fn take_in(world: &World, place: usize, events: Vec<Recorded>) {
    let mut seen = world.places[place].seen.lock().unwrap();
    for event in events {
        let (position, next) = (event.envelope.position.get(), u64::try_from(seen.len()).unwrap() + 1);
        if position != next {
            world.broken(format!("a follower that has seen up to {} was given {position}", next - 1));
        }
        seen.push(event.envelope);
    }
}
