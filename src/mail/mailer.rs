//! Sends the mails of the log, on the node that holds the lease `mailer`. The others are standbys.
//!
//! The log is the outbox: the mailer reads it from its cursor and lists the mails that are not sent yet, both in the
//! [`ProgressRecord`], which is written before an attempt begins and after it ends. A crash repeats at most the mails
//! that were being handed over.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::UserEvent;
use jiff::Timestamp;
use store::leader_election::RENEW_INTERVAL;
use store::{
    DeliveryStore, Envelope, EventQuery, EventStore, Position, StoreError, StoreProgress, WriteError,
};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::MAX_IN_HAND;
use super::attempt::{MailSender, Outcome};
use super::composer::{NOTICE_LIFETIME, may_have_mail};
use super::metrics::{MailMetrics, MailOutcome};
use super::progress::{MAX_RETRY_DELAY, PendingMail, ProgressRecord, after};
use crate::leader_job::LeaderJob;
use crate::webhooks::retry_delay;

/// Events appended within this time are read together.
const COALESCE_DELAY: Duration = Duration::from_millis(250);
/// How often the log is searched for a first mail.
const SEARCH_INTERVAL: Duration = Duration::from_millis(500);
/// How often that search records how far it has read, and how long ago it was there: a node that leads has recorded a
/// position that old itself, and is not disturbed.
const SEARCH_RECORD_INTERVAL: Duration = Duration::from_mins(2);
/// The pause after an error of this node or its database.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for a notification, in case one was lost.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// How long mails in hand may take when the mailer stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Sends mails while this node is the leader. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailer {
    pub(super) sender: Arc<MailSender>,
    pub(super) deliveries: Arc<dyn DeliveryStore>,
    pub(super) metrics: MailMetrics,
    /// Events read at once by the search for a first mail.
    pub(super) search_page_size: usize,
}

/// The mails in hand: tasks, each with its mail.
#[derive(Default)]
struct InHand {
    tasks: JoinSet<Outcome>,
    mails: HashMap<Id, PendingMail>,
}

#[async_trait]
impl LeaderJob for Mailer {
    const LEASES: &'static [&'static str] = &["mailer"];
    const STOP_TIMEOUT: Duration = Duration::from_secs(4);

    /// Records where mails begin, at the first start of all; then waits until there may be one.
    async fn wait_until_needed(&self) {
        let mut record = self.open_record().await;
        let (mut after, mut passed, mut passed_at) =
            (record.state.cursor, record.state.cursor, Instant::now());
        let mut is_reported = false;
        while record.state.pending.is_empty() {
            let head = self.log().progress().head.get();
            let is_at_end = match self.events(after, head, self.search_page_size).await {
                Ok(found) if found.iter().any(may_have_mail) => return,
                Ok(found) => {
                    let last = found.last().filter(|_| found.len() == self.search_page_size);
                    after = last.map_or(after.max(head), |event| event.position.get());
                    is_reported = false;
                    last.is_none()
                }
                Err(error) => {
                    report_once(&mut is_reported, &error, "searching the log for mails failed; retrying");
                    true
                }
            };
            if passed_at.elapsed() >= SEARCH_RECORD_INTERVAL {
                record = self.record_search(passed).await;
                after = after.max(record.state.cursor);
                (passed, passed_at) = (after, Instant::now());
            }
            if is_at_end {
                sleep(SEARCH_INTERVAL).await;
            }
        }
    }

    async fn lead(&self, _lease: usize, stop: &CancellationToken) {
        loop {
            match self.send_mails(stop).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, pause = ?ERROR_PAUSE, "sending mails failed; retrying"),
            }
            tokio::select! {
                () = sleep(ERROR_PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn ended(&self) {
        self.metrics.set_pending(None);
    }
}

impl Mailer {
    fn log(&self) -> &EventStore {
        &self.sender.composer.store
    }

    fn now(&self) -> Timestamp {
        self.sender.composer.env.now()
    }

    /// Reads the record, again until it succeeds.
    async fn open_record(&self) -> ProgressRecord {
        let mut is_reported = false;
        loop {
            match ProgressRecord::open(&self.deliveries, self.log()).await {
                Ok(record) => return record,
                Err(error) => {
                    report_once(&mut is_reported, &error, "reading the record of mails failed; retrying");
                    sleep(RENEW_INTERVAL).await;
                }
            }
        }
    }

    /// Records that there is no mail up to a position, so that a restart does not search there again. Returns the
    /// record as it is then.
    async fn record_search(&self, passed: u64) -> ProgressRecord {
        let mut record = self.open_record().await;
        if record.state.pending.is_empty() && record.state.cursor < passed {
            record.state.cursor = passed;
            if let Err(error) = record.write().await {
                tracing::debug!(%error, "recording the search for mails failed; retrying later");
            }
        }
        record
    }

    /// Sends until stopped.
    async fn send_mails(&self, stop: &CancellationToken) -> Result<(), WriteError> {
        let mut record = ProgressRecord::open(&self.deliveries, self.log()).await?;
        let mut in_hand = InHand::default();
        let mut updates = self.log().watch_progress();
        while !stop.is_cancelled() {
            let read_until = self.read_ahead(&mut record).await;
            let begun = self.begin_due(&mut record, &in_hand);
            self.write(&mut record).await?;
            for mail in begun {
                in_hand.begin(mail, Arc::clone(&self.sender));
            }
            let wait = self.wait_for_due(&record, &in_hand, read_until.is_none());
            let read_until = read_until.unwrap_or(u64::MAX);
            tokio::select! {
                Some((mail, outcome)) = in_hand.ended() => self.settle(&mut record, mail, outcome),
                is_open = grown(&mut updates, read_until) => {
                    if !is_open {
                        // The store has stopped.
                        break;
                    }
                    sleep(COALESCE_DELAY).await;
                }
                () = sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        self.finish(record, in_hand).await
    }

    /// Lists the mails of new events; returns up to where the log was read, if it was. What cannot be read holds up no
    /// mail that is listed already.
    async fn read_ahead(&self, record: &mut ProgressRecord) -> Option<u64> {
        let head = self.log().progress().head.get();
        while record.state.cursor < head && record.state.capacity() > 0 {
            let limit = record.state.capacity();
            let events = match self.events(record.state.cursor, head, limit).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(%error, "reading the log for mails failed; retrying");
                    return None;
                }
            };
            let last = events.last().filter(|_| events.len() == limit).map(|event| event.position.get());
            for event in events.iter().filter(|event| may_have_mail(event)) {
                record.state.add(event);
            }
            record.state.cursor = last.unwrap_or(head);
        }
        Some(record.state.cursor.max(head))
    }

    /// The events after a position whose types have mails.
    async fn events(&self, after: u64, until: u64, limit: usize) -> Result<Vec<Envelope>, StoreError> {
        if after >= until {
            return Ok(Vec::new());
        }
        let types = UserEvent::MAIL_TYPES.iter().map(|&name| name.to_owned()).collect();
        let (after, until) = (Position::new(after), Some(Position::new(until)));
        self.log().read_sealed(&EventQuery { after, until, limit, types, ..EventQuery::default() }).await
    }

    /// Marks the mails that are due as begun, as many as may be in hand.
    fn begin_due(&self, record: &mut ProgressRecord, in_hand: &InHand) -> Vec<PendingMail> {
        let (now, mut begun) = (self.now(), Vec::new());
        while in_hand.mails.len() + begun.len() < MAX_IN_HAND {
            let is_free = |position| {
                !in_hand.contains(position)
                    && !begun.iter().any(|mail: &PendingMail| mail.position == position)
            };
            let Some(mail) = record.state.begin_next(now, is_free, |attempts| self.delay(attempts)) else {
                break;
            };
            begun.push(mail);
        }
        begun
    }

    /// Writes the record, and waits for the database if it is unreachable: mails may have been handed over, and must
    /// not be forgotten as sent.
    async fn write(&self, record: &mut ProgressRecord) -> Result<(), WriteError> {
        self.metrics.set_pending(Some(&record.state));
        loop {
            match record.write_if_due().await {
                Err(WriteError::Store(error)) if error.is_transient() => {
                    tracing::warn!(%error, pause = ?ERROR_PAUSE, "recording mails failed; retrying");
                    sleep(ERROR_PAUSE).await;
                }
                written => return written,
            }
        }
    }

    fn settle(&self, record: &mut ProgressRecord, mail: PendingMail, outcome: Outcome) {
        let PendingMail { position, attempts, .. } = mail;
        let counted = match outcome {
            Outcome::NoMail => None,
            Outcome::Done(outcome) => Some(outcome),
            Outcome::GivenUp(error) => {
                tracing::warn!(position, attempts, error, "mail given up");
                Some(MailOutcome::GivenUp)
            }
            Outcome::Limited => {
                tracing::warn!(position, "mail given up: its address has received too many mails");
                Some(MailOutcome::Limited)
            }
            Outcome::Failed { error, deadline } => {
                let next = after(self.now(), self.delay(attempts));
                let deadline = deadline.unwrap_or_else(|| after(mail.at, NOTICE_LIFETIME));
                if next < deadline {
                    tracing::warn!(position, attempts, error, %next, "mail not sent; it is attempted again");
                    record.state.retry_at(position, next);
                    self.metrics.count(MailOutcome::Failed);
                    return;
                }
                tracing::warn!(position, attempts, error, "mail given up: it was not accepted in time");
                Some(MailOutcome::GivenUp)
            }
        };
        record.state.remove(position);
        if let Some(outcome) = counted {
            self.metrics.count(outcome);
            tracing::debug!(position, attempts, ?outcome, "mail done with");
        }
    }

    /// The delay before the next attempt.
    fn delay(&self, attempts: u32) -> Duration {
        retry_delay(attempts, u32::from_be_bytes(self.sender.composer.env.bytes()), None).min(MAX_RETRY_DELAY)
    }

    /// How long until a mail is due that may be begun then.
    fn wait_for_due(&self, record: &ProgressRecord, in_hand: &InHand, has_failed: bool) -> Duration {
        let longest = if has_failed { ERROR_PAUSE } else { MAX_WAIT };
        if in_hand.mails.len() >= MAX_IN_HAND {
            return longest;
        }
        let due = record.state.next_due(|position| !in_hand.contains(position));
        let wait = due.map(|due| Duration::try_from(due.duration_since(self.now())).unwrap_or_default());
        wait.unwrap_or(longest).min(longest)
    }

    /// Waits for the mails in hand, so that a graceful stop repeats none.
    async fn finish(&self, mut record: ProgressRecord, mut in_hand: InHand) -> Result<(), WriteError> {
        let until = Instant::now() + STOP_TIMEOUT;
        let ended = async {
            while let Some((mail, outcome)) = in_hand.ended().await {
                self.settle(&mut record, mail, outcome);
                self.write(&mut record).await?;
            }
            record.write().await
        };
        timeout(until.saturating_duration_since(Instant::now()), ended).await.unwrap_or(Ok(()))
    }
}

/// Warns of the first of several failures in a row.
fn report_once(is_reported: &mut bool, error: &dyn Error, failure: &'static str) {
    if std::mem::replace(is_reported, true) {
        tracing::debug!(%error, "{failure}");
    } else {
        tracing::warn!(%error, "{failure}");
    }
}

/// Waits until the log has grown beyond a position; false if it never will.
async fn grown(updates: &mut watch::Receiver<StoreProgress>, read_until: u64) -> bool {
    updates.wait_for(|progress| progress.head.get() > read_until).await.is_ok()
}

impl InHand {
    fn begin(&mut self, mail: PendingMail, sender: Arc<MailSender>) {
        let task = self.tasks.spawn(async move { sender.attempt(mail).await });
        self.mails.insert(task.id(), mail);
    }

    fn contains(&self, position: u64) -> bool {
        self.mails.values().any(|mail| mail.position == position)
    }

    /// The next attempt that ends; `None` if there is none.
    async fn ended(&mut self) -> Option<(PendingMail, Outcome)> {
        let (id, outcome) = match self.tasks.join_next_with_id().await? {
            Ok(ended) => ended,
            Err(failed) => (
                failed.id(),
                Outcome::Failed { error: "the attempt ended in a fault".to_owned(), deadline: None },
            ),
        };
        Some((self.mails.remove(&id)?, outcome))
    }
}
