//! One attempt at a mail: it is composed from the log, rendered and handed over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lettre::message::Mailbox;
use tokio::time::timeout;

use super::composer::{Composed, Composer};
use super::content::Mail;
use super::message;
use super::metrics::MailOutcome;
use super::progress::PendingMail;
use super::templates::Templates;
use super::transport::{Handover, MailTransport, Outgoing, SendError};

/// How long handing over one mail may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What every attempt needs.
pub(super) struct MailSender {
    pub(super) composer: Composer,
    pub(super) templates: Arc<Templates>,
    pub(super) transport: Arc<dyn MailTransport>,
    pub(super) from: Mailbox,
}

/// How an attempt ended.
pub(super) enum Outcome {
    /// The event has no mail.
    NoMail,
    Done(MailOutcome),
    /// No other attempt can succeed.
    GivenUp(String),
    Failed {
        /// Without personal data.
        error: String,
        /// From when on it makes no sense to send the mail, if its token limits that.
        deadline: Option<Timestamp>,
    },
}

impl MailSender {
    #[tracing::instrument(name = "mail", skip_all, fields(position = pending.position))]
    pub(super) async fn attempt(&self, pending: PendingMail) -> Outcome {
        match self.composer.compose(pending.position).await {
            Ok(Composed::None) => Outcome::NoMail,
            Ok(Composed::Void) => Outcome::Done(MailOutcome::Void),
            Ok(Composed::Expired) => Outcome::Done(MailOutcome::Expired),
            Ok(Composed::Mail(mail)) => self.send(pending.position, &mail).await,
            Err(error) => Outcome::Failed { error: error.to_string(), deadline: None },
        }
    }

    async fn send(&self, position: u64, mail: &Mail) -> Outcome {
        let Self { composer, templates, transport, from } = self;
        let rendered = match templates.render(mail) {
            Ok(rendered) => rendered,
            Err(error) => return Outcome::GivenUp(error.to_string()),
        };
        let name = message::name(composer.store.identity(), position);
        let message = match message::build(&name, from, mail, rendered, composer.env.now()) {
            Ok(message) => message,
            Err(error) => return Outcome::GivenUp(error.to_string()),
        };
        let sent = timeout(SEND_TIMEOUT, transport.send(&Outgoing { name, message })).await;
        match sent.unwrap_or(Err(SendError::TimedOut(SEND_TIMEOUT))) {
            Ok(Handover::Sent) => Outcome::Done(MailOutcome::Sent),
            Ok(Handover::Discarded) => Outcome::Done(MailOutcome::Discarded),
            Err(error) if error.is_final() => Outcome::GivenUp(error.to_string()),
            Err(error) => Outcome::Failed {
                error: error.to_string(),
                deadline: mail.link.as_ref().map(|link| link.expires_at),
            },
        }
    }
}
