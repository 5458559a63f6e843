//! The write of a batch in progress, while the next batch is read and folded.

use std::collections::HashSet;
use std::time::Duration;

use store::{ProjectionCheckpoint, TableWrite};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument;

use crate::event_reader::EventBatch;
use crate::projection::Projection;
use crate::table_projection::{BatchError, TableProjection, retryable, write_tables};

/// Ends with it, as far as the database can still be kept from it.
pub(crate) struct BackgroundWrite {
    batch: EventBatch,
    to: ProjectionCheckpoint,
    /// The rows that it changes.
    keys: HashSet<String>,
    /// Returns how long it took.
    writing: JoinHandle<Result<Duration, BatchError>>,
}

/// A batch that was written.
pub(crate) struct WrittenBatch {
    pub(crate) batch: EventBatch,
    pub(crate) to: ProjectionCheckpoint,
    pub(crate) took: Duration,
}

impl Drop for BackgroundWrite {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

impl BackgroundWrite {
    /// Begins to write the rows of `batch`.
    pub(crate) fn start(projection: &TableProjection, batch: EventBatch, write: TableWrite) -> Self {
        let span = tracing::info_span!(
            "projection_batch",
            table = &*write.table.name,
            from = write.from.position.get(),
            to = write.to.position.get(),
        );
        let (context, from, to) = (projection.context.clone(), write.from, write.to);
        let keys = write.changes.iter().map(|change| change.key.clone()).collect();
        let writing = async move {
            let begun = Instant::now();
            write_tables(&context, from, vec![write]).await.map(|()| begun.elapsed())
        };
        Self { batch, to, keys, writing: tokio::spawn(writing.instrument(span)) }
    }

    /// Whether rows that it changes must be read to fold the next batch, which therefore has to wait for it.
    pub(crate) fn blocks(&self, next: &EventBatch, projection: &dyn Projection) -> bool {
        let keys = next.events.iter().filter_map(|event| projection.key(&event.envelope));
        keys.into_iter().any(|key| self.keys.contains(&key))
    }

    /// Waits until it is done.
    pub(crate) async fn finish(mut self) -> Result<WrittenBatch, BatchError> {
        let written = (&mut self.writing).await;
        let stopped = |error| retryable(store::StoreError::unavailable("writing rows", error));
        let took = written.map_err(stopped)??;
        Ok(WrittenBatch { batch: self.batch.clone(), to: self.to, took })
    }
}
