//! Watches for writes of other processes. The change stream notifies immediately; while it does not deliver, a
//! poll every second takes its place. Both only report progress, so nothing is lost when a notification is late.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use store::{Position, ProgressTracker, ProjectionCheckpoint, StoreError};
use tokio::time::{Instant, sleep};

use crate::connection::Db;
use crate::document_reader::DocumentReader;
use crate::error::{context, from_driver_error};
use crate::find::{FindRequest, find, search};
use crate::row_document::to_checkpoint;
use crate::versions::to_versions;

/// Time between two polls, and how long the server holds an idle `getMore` of the change stream.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two polls while the change stream delivers.
const SLOW_POLL_INTERVAL: Duration = Duration::from_secs(10);
/// The change stream delivers if it has answered within this time.
const MAX_STREAM_SILENCE: Duration = Duration::from_millis(2_500);

/// When the change stream last answered.
#[derive(Clone, Default)]
struct StreamActivity(Arc<Mutex<Option<Instant>>>);

impl StreamActivity {
    fn record(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_delivering(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < MAX_STREAM_SILENCE)
    }
}

/// Starts the poller and the change stream. They end within about a second after the tracker is dropped;
/// aborting them would drop the driver's futures before completion.
pub(crate) fn start(db: Db, tracker: &Arc<ProgressTracker>) {
    tracker.heartbeat();
    let tracker = Arc::downgrade(tracker);
    let stream = StreamActivity::default();
    tokio::spawn(poll_loop(db.clone(), Weak::clone(&tracker), stream.clone()));
    tokio::spawn(run_change_stream(db, tracker, stream));
}

async fn poll_loop(db: Db, tracker: Weak<ProgressTracker>, stream: StreamActivity) {
    let mut outage = OutageLog::default();
    let mut polled: Option<Instant> = None;
    while tracker.strong_count() > 0 {
        if stream.is_delivering() && polled.is_some_and(|last| last.elapsed() < SLOW_POLL_INTERVAL) {
            sleep(POLL_INTERVAL).await;
            continue;
        }
        polled = Some(Instant::now());
        match poll(&db, &tracker).await {
            Ok(()) => outage.recovered("polling MongoDB for progress works again"),
            Err(error) if tracker.strong_count() > 0 => {
                outage.failed("polling MongoDB for progress failed; retrying every second", &error);
            }
            Err(_) => return,
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Reads the progress of the log and the read models, and detects dropped collections.
async fn poll(db: &Db, tracker: &Weak<ProgressTracker>) -> Result<(), StoreError> {
    let Some(watched) = tracker.upgrade().map(|tracker| tracker.watched()) else { return Ok(()) };
    let heads = poll_head(db).await?;
    let checkpoints = find(
        db,
        &db.checkpoints(),
        "polling projection checkpoints",
        in_use(),
        doc! {},
        usize::MAX,
        to_checkpoint,
    )
    .await?;
    let versions =
        find(db, &db.read_models(), "polling projection versions", doc! {}, doc! {}, usize::MAX, to_versions)
            .await?;
    let there = db.handle().list_collection_names().await.map_err(context("listing collections"))?;
    let Some(tracker) = tracker.upgrade() else { return Ok(()) };
    for name in watched.into_iter().filter(|name| there.iter().all(|there| **there != **name)) {
        tracker.mark_dropped(&name);
    }
    for (head, at) in heads {
        tracker.advance_head(head);
        tracker.observe_head_time(at);
    }
    for (table, checkpoint, _) in checkpoints {
        tracker.advance_checkpoint(&table, checkpoint);
    }
    for (projection, versions) in versions {
        tracker.advance_versions(&projection, versions);
    }
    tracker.heartbeat();
    Ok(())
}

/// The head of the log, if there is one. Also reads the clock of the primary.
async fn poll_head(db: &Db) -> Result<Vec<(Position, Timestamp)>, StoreError> {
    let fields = Some(doc! { "position": 1, "at": 1, "now": "$$NOW" });
    let request = FindRequest { filter: doc! {}, order: doc! {}, limit: 1, index: None, fields };
    let head = |document: &RawDocument| {
        let fields = DocumentReader::new(document, "the head of the log");
        db.clock().observe(fields.timestamp("now")?);
        Ok((fields.position("position")?, fields.timestamp("at")?))
    };
    search(db, &db.head(), "polling the head of the log", request, head).await
}

/// Selects the checkpoints of tables in use. Those of removed tables stay permanently, and are many after years
/// of rebuilds; that a table is removed is known from the versions.
fn in_use() -> Document {
    doc! { "rebuilds": { "$ne": ProjectionCheckpoint::removed().rebuilds.cast_signed() } }
}

/// Keeps a change stream open. A broken stream is reopened at the present, not from a resume token, whose
/// history the server may have lost; a poll covers the gap.
async fn run_change_stream(db: Db, tracker: Weak<ProgressTracker>, activity: StreamActivity) {
    let mut backoff = StreamBackoff::default();
    while tracker.strong_count() > 0 {
        let error = match open_change_stream(&db, &tracker).await {
            Ok(stream) => read_change_stream(&db, stream, &tracker, &activity, &mut backoff).await,
            Err(error) => error,
        };
        if tracker.strong_count() == 0 {
            return;
        }
        sleep(backoff.pause(&error)).await;
    }
}

type Stream = ChangeStream<ChangeStreamEvent<RawDocumentBuf>>;

async fn open_change_stream(db: &Db, tracker: &Weak<ProgressTracker>) -> Result<Stream, StoreError> {
    let stream = db
        .handle()
        .watch()
        .pipeline([relevant_changes()])
        .max_await_time(POLL_INTERVAL)
        .batch_size(1000)
        .await;
    let stream = stream.map_err(context("opening the change stream"))?.with_type();
    // The poll sees what happened before the stream was open; the stream sees what happens after.
    poll(db, tracker).await?;
    Ok(stream)
}

/// Replacements of heads, checkpoints and versions, which is how they advance (updates only lock them), and
/// dropped collections.
fn relevant_changes() -> Document {
    let moved = doc! {
        "operationType": { "$in": ["insert", "replace"] },
        "ns.coll": { "$in": ["head", "checkpoints", "read_models"] },
    };
    let gone = doc! { "operationType": { "$in": ["drop", "rename", "invalidate"] } };
    doc! { "$match": { "$or": [moved, gone] } }
}

/// Publishes the changes of the stream until it ends; returns why.
async fn read_change_stream(
    db: &Db,
    mut stream: Stream,
    tracker: &Weak<ProgressTracker>,
    activity: &StreamActivity,
    backoff: &mut StreamBackoff,
) -> StoreError {
    let mut immediate_answers = 0;
    loop {
        let requested = Instant::now();
        let event = stream.next_if_any().await;
        let Some(tracker) = tracker.upgrade() else { return stream_ended() };
        match event {
            Ok(Some(event)) => {
                // Before the notification: the woken reader must see the change.
                db.observe_change(event.cluster_time);
                if let Err(error) = publish(&tracker, &event) {
                    return error;
                }
            }
            Ok(None) if !stream.is_alive() => return stream_ended(),
            // The first immediate answer is that of the opening itself. More of them mean that the driver
            // resumes a broken stream in a loop, for which it has no backoff.
            Ok(None) if requested.elapsed() < POLL_INTERVAL / 2 => {
                immediate_answers += 1;
                if immediate_answers > 1 {
                    sleep(StreamBackoff::FIRST_PAUSE).await;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return from_driver_error("reading the change stream", error),
        }
        immediate_answers = 0;
        backoff.reset();
        activity.record();
        tracker.heartbeat();
    }
}

fn publish(tracker: &ProgressTracker, event: &ChangeStreamEvent<RawDocumentBuf>) -> Result<(), StoreError> {
    let collection = event.ns.as_ref().and_then(|ns| ns.coll.as_deref()).unwrap_or_default();
    if matches!(event.operation_type, OperationType::Drop | OperationType::Rename) {
        tracker.mark_dropped(collection);
    }
    let Some(document) = &event.full_document else { return Ok(()) };
    match collection {
        "head" => {
            let head = DocumentReader::new(document, "the head of the log");
            tracker.advance_head(head.position("position")?);
            tracker.observe_head_time(head.timestamp("at")?);
        }
        "read_models" => {
            let (projection, versions) = to_versions(document)?;
            tracker.advance_versions(&projection, versions);
        }
        _ => {
            let (table, checkpoint, _) = to_checkpoint(document)?;
            tracker.advance_checkpoint(&table, checkpoint);
        }
    }
    Ok(())
}

fn stream_ended() -> StoreError {
    StoreError::Unavailable { what: "the change stream has ended".to_owned(), source: None }
}

/// Backoff and logging while the change stream is broken.
struct StreamBackoff {
    outage: OutageLog,
    pause: Duration,
}

impl Default for StreamBackoff {
    fn default() -> Self {
        Self { outage: OutageLog::default(), pause: Self::FIRST_PAUSE }
    }
}

impl StreamBackoff {
    const FIRST_PAUSE: Duration = Duration::from_millis(100);
    const MAX_PAUSE: Duration = Duration::from_secs(5);

    /// Logs the error and returns the pause before the stream is reopened.
    fn pause(&mut self, error: &StoreError) -> Duration {
        let what = "the change stream is broken; writes of other processes are seen by polling once a second";
        self.outage.failed(what, error);
        let pause = self.pause;
        self.pause = (pause * 2).min(Self::MAX_PAUSE);
        pause
    }

    fn reset(&mut self) {
        self.outage.recovered("the change stream works again");
        self.pause = Self::FIRST_PAUSE;
    }
}

/// Logs the start and the end of an outage once.
#[derive(Default)]
struct OutageLog(bool);

impl OutageLog {
    fn failed(&mut self, what: &'static str, error: &StoreError) {
        if self.0 {
            tracing::debug!(%error, "still failing: {what}");
        } else {
            tracing::warn!(%error, "{what}");
        }
        self.0 = true;
    }

    fn recovered(&mut self, what: &'static str) {
        if self.0 {
            tracing::info!("{what}");
        }
        self.0 = false;
    }
}
