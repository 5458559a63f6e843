//! Reads the log for projections: filters, decrypts once for all of them, and reads one batch ahead.

use std::sync::Arc;
use std::time::Duration;

use store::{Corruption, Envelope, EventQuery, PersonalData, Position, StoreError, StoredEvent};
use tokio::task::JoinHandle;

use crate::batch_size::{BatchSize, EventRate};
use crate::context::ProjectionContext;
use crate::projection::Projection;

/// Events that concern some projection, and the position up to which the log was read for them.
#[derive(Clone, Debug)]
pub(crate) struct EventBatch {
    pub(crate) from: Position,
    pub(crate) to: Position,
    /// Decrypted where they concern a projection that reads personal data.
    pub(crate) events: Arc<Vec<StoredEvent>>,
    /// Whether the limit was reached, so that more events are probably waiting.
    pub(crate) is_full: bool,
}

impl EventBatch {
    /// The number of positions read, events that concern no projection included.
    pub(crate) fn len(&self) -> u64 {
        self.to.get() - self.from.get()
    }

    /// The events as this projection may see them: one that reads no personal data must not depend on who
    /// shares the batch.
    pub(crate) fn events_for(&self, projection: &dyn Projection) -> Arc<Vec<StoredEvent>> {
        let is_redacted = |event: &StoredEvent| event.personal == PersonalData::Erased;
        if projection.reads_personal() || self.events.iter().all(is_redacted) {
            return Arc::clone(&self.events);
        }
        let concerns = |event: &&StoredEvent| projection.key(&event.envelope).is_some();
        let events = self.events.iter().filter(concerns);
        Arc::new(events.map(|event| without_personal_data(event.envelope.clone())).collect())
    }
}

fn without_personal_data(envelope: Envelope) -> StoredEvent {
    StoredEvent { envelope, personal: PersonalData::Erased }
}

/// Reads the events of a query that concern one of `projections` by a row key that is `wanted`; only these are
/// decrypted. The log is known to reach `head`: finding none before it is damage, and waiting would never end.
///
/// # Errors
/// [`StoreError::Corrupt`] if events are missing or damaged, [`StoreError::KeyMissing`] if this process cannot
/// decrypt one, otherwise an error of the database.
pub(crate) async fn read_events(
    context: &ProjectionContext,
    query: &EventQuery,
    head: Position,
    projections: &[&'static dyn Projection],
    wanted: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<EventBatch, StoreError> {
    let events = context.events.read_sealed(query).await?;
    let (from, is_full) = (query.after, events.len() >= query.limit);
    let Some(to) = events.last().map(|event| event.position) else {
        if head > from {
            let position = from.next();
            return Err(Corruption::MissingEvents { first: position, last: position }.into());
        }
        return Ok(EventBatch { from, to: from, events: Arc::default(), is_full: false });
    };
    let is_relevant = |event: &Envelope| {
        projections.iter().any(|projection| projection.key(event).is_some_and(|key| wanted(&key)))
    };
    let events: Vec<_> = events.into_iter().filter(is_relevant).collect();
    let events = unseal_where_read(context, events, projections).await?;
    Ok(EventBatch { from, to, events: Arc::new(events), is_full })
}

/// Decrypts the events that concern a projection which reads personal data: those of logins, of which there are
/// many, do not.
async fn unseal_where_read(
    context: &ProjectionContext,
    events: Vec<Envelope>,
    projections: &[&'static dyn Projection],
) -> Result<Vec<StoredEvent>, StoreError> {
    let is_read = |event: &Envelope| {
        projections.iter().any(|projection| projection.reads_personal() && projection.key(event).is_some())
    };
    let (sealed, redacted): (Vec<_>, Vec<_>) = events.into_iter().partition(is_read);
    let mut events = context.events.unseal(sealed).await?;
    events.extend(redacted.into_iter().map(without_personal_data));
    events.sort_unstable_by_key(|event| event.envelope.position);
    Ok(events)
}

/// Reads batch after batch, and while one is written, already the next.
pub(crate) struct EventReader {
    context: ProjectionContext,
    batch_size: BatchSize,
    rate: EventRate,
    prefetch: Option<Prefetch>,
}

/// A batch being read ahead, and from where.
struct Prefetch {
    from: Position,
    reading: JoinHandle<Result<EventBatch, StoreError>>,
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl EventReader {
    pub(crate) fn new(context: ProjectionContext) -> Self {
        Self { context, batch_size: BatchSize::default(), rate: EventRate::default(), prefetch: None }
    }

    /// The next batch after a position; empty at the head. If it is full, the one after it is read in the
    /// background.
    pub(crate) async fn next(
        &mut self,
        from: Position,
        projections: &[&'static dyn Projection],
    ) -> Result<EventBatch, StoreError> {
        let batch = match self.prefetch.take() {
            Some(mut prefetch) if prefetch.from == from => {
                let read = (&mut prefetch.reading).await;
                read.map_err(|stopped| StoreError::unavailable("reading events", stopped))??
            }
            _ => read_batch(&self.context, from, self.limit(), projections).await?,
        };
        if batch.is_full {
            let (context, limit, from) = (self.context.clone(), self.limit(), batch.to);
            let projections = projections.to_vec();
            let reading = tokio::spawn(async move { read_batch(&context, from, limit, &projections).await });
            self.prefetch = Some(Prefetch { from, reading });
        }
        Ok(batch)
    }

    /// Adapts the batch size to how long a batch took to be written.
    pub(crate) fn record(&mut self, batch: &EventBatch, took: Duration) {
        self.batch_size.record(batch.is_full, took);
        self.rate.add(batch.len());
    }

    /// Forgets the batch read ahead: it was read for other projections, or from another position.
    pub(crate) fn reset(&mut self) {
        self.prefetch = None;
    }

    /// Events per second, over the last seconds.
    pub(crate) fn rate(&self) -> u64 {
        self.rate.per_second()
    }

    fn limit(&self) -> usize {
        usize::try_from(self.batch_size.size()).unwrap_or(usize::MAX)
    }
}

async fn read_batch(
    context: &ProjectionContext,
    from: Position,
    limit: usize,
    projections: &[&'static dyn Projection],
) -> Result<EventBatch, StoreError> {
    let head = context.events.progress().head;
    let query = EventQuery { after: from, limit, ..EventQuery::default() };
    read_events(context, &query, head, projections, &|_| true).await
}
