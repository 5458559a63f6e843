//! Gives the claims on username skeletons to users who registered before these were introduced, or whose skeletons
//! other rules have derived.

use std::time::Duration;

use domain::{SKELETON_RULES, UserEvent};
use store::claim_backfill::Backfilled;
use store::{EventStore, Position};

use crate::query::claim_change;

const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Each is logged; the number of all is logged in the end.
const MAX_LOGGED: usize = 100;

/// Runs once at startup. Every node does: what another one has done is not done again.
pub(super) async fn run(store: EventStore) {
    let mut has_warned = false;
    loop {
        match store.backfill_claims(SKELETON_RULES, UserEvent::NAMING_TYPES, claim_change).await {
            Ok(done) => return report(&done),
            Err(error) => {
                if !std::mem::replace(&mut has_warned, true) {
                    tracing::warn!(
                        %error,
                        "claims on username skeletons not backfilled; retrying. Until then new usernames may look like \
                         existing ones"
                    );
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

fn report(done: &Backfilled) {
    for collision in done.collisions.iter().take(MAX_LOGGED) {
        tracing::warn!(
            user = %collision.stream, other = %collision.owner,
            "two existing users have usernames that look alike; both keep theirs"
        );
    }
    if !done.unreadable.is_empty() {
        let positions: Vec<_> = done.unreadable.iter().take(MAX_LOGGED).copied().map(Position::get).collect();
        tracing::error!(
            ?positions,
            count = done.unreadable.len(),
            "registrations cannot be read, so their usernames are not protected from look-alikes; `aegis events verify` \
             names the damage"
        );
    }
    if done.events > 0 {
        tracing::info!(
            registrations = done.events,
            collisions = done.collisions.len(),
            "checked the usernames registered since the last start"
        );
    }
}
