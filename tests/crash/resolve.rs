//! Sending again what is not known to be done, and some of what is, under the same keys: each is told its first result.

use std::time::{Duration, Instant};

use testkit::service::PATIENCE;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::journal::{Outcome, Record};
use crate::swarm::Desk;

/// How many acknowledged writes are sent again for good measure.
const KNOWN: usize = 60;
/// How many are sent at once.
const AT_ONCE: usize = 8;
const PAUSE: Duration = Duration::from_millis(100);

/// Sends every open write that has a key again until its outcome is known. All services must be well.
pub(crate) async fn resolve(desk: &Desk) {
    let records = desk.journal.records();
    let open = records.iter().enumerate().filter(|(_, record)| record.is_open());
    let known: Vec<_> = records
        .iter()
        .enumerate()
        .filter(|(_, record)| record.key.is_some() && record.acknowledged().is_some())
        .collect();
    let step = (known.len() / KNOWN).max(1);
    let again = open.chain(known.into_iter().step_by(step));
    let mut sending = JoinSet::new();
    for (place, record) in again {
        if sending.len() >= AT_ONCE {
            sending.join_next().await.unwrap().unwrap();
        }
        sending.spawn(send_again(desk.clone(), place, record.clone()));
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    let open = desk.journal.records().into_iter().find(Record::is_open);
    assert!(open.is_none(), "nobody can tell yet what became of {open:?}");
}

async fn send_again(desk: Desk, place: usize, record: Record) {
    let started = Instant::now();
    let services = desk.services.len();
    for round in 0.. {
        let outcome =
            desk.attempt(place, &record.write, record.key.as_deref(), (place + round) % services).await;
        if matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged | Outcome::Refused { .. }) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "sent again and again, {record:?} still comes to {outcome:?}");
        sleep(PAUSE).await;
    }
}
