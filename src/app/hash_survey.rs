//! Counts the costs of all stored password hashes, which hashes for unknown accounts imitate.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::crypto::{CostsInUse, HashSurvey};
use crate::query::{QueryError, UserQueries};

const PAGE: usize = 500;
/// The pause between two pages, which keeps the load of a survey low.
const PAGE_INTERVAL: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_hours(1);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Counts again from time to time: other nodes register users and replace hashes too.
pub(super) async fn run(rows: UserQueries, costs: Arc<CostsInUse>) {
    loop {
        let interval = match survey(&rows).await {
            Ok(counts) => {
                costs.replace(counts);
                INTERVAL
            }
            Err(error) => {
                tracing::debug!(%error, "stored password hashes not counted; retrying");
                RETRY_INTERVAL
            }
        };
        sleep(interval).await;
    }
}

async fn survey(rows: &UserQueries) -> Result<HashSurvey, QueryError> {
    let (mut survey, mut after) = (HashSurvey::default(), None);
    loop {
        let page = rows.page(after, PAGE).await?;
        for row in &page {
            row.password_hash.iter().for_each(|hash| survey.add(hash));
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => return Ok(survey),
        }
        sleep(PAGE_INTERVAL).await;
    }
}
