//! Following what other processes write. A change stream wakes at once; a look each second makes up for whatever the
//! stream has missed. Both tell only that something moved: nothing is lost when they are late.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::ChangeStreamEvent;
use store::{SignalBoard, StoreError};
use tokio::time::sleep;

use crate::connect::Db;
use crate::failure::{cannot, from_driver};
use crate::fields::Fields;
use crate::find::find;
use crate::row_document::to_checkpoint;

/// How often to look, and how long a silent change stream waits before it answers "nothing".
const EVERY: Duration = Duration::from_secs(1);
/// The longest pause before a broken change stream is opened again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Starts both. They end by themselves, within about a second, once the board is gone: aborting them would drop the
/// driver's futures midway.
pub(crate) fn start(db: Db, board: &Arc<SignalBoard>) {
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

/// Reads how far the log and the read models are.
async fn look(db: &Db, board: &Weak<SignalBoard>) -> Result<(), StoreError> {
    let position = |document: &mongodb::bson::RawDocument| {
        Fields::new(document, "the head of the log").position("position")
    };
    let heads = find(db, &db.head(), "looking at the head", doc! {}, doc! {}, 1, position).await?;
    let checkpoints =
        find(db, &db.projections(), "looking at checkpoints", doc! {}, doc! {}, usize::MAX, to_checkpoint)
            .await?;
    let Some(board) = board.upgrade() else { return Ok(()) };
    for head in heads {
        board.raise_head(head);
    }
    for (table, checkpoint, _) in checkpoints {
        board.raise_checkpoint(&table, checkpoint);
    }
    Ok(())
}

/// Keeps a change stream open. One that breaks is opened anew from the present, never from a stored token, which
/// the server may have forgotten; what happened in between is looked up.
async fn follow(db: Db, board: Weak<SignalBoard>) {
    let mut reported = Reported::default();
    let mut pause = Duration::from_millis(100);
    while board.strong_count() > 0 {
        let error = match open(&db, &board).await {
            Ok(stream) => {
                reported.well("the change stream is open again");
                pause = Duration::from_millis(100);
                listen(&db, stream, &board).await
            }
            Err(error) => error,
        };
        if board.strong_count() == 0 {
            return;
        }
        reported
            .ill("the change stream is broken; new events of other processes are seen once a second", &error);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

type Stream = ChangeStream<ChangeStreamEvent<RawDocumentBuf>>;

async fn open(db: &Db, board: &Weak<SignalBoard>) -> Result<Stream, StoreError> {
    let stream =
        db.handle().watch().pipeline([whole_documents()]).max_await_time(EVERY).batch_size(1000).await;
    let stream = stream.map_err(cannot("opening the change stream"))?.with_type();
    // Whatever came before the stream was open is seen by looking; whatever comes after, by the stream.
    look(db, board).await?;
    Ok(stream)
}

/// Heads and checkpoints when they are written whole, which is whenever they have moved; a mere touch is none.
fn whole_documents() -> Document {
    let moved = doc! {
        "operationType": { "$in": ["insert", "replace"] },
        "ns.coll": { "$in": ["head", "projections"] },
    };
    doc! { "$match": { "$or": [moved, { "operationType": "invalidate" }] } }
}

/// Raises what the stream brings, until it ends. Says why it did.
async fn listen(db: &Db, mut stream: Stream, board: &Weak<SignalBoard>) -> StoreError {
    loop {
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
            Ok(None) if stream.is_alive() => {}
            Ok(None) => return ended(),
            Err(error) => return from_driver("following changes", error),
        }
    }
}

fn raise(board: &SignalBoard, event: &ChangeStreamEvent<RawDocumentBuf>) -> Result<(), StoreError> {
    let Some(document) = &event.full_document else { return Ok(()) };
    let collection = event.ns.as_ref().and_then(|ns| ns.coll.as_deref());
    if collection == Some("head") {
        board.raise_head(Fields::new(document, "the head of the log").position("position")?);
    } else {
        let (table, checkpoint, _) = to_checkpoint(document)?;
        board.raise_checkpoint(&table, checkpoint);
    }
    Ok(())
}

fn ended() -> StoreError {
    StoreError::Unavailable { what: "the change stream has ended".to_owned(), source: None }
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
