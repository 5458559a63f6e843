//! A subscriber of the event feed: it must observe 1, 2, 3 … each once and in order, across crashes of its
//! process.

use std::time::Duration;

use store::{EventQuery, Position, StoreError, StoredEvent};
use tokio::time::{sleep, timeout};

use crate::node::Node;
use crate::shared_state::Simulation;

/// How often to read even without a notification, in case one was lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Reads the feed for the lifetime of the process.
pub(crate) async fn run_subscriber(simulation: &Simulation, slot: usize, node: &Node) {
    let random = simulation.random.fork();
    let seen = &simulation.slots[slot].observed;
    loop {
        let after = Position::new(u64::try_from(seen.lock().unwrap().len()).unwrap());
        let mut updates = node.store.watch_progress();
        let query = EventQuery {
            after,
            limit: usize::try_from(random.within(1..=10)).unwrap(),
            ..EventQuery::default()
        };
        match read(node, &query, random.permille(500)).await {
            Ok(events) if events.is_empty() => {
                let news = updates.wait_for(|progress| progress.head > after);
                // Notified or timed out: either way, read again.
                drop(timeout(POLL_INTERVAL, news).await);
            }
            Ok(events) => record_events(simulation, slot, events),
            Err(error) if error.is_transient() => sleep(PAUSE).await,
            Err(error) => simulation.report_violation(format!("a subscriber at {after} received: {error}")),
        }
    }
}

async fn read(node: &Node, query: &EventQuery, page: bool) -> Result<Vec<StoredEvent>, StoreError> {
    if page { Ok(node.store.page(query).await?.events) } else { node.store.read(query).await }
}

fn record_events(simulation: &Simulation, slot: usize, events: Vec<StoredEvent>) {
    let mut seen = simulation.slots[slot].observed.lock().unwrap();
    for event in events {
        let (position, next) = (event.envelope.position.get(), u64::try_from(seen.len()).unwrap() + 1);
        if position != next {
            simulation.report_violation(format!(
                "a follower that has seen up to {} was given {position}",
                next - 1
            ));
        }
        seen.push(event.envelope);
    }
}
