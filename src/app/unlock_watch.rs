//! Watches the log for users who are unlocked by another node or the command line, while this node delays
//! logins of any user.

use std::sync::Arc;
use std::time::Duration;

use domain::{UserEvent, UserId};
use store::{EventQuery, EventStore, Position, StoreError};
use tokio::time::{sleep, timeout};

use crate::limits::AccountLimits;

const PAGE: usize = 256;
/// The pause between two reads of the log.
const INTERVAL: Duration = Duration::from_millis(200);
/// How often to check whether there are still delayed users if nothing is appended.
const IDLE_INTERVAL: Duration = Duration::from_mins(1);

/// Runs until no user's logins are delayed. `after` is the head from before the first one was locked.
pub(crate) async fn watch_unlocks(store: EventStore, accounts: Arc<AccountLimits>, mut after: Position) {
    let mut updates = store.watch_progress();
    while !accounts.stop_watching() {
        match timeout(IDLE_INTERVAL, updates.wait_for(|progress| progress.head > after)).await {
            Err(_) => continue,
            // The store has stopped.
            Ok(Err(_)) => return,
            Ok(Ok(_)) => {}
        }
        let head = store.progress().head;
        match unlock(&store, &accounts, after, head).await {
            Ok(read) => after = read,
            Err(error) => tracing::warn!(%error, "log not read for unlocked users; retrying"),
        }
        sleep(INTERVAL).await;
    }
}

/// Unlocks the users whose unlocking is recorded up to `head`. Returns the position up to which events were
/// read.
async fn unlock(
    store: &EventStore,
    accounts: &AccountLimits,
    after: Position,
    head: Position,
) -> Result<Position, StoreError> {
    let types = vec![UserEvent::UNLOCKED_TYPE.to_owned()];
    let query = EventQuery { after, until: Some(head), limit: PAGE, types, ..EventQuery::default() };
    let events = store.read_sealed(&query).await?;
    for event in &events {
        if let Some(user) = UserId::from_stream(event.stream.as_str()) {
            accounts.unlock(user);
        }
    }
    let is_full = events.len() == PAGE;
    Ok(events.last().filter(|_| is_full).map_or(head, |last| last.position))
}
