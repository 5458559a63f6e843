//! Counts the costs of all stored password hashes, which hashes for unknown accounts imitate.

use std::sync::Arc;
use std::time::Duration;

use domain::UserEvent;
use store::{EventQuery, EventStore, Position, StoreError};
use tokio::time::{Instant, sleep};

use crate::crypto::{CostsInUse, HashSurvey};
use crate::query::{QueryError, UserQueries};

const PAGE: usize = 500;
/// The pause between two pages, which keeps the load of a survey low.
const PAGE_INTERVAL: Duration = Duration::from_millis(20);
const INTERVAL: Duration = Duration::from_hours(1);
/// How often the log is searched for imported users. A survey during an import is repeated after this time.
const IMPORT_CHECK_INTERVAL: Duration = Duration::from_mins(1);
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Counts again from time to time: other nodes register users and replace hashes too.
pub(super) async fn run(rows: UserQueries, log: EventStore, costs: Arc<CostsInUse>) {
    loop {
        // Imported users whom the rows do not include yet are counted by the next survey.
        let surveyed = rows.applied_position();
        match survey(&rows).await {
            Ok(counts) => {
                costs.replace(counts);
                wait_until_due(&log, surveyed).await;
            }
            Err(error) => {
                tracing::debug!(%error, "stored password hashes not counted; retrying");
                sleep(RETRY_INTERVAL).await;
            }
        }
    }
}

/// Waits for the interval, or until users were imported after a position: they may all have hashes of a kind that
/// unknown accounts do not imitate yet.
async fn wait_until_due(log: &EventStore, surveyed: Position) {
    let (due, mut after) = (Instant::now() + INTERVAL, surveyed);
    while Instant::now() < due {
        sleep(IMPORT_CHECK_INTERVAL).await;
        let head = log.progress().head;
        match has_imported_users(log, after, head).await {
            Ok(true) => return,
            Ok(false) => after = head,
            Err(error) => tracing::debug!(%error, "not determined whether users were imported; retrying"),
        }
    }
}

async fn has_imported_users(log: &EventStore, after: Position, head: Position) -> Result<bool, StoreError> {
    if after >= head {
        return Ok(false);
    }
    let types = vec![UserEvent::IMPORTED_TYPE.to_owned()];
    let query = EventQuery { after, until: Some(head), types, limit: 1, ..EventQuery::default() };
    Ok(!log.read_sealed(&query).await?.is_empty())
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::{EmailAddress, Moment, PasswordHash, UserCommand, Username};
    use store::memory::Memory;
    use store::{Env, MasterKey};

    use super::*;
    use crate::command::{CommandContext, UserCommands};

    #[tokio::test(start_paused = true)]
    async fn survey_is_repeated_soon_after_an_import() {
        let env = Env::system();
        let master = MasterKey::generate(&env);
        let log = EventStore::open(Arc::new(Memory::default()), master, env.clone()).await.unwrap();
        let users = UserCommands::new(log.clone(), env.clone());
        let (email, username) = (EmailAddress::parse("ada@example.com"), Username::parse("ada"));
        let (email, username) = (email.unwrap(), username.unwrap());
        let password_hash = Some(PasswordHash::new("$argon2id$a".to_owned()).unwrap());
        let sign_up = UserCommand::Register { email, username, password_hash: password_hash.clone() };
        users.register("r", None, sign_up).await.unwrap();

        let began = Instant::now();
        wait_until_due(&log, Position::START).await;
        assert_eq!(began.elapsed(), INTERVAL, "sign-ups have hashes of the usual kind");

        let (email, username) = (EmailAddress::parse("bob@example.com"), Username::parse("bob"));
        let (email, username) = (email.unwrap(), username.unwrap());
        let created_at = Moment::from_millisecond(7).unwrap();
        let import = UserCommand::Import { email, username, password_hash, is_active: true, created_at };
        let context = CommandContext::new("operator:test", "r");
        users.create(&context, import, &BTreeSet::new()).await.unwrap();
        let began = Instant::now();
        wait_until_due(&log, Position::new(1)).await;
        assert_eq!(began.elapsed(), IMPORT_CHECK_INTERVAL);
        // That import is counted.
        let began = Instant::now();
        wait_until_due(&log, Position::new(2)).await;
        assert_eq!(began.elapsed(), INTERVAL);
    }
}
