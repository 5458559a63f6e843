//! One attempt to deliver one event, and what is noted of it.

use std::time::Duration;

use domain::{Subscription, WebhookUrl};
use store::Recorded;
use tokio::time::Instant;

use super::book::{Book, Report};
use super::courier::{Courier, Trouble};
use super::message::Message;
use super::sender::{Answer, SendError};
use super::tools::{milliseconds, outcome};

/// An event on its way.
pub(super) struct Parcel<'a> {
    pub(super) url: &'a WebhookUrl,
    pub(super) event: &'a Recorded,
    pub(super) message: Message,
    /// Whether it was asked for once more.
    pub(super) replay: bool,
}

/// An attempt that failed.
pub(super) struct Failed {
    pub(super) begun: jiff::Timestamp,
    pub(super) error: String,
    pub(super) retry_after: Option<Duration>,
    pub(super) is_gone: bool,
}

impl Courier {
    /// One attempt; nothing if the receiver has the event now.
    pub(super) async fn attempt(
        &self,
        webhook: &Subscription,
        parcel: &Parcel<'_>,
        book: &mut Book,
    ) -> Result<Option<Failed>, Trouble> {
        let Parcel { url, event, message, replay } = parcel;
        let (begun, now) = (Instant::now(), self.tools.ambient.now());
        let answer = self.sender.send(url, message.headers(webhook, now), message.body.clone()).await;
        if let Err(unable @ SendError::Unable) = answer {
            // The receiver has no part in it.
            return Err(unable.into());
        }
        let (status, error) = outcome(answer.map(|answer: Answer| answer.status));
        let envelope = &event.envelope;
        let position = envelope.position.get();
        let before = book.cursor.failing().filter(|failing| failing.position == position);
        let attempt = before.map_or(0, |failing| failing.failures) + 1;
        book.note(&Report {
            at: now,
            position,
            event: message.id.clone(),
            event_type: envelope.event_type.clone(),
            attempt,
            replay: *replay,
            delivered: error.is_none(),
            status,
            error: error.clone(),
            latency_ms: milliseconds(begun),
        });
        let Some(error) = error else {
            self.tools.counts.delivered();
            return Ok(None);
        };
        self.tools.counts.failed();
        tracing::info!(webhook = %self.id, position, error, "an event was not delivered");
        let retry_after = answer.ok().and_then(|answer| answer.retry_after);
        Ok(Some(Failed { begun: now, error, retry_after, is_gone: status == Some(410) }))
    }
}
