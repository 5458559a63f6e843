//! The MIME message of a mail. Headers are typed, so that no text can add one.

use std::time::SystemTime;

use jiff::Timestamp;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use store::LogIdentity;

use super::content::Mail;
use super::templates::Rendered;

/// RFC 3834: asks for no automatic answers.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Why a mail cannot be written as a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("the address of the user cannot be used in mail")]
    Address,
    #[error("the message cannot be built: {0}")]
    Message(#[from] lettre::error::Error),
}

/// The name of the mail of an event, the same at every attempt and on every node.
pub(super) fn name(log: LogIdentity, position: u64) -> String {
    format!("{}-{}-{position}", log.id.simple(), log.epoch)
}

/// Builds the message. Its `Message-ID` lets the recipient's server drop a mail that arrives again.
pub(super) fn build(
    name: &str,
    from: &Mailbox,
    mail: &Mail,
    rendered: Rendered,
    now: Timestamp,
) -> Result<Message, MessageError> {
    // Many relays accept no other characters in the domain (RFC 6531).
    let to: Address = mail.to.with_ascii_domain().parse().map_err(|_| MessageError::Address)?;
    let Rendered { subject, text, html } = rendered;
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject)
        .date(SystemTime::from(now))
        .message_id(Some(format!("<{name}@{}>", from.email.domain())))
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(text, html))?;
    Ok(message)
}
