//! Following what other processes write. A change stream wakes at once; a look each second makes up for whatever the
//! stream has missed. Both tell only that something moved: nothing is lost when they are late.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use store::{SignalBoard, StoreError};
use tokio::time::{Instant, sleep};

use crate::connect::Db;
use crate::failure::{cannot, from_driver};
use crate::fields::Fields;
use crate::find::find;
use crate::row_document::to_checkpoint;
use crate::versions::to_versions;

/// How often to look, and how long a silent change stream waits before it answers "nothing".
const EVERY: Duration = Duration::from_secs(1);

/// Starts both. They end by themselves, within about a second, once the board is gone: aborting them would drop the
/// driver's futures midway.
pub(crate) fn start(db: Db, board: &Arc<SignalBoard>) {
    board.hear();
    let board = Arc::downgrade(board);
    tokio::spawn(look_each_second(db.clone(), Weak::clone(&board)));
    tokio::spawn(follow(db, board));
}

async fn look_each_second(db: Db, board: Weak<SignalBoard>) {
    let mut reported = Reported::default();
    while board.strong_count() > 0 {
        match look(&db, &board).await {
            Ok(()) => reported.well("looking for new events works again"),
            Err(error) if board.strong_count() > 0 => reported.ill("cannot look for new events", &error),
            Err(_) => return,
        }
        sleep(EVERY).await;
    }
}

/// Reads how far the log and the read models are, and whether everything is still there.
async fn look(db: &Db, board: &Weak<SignalBoard>) -> Result<(), StoreError> {
    let Some(relied_on) = board.upgrade().map(|board| board.relied_on()) else { return Ok(()) };
    let position = |document: &RawDocument| Fields::new(document, "the head of the log").position("position");
    let heads = find(db, &db.head(), "looking at the head", doc! {}, doc! {}, 1, position).await?;
    let checkpoints =
        find(db, &db.checkpoints(), "looking at checkpoints", doc! {}, doc! {}, usize::MAX, to_checkpoint)
            .await?;
    let versions =
        find(db, &db.read_models(), "looking at versions", doc! {}, doc! {}, usize::MAX, to_versions).await?;
    let there = db.handle().list_collection_names().await.map_err(cannot("looking at the collections"))?;
    let Some(board) = board.upgrade() else { return Ok(()) };
    for name in relied_on.into_iter().filter(|name| there.iter().all(|there| **there != **name)) {
        board.lose(&name);
    }
    for head in heads {
        board.raise_head(head);
    }
    for (table, checkpoint, _) in checkpoints {
        board.raise_checkpoint(&table, checkpoint);
    }
    for (projection, versions) in versions {
        board.raise_versions(&projection, versions);
    }
    board.hear();
    Ok(())
}

/// Keeps a change stream open. One that breaks is opened anew from the present, never from a stored token, which
/// the server may have forgotten; what happened in between is looked up.
async fn follow(db: Db, board: Weak<SignalBoard>) {
    let mut trouble = Trouble::default();
    while board.strong_count() > 0 {
        let error = match open(&db, &board).await {
            Ok(stream) => listen(&db, stream, &board, &mut trouble).await,
            Err(error) => error,
        };
        if board.strong_count() == 0 {
            return;
        }
        sleep(trouble.pause(&error)).await;
    }
}

type Stream = ChangeStream<ChangeStreamEvent<RawDocumentBuf>>;

async fn open(db: &Db, board: &Weak<SignalBoard>) -> Result<Stream, StoreError> {
    let stream = db.handle().watch().pipeline([what_matters()]).max_await_time(EVERY).batch_size(1000).await;
    let stream = stream.map_err(cannot("opening the change stream"))?.with_type();
    // Whatever came before the stream was open is seen by looking; whatever comes after, by the stream.
    look(db, board).await?;
    Ok(stream)
}

/// Heads, checkpoints and versions when they are written whole, which is whenever they have moved; a mere touch is none. And
/// whatever is dropped.
fn what_matters() -> Document {
    let moved = doc! {
        "operationType": { "$in": ["insert", "replace"] },
        "ns.coll": { "$in": ["head", "checkpoints", "read_models"] },
    };
    let gone = doc! { "operationType": { "$in": ["drop", "rename", "invalidate"] } };
    doc! { "$match": { "$or": [moved, gone] } }
}

/// Raises what the stream brings, until it ends. Says why it did.
async fn listen(db: &Db, mut stream: Stream, board: &Weak<SignalBoard>, trouble: &mut Trouble) -> StoreError {
    let mut answered_at_once = 0;
    loop {
        let asked = Instant::now();
        let event = stream.next_if_any().await;
        let Some(board) = board.upgrade() else { return ended() };
        match event {
            Ok(Some(event)) => {
                // Who is woken by a change reads it.
                db.heard_of(event.cluster_time);
                if let Err(error) = raise(&board, &event) {
                    return error;
                }
            }
            Ok(None) if !stream.is_alive() => return ended(),
            // The first answer is that of the opening itself. Where more of them come without having waited for
            // anything, the driver resumes over and over, and has no pause of its own.
            Ok(None) if asked.elapsed() < EVERY / 2 => {
                answered_at_once += 1;
                if answered_at_once > 1 {
                    sleep(Trouble::FIRST_PAUSE).await;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return from_driver("following changes", error),
        }
        answered_at_once = 0;
        trouble.over();
        board.hear();
    }
}

fn raise(board: &SignalBoard, event: &ChangeStreamEvent<RawDocumentBuf>) -> Result<(), StoreError> {
    let collection = event.ns.as_ref().and_then(|ns| ns.coll.as_deref()).unwrap_or_default();
    if matches!(event.operation_type, OperationType::Drop | OperationType::Rename) {
        board.lose(collection);
    }
    let Some(document) = &event.full_document else { return Ok(()) };
    match collection {
        "head" => board.raise_head(Fields::new(document, "the head of the log").position("position")?),
        "read_models" => {
            let (projection, versions) = to_versions(document)?;
            board.raise_versions(&projection, versions);
        }
        _ => {
            let (table, checkpoint, _) = to_checkpoint(document)?;
            board.raise_checkpoint(&table, checkpoint);
        }
    }
    Ok(())
}

fn ended() -> StoreError {
    StoreError::Unavailable { what: "the change stream has ended".to_owned(), source: None }
}

/// What is wrong with the change stream, from when it breaks until one has brought something.
struct Trouble {
    reported: Reported,
    pause: Duration,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { reported: Reported::default(), pause: Self::FIRST_PAUSE }
    }
}

impl Trouble {
    const FIRST_PAUSE: Duration = Duration::from_millis(100);
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);

    /// How long to wait before the stream is opened again.
    fn pause(&mut self, error: &StoreError) -> Duration {
        let what = "the change stream is broken; new events of other processes are seen once a second";
        self.reported.ill(what, error);
        let pause = self.pause;
        self.pause = (pause * 2).min(Self::LONGEST_PAUSE);
        pause
    }

    fn over(&mut self) {
        self.reported.well("the change stream works again");
        self.pause = Self::FIRST_PAUSE;
    }
}

/// Says a trouble once, however long it lasts.
#[derive(Default)]
struct Reported(bool);

impl Reported {
    fn ill(&mut self, what: &'static str, error: &StoreError) {
        if self.0 {
            tracing::debug!(%error, "still: {what}");
        } else {
            tracing::warn!(%error, "{what}");
        }
        self.0 = true;
    }

    fn well(&mut self, what: &'static str) {
        if self.0 {
            tracing::info!("{what}");
        }
        self.0 = false;
    }
}
