//! One attempt to deliver one event, and what is noted of it.

use std::time::Duration;

use domain::{ActiveWebhook, WebhookUrl};
use store::StoredEvent;
use tokio::time::Instant;

use super::delivery_context::{elapsed_ms, status_and_error};
use super::delivery_cursor::{AttemptRecord, CursorWriter};
use super::delivery_worker::{DeliveryError, DeliveryWorker};
use super::message::Message;
use super::sender::{ReceiverAnswer, SendError};

/// An event on its way.
pub(super) struct Delivery<'a> {
    pub(super) url: &'a WebhookUrl,
    pub(super) event: &'a StoredEvent,
    pub(super) message: Message,
    /// Whether it was asked for once more.
    pub(super) replay: bool,
}

/// An attempt that failed.
pub(super) struct FailedAttempt {
    pub(super) started_at: jiff::Timestamp,
    pub(super) error: String,
    pub(super) retry_after: Option<Duration>,
    pub(super) is_gone: bool,
}

impl DeliveryWorker {
    /// One attempt; nothing if the receiver has the event now.
    pub(super) async fn attempt(
        &self,
        webhook: &ActiveWebhook,
        delivery: &Delivery<'_>,
        cursor_writer: &mut CursorWriter,
    ) -> Result<Option<FailedAttempt>, DeliveryError> {
        let Delivery { url, event, message, replay } = delivery;
        let (begun, now) = (Instant::now(), self.context.env.now());
        let answer = self.sender.send(url, message.headers(webhook, now), message.body.clone()).await;
        if let Err(unable @ SendError::NoRootCertificates) = answer {
            // The receiver has no part in it.
            return Err(unable.into());
        }
        let (status, error) = status_and_error(answer.map(|answer: ReceiverAnswer| answer.status));
        let envelope = &event.envelope;
        let position = envelope.position.get();
        let before = cursor_writer.cursor.failing().filter(|failing| failing.position == position);
        let attempt = before.map_or(0, |failing| failing.failures) + 1;
        cursor_writer.record_attempt(&AttemptRecord {
            at: now,
            position,
            event: message.id.clone(),
            event_type: envelope.event_type.clone(),
            attempt,
            replay: *replay,
            delivered: error.is_none(),
            status,
            error: error.clone(),
            latency_ms: elapsed_ms(begun),
        });
        let Some(error) = error else {
            self.context.metrics.count_delivered();
            return Ok(None);
        };
        self.context.metrics.count_failed();
        tracing::info!(webhook = %self.id, position, error, "an event was not delivered");
        let retry_after = answer.ok().and_then(|answer| answer.retry_after);
        Ok(Some(FailedAttempt { started_at: now, error, retry_after, is_gone: status == Some(410) }))
    }
}
