//! One delivery attempt: sends a signed request, measures it and records the result. Retrying belongs to
//! `delivery_worker`.

use std::time::Duration;

use domain::{ActiveWebhook, WebhookId, WebhookUrl};
use jiff::Timestamp;
use store::StoredEvent;
use tokio::time::Instant;

use super::delivery_context::DeliveryContext;
use super::delivery_cursor::{AttemptRecord, CursorWriter};
use super::message::Message;
use super::send_error::SendError;
use super::sender::WebhookSender;
use crate::command::WebhookState;

/// An event, or a batch, to be delivered to one webhook.
pub(super) struct Delivery<'a> {
    pub(super) id: WebhookId,
    pub(super) webhook: &'a ActiveWebhook,
    pub(super) url: &'a WebhookUrl,
    /// The event, or the first one of the batch.
    pub(super) first: &'a StoredEvent,
    /// The position of the last one.
    pub(super) last: u64,
    /// The number of events in the batch; `None`: it is none.
    pub(super) batch: Option<usize>,
    pub(super) message: Message,
    pub(super) is_replay: bool,
}

/// The result of an attempt that failed.
pub(super) struct FailedAttempt {
    pub(super) started_at: Timestamp,
    pub(super) error: String,
    pub(super) retry_after: Option<Duration>,
    /// The receiver answered 410: it wants no more events.
    pub(super) is_gone: bool,
}

/// The result of a test delivery.
#[derive(Clone, Debug)]
pub(crate) struct TestDelivery {
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) latency_ms: u64,
}

impl DeliveryContext {
    /// Makes attempt number `attempt` at a delivery; `None` if the receiver acknowledged it.
    ///
    /// # Errors
    /// A [local](SendError::is_local) error: this node cannot send. The receiver's failures are no errors.
    #[tracing::instrument(
        name = "webhook_delivery",
        skip_all,
        fields(webhook = %delivery.id, position = delivery.first.envelope.position.get(), attempt = attempt)
    )]
    pub(super) async fn attempt(
        &self,
        sender: &WebhookSender,
        delivery: &Delivery<'_>,
        attempt: u32,
        writer: &mut CursorWriter,
    ) -> Result<Option<FailedAttempt>, SendError> {
        let Delivery { id: _, webhook, url, first, last: _, batch, message, is_replay } = delivery;
        let (started, now) = (Instant::now(), self.env.now());
        let answer = sender.send(url, message.headers(webhook, now), message.body.clone()).await;
        if let Err(error) = answer
            && error.is_local()
        {
            return Err(error);
        }
        let (status, error) = status_and_error(answer.map(|answer| answer.status));
        let (position, event_type) = (first.envelope.position.get(), first.envelope.event_type.clone());
        writer.record_attempt(&AttemptRecord {
            at: now,
            position,
            event: first.envelope.id.hyphenated().to_string(),
            batch: *batch,
            event_type,
            attempt,
            replay: *is_replay,
            delivered: error.is_none(),
            status,
            error: error.clone(),
            latency_ms: elapsed_ms(started),
        });
        let Some(error) = error else {
            self.metrics.count_delivered();
            return Ok(None);
        };
        self.metrics.count_failed();
        tracing::info!(error, "webhook delivery failed");
        let retry_after = answer.ok().and_then(|answer| answer.retry_after);
        Ok(Some(FailedAttempt { started_at: now, error, retry_after, is_gone: status == Some(410) }))
    }

    /// Sends a test event at once, beside the worker of the webhook, and without retries.
    pub(crate) async fn test(&self, sender: &WebhookSender, state: &WebhookState) -> TestDelivery {
        let now = self.env.now();
        let is_batch = state.webhook.as_ref().is_some_and(|webhook| webhook.batch.is_some());
        let (id, log) = (self.env.uuid(), self.store.identity());
        let message = Message::for_test(id, log, &state.id.stream(), now, is_batch);
        let started = Instant::now();
        let answer = match state.webhook.as_ref().and_then(|webhook| Some((webhook, webhook.url.known()?))) {
            Some((webhook, url)) => sender.send(url, message.headers(webhook, now), message.body).await,
            None => Err(SendError::Unresolved),
        };
        let (status, error) = status_and_error(answer.map(|answer| answer.status));
        TestDelivery { status, error, latency_ms: elapsed_ms(started) }
    }
}

/// The status of the answer, and the error if it is not an acknowledgement.
fn status_and_error(answer: Result<u16, SendError>) -> (Option<u16>, Option<String>) {
    match answer {
        Ok(status @ 200..300) => (Some(status), None),
        Ok(status @ 300..400) => (Some(status), Some(format!("status {status}: redirects are not followed"))),
        Ok(status) => (Some(status), Some(format!("status {status}"))),
        Err(error) => (None, Some(error.to_string())),
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
