//! Deletes expired sessions from time to time, on every node that serves requests. Several may do so at once.

use std::time::Duration;

use store::Sessions;

const INTERVAL: Duration = Duration::from_mins(10);

pub(super) async fn run(sessions: Sessions) {
    loop {
        match sessions.purge().await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "expired sessions deleted"),
            Err(error) => tracing::warn!(%error, "expired sessions not deleted; the next attempt follows"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
