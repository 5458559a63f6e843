//! Sending again what is not known to be done, and some of what is, under the same keys: each is told its first result.

use std::time::{Duration, Instant};

use testkit::service::DEFAULT_TIMEOUT;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clients::ClientContext;
use crate::journal::{WriteOutcome, WriteRecord};

/// How many acknowledged writes are sent again for good measure.
const RESENT_ACKNOWLEDGED: usize = 60;
/// How many are sent at once.
const MAX_IN_FLIGHT: usize = 8;
const PAUSE: Duration = Duration::from_millis(100);

/// Sends every open write that has a key again until its outcome is known. All services must be well.
pub(crate) async fn resend_unsettled(context: &ClientContext) {
    let records = context.journal.records();
    let open = records.iter().enumerate().filter(|(_, record)| record.is_indeterminate());
    let known: Vec<_> = records
        .iter()
        .enumerate()
        .filter(|(_, record)| record.key.is_some() && record.acknowledged().is_some())
        .collect();
    let step = (known.len() / RESENT_ACKNOWLEDGED).max(1);
    let again = open.chain(known.into_iter().step_by(step));
    let mut sending = JoinSet::new();
    for (place, record) in again {
        if sending.len() >= MAX_IN_FLIGHT {
            sending.join_next().await.unwrap().unwrap();
        }
        sending.spawn(resend(context.clone(), place, record.clone()));
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    let open = context.journal.records().into_iter().find(WriteRecord::is_indeterminate);
    assert!(open.is_none(), "nobody can tell yet what became of {open:?}");
}

async fn resend(context: ClientContext, place: usize, record: WriteRecord) {
    let started = Instant::now();
    let services = context.services.len();
    for round in 0.. {
        let outcome =
            context.attempt(place, &record.write, record.key.as_deref(), (place + round) % services).await;
        if matches!(
            outcome,
            WriteOutcome::Acknowledged { .. } | WriteOutcome::Unchanged | WriteOutcome::Rejected { .. }
        ) {
            return;
        }
        assert!(
            started.elapsed() < DEFAULT_TIMEOUT,
            "sent again and again, {record:?} still comes to {outcome:?}"
        );
        sleep(PAUSE).await;
    }
}
