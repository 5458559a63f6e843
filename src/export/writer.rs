//! Writes an export: chunks of the log are read and rendered concurrently, and written in order.

use std::pin::pin;

use domain::stored_event_types;
use futures::{StreamExt, TryStreamExt, stream};
use store::{EventQuery, EventStore, Position, StoreError};
use tokio_util::task::AbortOnDropHandle;

use super::ExportError;
use super::format::ExportFormat;
use super::partial::{ExportPlan, ExportRequest, PartialExport};

/// The number of positions in a chunk.
const CHUNK_EVENTS: u64 = 2_000;
/// The number of chunks in work at once.
const CONCURRENT_CHUNKS: usize = 4;

/// The lines of a chunk, their number, and the last position.
type Chunk = (String, u64, u64);

/// Writes the rest of an export, reporting the position after each chunk.
///
/// # Errors
/// [`ExportError`] if the log cannot be read or the file cannot be written.
pub async fn write_export(
    store: &EventStore,
    part: &mut PartialExport,
    on_progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), ExportError> {
    let to = part.plan().to;
    let ExportPlan { request: ExportRequest { format, types, .. }, .. } = part.plan().clone();
    let starts = (part.position()..to).step_by(usize::try_from(CHUNK_EVENTS).unwrap_or(usize::MAX));
    let render = |start: u64| {
        let (store, types, end) = (store.clone(), types.clone(), to.min(start + CHUNK_EVENTS));
        // A task, so that another thread can render it.
        AbortOnDropHandle::new(tokio::spawn(
            async move { render_chunk(&store, format, types, start, end).await },
        ))
    };
    let mut chunks = pin!(stream::iter(starts).map(render).buffered(CONCURRENT_CHUNKS).map(|rendered| {
        rendered.unwrap_or_else(|stopped| Err(StoreError::unavailable("reading a chunk of the log", stopped)))
    }));
    while let Some((lines, count, end)) = chunks.try_next().await? {
        part.add(&lines, count, end)?;
        on_progress(end);
    }
    Ok(())
}

async fn render_chunk(
    store: &EventStore,
    format: ExportFormat,
    types: Vec<String>,
    start: u64,
    end: u64,
) -> Result<Chunk, StoreError> {
    let limit = usize::try_from(CHUNK_EVENTS).unwrap_or(usize::MAX);
    let (after, until) = (Position::new(start), Some(Position::new(end)));
    let types = stored_event_types(&types);
    let mut query = EventQuery { after, until, limit, types, ..EventQuery::default() };
    let (mut lines, mut count) = (String::new(), 0);
    while query.after.get() < end {
        let page = store.page(&query).await?;
        for event in &page.events {
            lines.push_str(&format.line(event)?);
            count += 1;
        }
        query.after = page.next;
    }
    Ok((lines, count, end))
}
