//! Gives the claims on username skeletons to users who registered before these were introduced, or whose skeletons
//! another version of Unicode derives.

use std::time::Duration;

use domain::skeleton_version;
use store::{ClaimCollision, EventStore};

use crate::query::claim_change;

/// The events that take such a claim.
const TYPES: [&str; 2] = ["UserRegistered", "UserImported"];
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Each is logged; the number of all is logged in the end.
const MAX_LOGGED_COLLISIONS: usize = 100;

/// Runs once at startup. Every node does: what another one has done is not done again.
pub(super) async fn run(store: EventStore) {
    let mut collisions = 0;
    let mut on_collision = |ClaimCollision { stream, owner }: ClaimCollision| {
        collisions += 1;
        if collisions <= MAX_LOGGED_COLLISIONS {
            tracing::warn!(
                user = %stream, other = %owner,
                "two existing users have usernames that look alike; both keep theirs"
            );
        }
    };
    let streams = loop {
        match store.backfill_claims(&skeleton_version(), &TYPES, claim_change, &mut on_collision).await {
            Ok(streams) => break streams,
            Err(error) if error.is_transient() => {
                tracing::debug!(%error, "claims on username skeletons not backfilled; retrying");
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            Err(error) => {
                tracing::error!(
                    %error,
                    "claims on username skeletons not backfilled: new usernames may look like existing ones; \
                     `aegis events verify` names the damage"
                );
                return;
            }
        }
    };
    if streams > 0 {
        tracing::info!(
            users = streams,
            collisions,
            "checked the usernames of users registered since the last start"
        );
    }
}
