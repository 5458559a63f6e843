//! Resends indeterminate writes, and some acknowledged ones, under their idempotency keys: each gets its
//! recorded response.

use std::time::{Duration, Instant};

use testkit::service::DEFAULT_TIMEOUT;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clients::ClientContext;
use crate::journal::{WriteOutcome, WriteRecord};

/// How many acknowledged writes are resent as well.
const RESENT_ACKNOWLEDGED: usize = 60;
/// Concurrent requests.
const MAX_IN_FLIGHT: usize = 8;
const PAUSE: Duration = Duration::from_millis(100);

/// Resends every indeterminate write until its outcome is known. All services must be healthy.
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
    for (index, record) in again {
        if sending.len() >= MAX_IN_FLIGHT {
            sending.join_next().await.unwrap().unwrap();
        }
        sending.spawn(resend(context.clone(), index, record.clone()));
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    let open = context.journal.records().into_iter().find(WriteRecord::is_indeterminate);
    assert!(open.is_none(), "still indeterminate: {open:?}");
}

async fn resend(context: ClientContext, index: usize, record: WriteRecord) {
    let started = Instant::now();
    let services = context.services.len();
    for round in 0.. {
        let outcome =
            context.attempt(index, &record.write, record.key.as_deref(), (index + round) % services).await;
        if matches!(
            outcome,
            WriteOutcome::Acknowledged { .. } | WriteOutcome::Unchanged | WriteOutcome::Rejected { .. }
        ) {
            return;
        }
        assert!(started.elapsed() < DEFAULT_TIMEOUT, "{record:?} is still {outcome:?} after many attempts");
        sleep(PAUSE).await;
    }
}
