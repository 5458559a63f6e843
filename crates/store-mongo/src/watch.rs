//! Following what other processes write. A change stream wakes at once; a look each second makes up for whatever the
//! stream has missed. Both tell only that something moved: nothing is lost when they are late.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use store::{ProgressTracker, StoreError};
use tokio::time::{Instant, sleep};

use crate::connection::Db;
use crate::document_reader::DocumentReader;
use crate::error::{context, from_driver_error};
use crate::find::find;
use crate::row_document::to_checkpoint;
use crate::versions::to_versions;

/// How often to look, and how long a silent change stream waits before it answers "nothing".
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Starts both. They end by themselves, within about a second, once the board is gone: aborting them would drop the
/// driver's futures midway.
pub(crate) fn start(db: Db, tracker: &Arc<ProgressTracker>) {
    tracker.heartbeat();
    let tracker = Arc::downgrade(tracker);
    tokio::spawn(poll_loop(db.clone(), Weak::clone(&tracker)));
    tokio::spawn(run_change_stream(db, tracker));
}

async fn poll_loop(db: Db, tracker: Weak<ProgressTracker>) {
    let mut outage = OutageLog::default();
    while tracker.strong_count() > 0 {
        match poll(&db, &tracker).await {
            Ok(()) => outage.recovered("looking for new events works again"),
            Err(error) if tracker.strong_count() > 0 => outage.failed("cannot look for new events", &error),
            Err(_) => return,
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Reads how far the log and the read models are, and whether everything is still there.
async fn poll(db: &Db, tracker: &Weak<ProgressTracker>) -> Result<(), StoreError> {
    let Some(watched) = tracker.upgrade().map(|tracker| tracker.watched()) else { return Ok(()) };
    let position =
        |document: &RawDocument| DocumentReader::new(document, "the head of the log").position("position");
    let heads = find(db, &db.head(), "looking at the head", doc! {}, doc! {}, 1, position).await?;
    let checkpoints =
        find(db, &db.checkpoints(), "looking at checkpoints", doc! {}, doc! {}, usize::MAX, to_checkpoint)
            .await?;
    let versions =
        find(db, &db.read_models(), "looking at versions", doc! {}, doc! {}, usize::MAX, to_versions).await?;
    let there = db.handle().list_collection_names().await.map_err(context("looking at the collections"))?;
    let Some(tracker) = tracker.upgrade() else { return Ok(()) };
    for name in watched.into_iter().filter(|name| there.iter().all(|there| **there != **name)) {
        tracker.mark_dropped(&name);
    }
    for head in heads {
        tracker.advance_head(head);
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

/// Keeps a change stream open. One that breaks is opened anew from the present, never from a stored token, which
/// the server may have forgotten; what happened in between is looked up.
async fn run_change_stream(db: Db, tracker: Weak<ProgressTracker>) {
    let mut backoff = StreamBackoff::default();
    while tracker.strong_count() > 0 {
        let error = match open_change_stream(&db, &tracker).await {
            Ok(stream) => read_change_stream(&db, stream, &tracker, &mut backoff).await,
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
    // Whatever came before the stream was open is seen by looking; whatever comes after, by the stream.
    poll(db, tracker).await?;
    Ok(stream)
}

/// Heads, checkpoints and versions when they are written whole, which is whenever they have moved; a mere touch is none. And
/// whatever is dropped.
fn relevant_changes() -> Document {
    let moved = doc! {
        "operationType": { "$in": ["insert", "replace"] },
        "ns.coll": { "$in": ["head", "checkpoints", "read_models"] },
    };
    let gone = doc! { "operationType": { "$in": ["drop", "rename", "invalidate"] } };
    doc! { "$match": { "$or": [moved, gone] } }
}

/// Raises what the stream brings, until it ends. Says why it did.
async fn read_change_stream(
    db: &Db,
    mut stream: Stream,
    tracker: &Weak<ProgressTracker>,
    backoff: &mut StreamBackoff,
) -> StoreError {
    let mut answered_at_once = 0;
    loop {
        let asked = Instant::now();
        let event = stream.next_if_any().await;
        let Some(tracker) = tracker.upgrade() else { return stream_ended() };
        match event {
            Ok(Some(event)) => {
                // Who is woken by a change reads it.
                db.observe_change(event.cluster_time);
                if let Err(error) = publish(&tracker, &event) {
                    return error;
                }
            }
            Ok(None) if !stream.is_alive() => return stream_ended(),
            // The first answer is that of the opening itself. Where more of them come without having waited for
            // anything, the driver resumes over and over, and has no pause of its own.
            Ok(None) if asked.elapsed() < POLL_INTERVAL / 2 => {
                answered_at_once += 1;
                if answered_at_once > 1 {
                    sleep(StreamBackoff::FIRST_PAUSE).await;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return from_driver_error("following changes", error),
        }
        answered_at_once = 0;
        backoff.reset();
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
            tracker.advance_head(DocumentReader::new(document, "the head of the log").position("position")?)
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

/// What is wrong with the change stream, from when it breaks until one has brought something.
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

    /// How long to wait before the stream is opened again.
    fn pause(&mut self, error: &StoreError) -> Duration {
        let what = "the change stream is broken; new events of other processes are seen once a second";
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

/// Says a backoff once, however long it lasts.
#[derive(Default)]
struct OutageLog(bool);

impl OutageLog {
    fn failed(&mut self, what: &'static str, error: &StoreError) {
        if self.0 {
            tracing::debug!(%error, "still: {what}");
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
