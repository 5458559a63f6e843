//! The mails that are sent, and what each says.

use domain::{EmailAddress, Username};
use jiff::Timestamp;

use crate::crypto::MailPurpose;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MailKind {
    VerifyEmail,
    ResetPassword,
    /// To a user whom an administrator created without a password.
    Invitation,
    /// To the address that the user had before.
    EmailChanged,
    PasswordChanged,
}

impl MailKind {
    pub(super) const ALL: [Self; 5] =
        [Self::VerifyEmail, Self::ResetPassword, Self::Invitation, Self::EmailChanged, Self::PasswordChanged];

    /// What the names of its templates begin with.
    pub(super) const fn template(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::Invitation => "invitation",
            Self::EmailChanged => "email_changed",
            Self::PasswordChanged => "password_changed",
        }
    }

    /// What the token in its link permits; `None` if it only notifies.
    pub(super) const fn purpose(self) -> Option<MailPurpose> {
        match self {
            Self::VerifyEmail => Some(MailPurpose::VerifyEmail),
            Self::ResetPassword => Some(MailPurpose::ResetPassword),
            Self::Invitation => Some(MailPurpose::Invitation),
            Self::EmailChanged | Self::PasswordChanged => None,
        }
    }

    /// The page that its link leads to, below `AEGIS_PUBLIC_URL`. The token is in the fragment, which browsers send
    /// to no server.
    pub(super) const fn page(purpose: MailPurpose) -> &'static str {
        match purpose {
            MailPurpose::VerifyEmail => "verify-email",
            MailPurpose::ResetPassword => "reset-password",
            MailPurpose::Invitation => "invitation",
        }
    }
}

/// A mail to be sent.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) kind: MailKind,
    /// The address of the recipient.
    pub(super) to: EmailAddress,
    /// `None` if the address may be that of another person: a username is text that its user has chosen.
    pub(super) username: Option<Username>,
    /// The time of the event.
    pub(super) at: Timestamp,
    pub(super) link: Option<Link>,
}

/// A link with a token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) url: String,
    pub(super) expires_at: Timestamp,
}
