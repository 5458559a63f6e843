//! The port through which mails leave.

use async_trait::async_trait;
use lettre::Message;

/// Hands mails over to a relay, or keeps them where an operator finds them.
#[async_trait]
pub(crate) trait MailTransport: Send + Sync {
    /// Hands over one mail. The caller limits the time that it may take.
    async fn send(&self, mail: &Outgoing) -> Result<Handover, SendError>;

    /// What becomes of mails, as readiness shows it.
    fn kind(&self) -> &'static str;
}

/// A mail with its name, which is the same at every attempt.
pub(crate) struct Outgoing {
    pub(crate) name: String,
    pub(crate) message: Message,
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handover {
    /// It was accepted.
    Sent,
    /// There is nowhere to send it.
    Discarded,
}

/// Why a mail was not accepted. No variant contains what a relay has answered in words, which may be the address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// It will not be accepted later either.
    #[error("the relay refuses the mail with code {code}")]
    Refused { code: u16 },
    /// The mail cannot be expressed in SMTP as the relay speaks it.
    #[error("the relay does not support the characters of the address (SMTPUTF8)")]
    UnsupportedAddress,
    /// The relay refuses this service, whatever the mail.
    #[error(
        "the relay refuses the authentication with code {code}: check the user and password in AEGIS_SMTP_URL"
    )]
    Unauthenticated { code: u16 },
    /// It may be accepted later, as with greylisting.
    #[error("the relay postpones the mail with code {code}")]
    Postponed { code: u16 },
    /// The relay was not reached, or did not complete the conversation.
    #[error("{0}")]
    Unreachable(String),
    /// The relay did not answer in time.
    #[error("the relay did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The mail could not be written to the outbox.
    #[error("cannot write the mail to {file}: {reason}")]
    Outbox { file: String, reason: String },
}

impl SendError {
    /// Whether another attempt cannot succeed.
    pub(super) const fn is_final(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::UnsupportedAddress => true,
            Self::Unauthenticated { .. }
            | Self::Postponed { .. }
            | Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::Outbox { .. } => false,
        }
    }
}

/// Without a relay and without a data directory, mails are only counted.
pub(super) struct NoTransport;

#[async_trait]
impl MailTransport for NoTransport {
    async fn send(&self, _: &Outgoing) -> Result<Handover, SendError> {
        Ok(Handover::Discarded)
    }

    fn kind(&self) -> &'static str {
        "off"
    }
}
