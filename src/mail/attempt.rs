//! One attempt at a mail: it is composed from the log, rendered and handed over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lettre::message::Mailbox;
use store::Env;
use store::key_store::ClaimHash;
use tokio::time::timeout;

use super::composer::{Composed, Composer};
use super::content::Mail;
use super::message;
use super::metrics::MailOutcome;
use super::progress::PendingMail;
use super::templates::Templates;
use super::transport::{Handover, MailTransport, Outgoing, SendError};
use crate::limits::{LimitClock, Policy, TokenBuckets};

/// How long handing over one mail may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Mails to one address, of whatever user: with a sign-up anyone can name the address of another person.
const MAILS_TO_ADDRESS: Policy = Policy::bucket("mails-to-address", 10, Duration::from_hours(1));

/// What every attempt needs.
pub(super) struct MailSender {
    pub(super) composer: Composer,
    pub(super) templates: Arc<Templates>,
    pub(super) transport: Arc<dyn MailTransport>,
    pub(super) from: Mailbox,
    /// The mails to one address, by a keyed hash of it.
    pub(super) recipients: TokenBuckets<ClaimHash>,
}

/// How an attempt ended.
pub(super) enum Outcome {
    /// The event has no mail.
    NoMail,
    Done(MailOutcome),
    /// No other attempt can succeed.
    GivenUp(String),
    /// The address gets too many mails.
    Limited,
    Failed {
        /// Without personal data.
        error: String,
        /// From when on it makes no sense to send the mail, if its token limits that.
        deadline: Option<Timestamp>,
    },
}

/// The limit of mails to one address.
pub(super) fn recipient_limit(env: &Env) -> TokenBuckets<ClaimHash> {
    TokenBuckets::new(MAILS_TO_ADDRESS, LimitClock::new(env))
}

impl MailSender {
    #[tracing::instrument(name = "mail", skip_all, fields(position = pending.position))]
    pub(super) async fn attempt(&self, pending: PendingMail) -> Outcome {
        match self.composer.compose(pending.position).await {
            Ok(Composed::None) => Outcome::NoMail,
            Ok(Composed::Void) => Outcome::Done(MailOutcome::Void),
            Ok(Composed::Expired) => Outcome::Done(MailOutcome::Expired),
            Ok(Composed::Mail(mail)) if self.is_limited(pending, &mail) => Outcome::Limited,
            Ok(Composed::Mail(mail)) => self.send(pending.position, &mail).await,
            Err(error) => Outcome::Failed { error: error.to_string(), deadline: None },
        }
    }

    /// Counts a mail at its first attempt, so that a relay that postpones it uses up nothing.
    fn is_limited(&self, pending: PendingMail, mail: &Mail) -> bool {
        let recipient = || self.composer.store.keyed_hash("mail-recipient", &[mail.to.key().as_bytes()]);
        pending.attempts <= 1 && self.recipients.take(recipient()).is_err()
    }

    async fn send(&self, position: u64, mail: &Mail) -> Outcome {
        let Self { composer, templates, transport, from, recipients: _ } = self;
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
