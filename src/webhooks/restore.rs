//! Operations on the delivery cursors of all webhooks: they are reset after the log was restored from a
//! backup, and authenticated after an upgrade.

use domain::WebhookEvent;
use store::{DeliveryProgress, Envelope, EventQuery, Position, StoreError, WriteError};

use super::delivery_context::DeliveryContext;
use super::delivery_cursor::DeliveryCursor;

/// Registrations read at once.
const PAGE_SIZE: usize = 500;

impl DeliveryContext {
    /// Writes the cursors of all webhooks again, so that those of an earlier release are authenticated.
    /// Another node may be delivering: it writes its cursors itself.
    ///
    /// # Errors
    /// [`StoreError`] if the database fails.
    pub(crate) async fn sign_cursors(&self) -> Result<(), StoreError> {
        let head = self.store.head().await?.position;
        let mut after = Position::START;
        loop {
            let registrations = self.registrations(after, head).await?;
            for registration in &registrations {
                let Some(stored) = self.deliveries.progress(&registration.stream).await? else { continue };
                let next = DeliveryProgress { revision: stored.revision + 1, ..stored };
                match self.deliveries.record(&registration.stream, &next, &[]).await {
                    Ok(()) | Err(WriteError::Conflict) => {}
                    Err(WriteError::Store(error)) => return Err(error),
                }
            }
            match registrations.last() {
                Some(last) if registrations.len() == PAGE_SIZE => after = last.position,
                _ => return Ok(()),
            }
        }
    }

    /// The registrations of webhooks between two positions, at most [`PAGE_SIZE`].
    async fn registrations(&self, after: Position, until: Position) -> Result<Vec<Envelope>, StoreError> {
        let types = vec![WebhookEvent::REGISTERED.to_owned()];
        let query =
            EventQuery { after, until: Some(until), limit: PAGE_SIZE, types, ..EventQuery::default() };
        self.store.read_sealed(&query).await
    }

    /// Moves the cursors that are beyond the end of the log back to it; returns how many. Webhooks are found
    /// in the log: the read model may be beyond its end as well. A damaged cursor is left as it is.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] if a service delivers meanwhile.
    pub(crate) async fn reset_cursors_ahead_of_log(&self) -> Result<usize, WriteError> {
        let head = self.store.head().await?.position;
        let (mut after, mut reset) = (Position::START, 0);
        loop {
            let registrations = self.registrations(after, head).await?;
            for registration in &registrations {
                let Some(stored) = self.deliveries.progress(&registration.stream).await? else { continue };
                let Some(next) = reset_progress(&stored, head)? else { continue };
                self.deliveries.record(&registration.stream, &next, &[]).await?;
                reset += 1;
            }
            match registrations.last() {
                Some(last) if registrations.len() == PAGE_SIZE => after = last.position,
                _ => return Ok(reset),
            }
        }
    }
}

/// The progress with its cursor at the end of the log; `None` if it is not beyond.
fn reset_progress(stored: &DeliveryProgress, head: Position) -> Result<Option<DeliveryProgress>, StoreError> {
    let Ok(mut cursor) = serde_json::from_value::<DeliveryCursor>(stored.state.clone()) else {
        return Ok(None);
    };
    if !cursor.reset_to(head.get()) {
        return Ok(None);
    }
    let state = serde_json::to_value(&cursor)
        .map_err(|error| store::InternalError::encoding("a delivery cursor", error))?;
    Ok(Some(DeliveryProgress { revision: stored.revision + 1, attempts: stored.attempts, state }))
}
