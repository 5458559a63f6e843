//! Encodes and decodes user events in the newest layout of each; conversion of older layouts belongs to
//! [`crate::upcast`].

use std::str::FromStr;

use serde_json::{Map, Value};

use super::UserEvent;
use crate::fields::Fields;
use crate::payload::{DecodeError, DecodeProblem, EventPayload};
use crate::upcast::UPCASTERS;
use crate::value::{
    EmailAddress, Erasable, ErasureReason, Moment, PasswordHash, Reason, RevocationReason, Role, SessionId,
    Username,
};

/// In `UserRegistered` and `UserImported`: the user has no password yet.
const WITHOUT_PASSWORD: &str = "without_password";

impl UserEvent {
    /// Encodes a new event, whose values are all known.
    #[must_use]
    pub fn encode(&self) -> EventPayload {
        let encoded = UPCASTERS.new_payload(self.event_type());
        match self {
            Self::UserRegistered { email, username, password_hash } => {
                with_person(encoded, email, username, password_hash.as_ref())
            }
            Self::UserImported { email, username, password_hash, is_active, created_at } => {
                with_person(encoded, email, username, password_hash.as_ref())
                    .with("is_active", *is_active)
                    .with("created_at", created_at.to_string())
            }
            Self::UserDeactivated { reason } | Self::UserReactivated { reason } => {
                encoded.with_optional_personal("reason", reason.as_ref(), Reason::as_str)
            }
            Self::RoleGranted { role } | Self::RoleRevoked { role } => encoded.with("role", role.as_str()),
            Self::UserLocked
            | Self::UserUnlocked
            | Self::TokensRevoked
            | Self::EmailVerificationRequested
            | Self::EmailVerified
            | Self::PasswordResetRequested => encoded,
            Self::PasswordRehashed { password_hash } | Self::PasswordChanged { password_hash } => {
                encoded.with_personal("password_hash", password_hash.known().map(PasswordHash::expose))
            }
            Self::EmailChanged { previous, email } => encoded
                .with_personal("previous_email", previous.known().map(EmailAddress::as_str))
                .with_personal("email", email.known().map(EmailAddress::as_str)),
            Self::UsernameChanged { previous, username } => encoded
                .with_personal("previous_username", previous.known().map(Username::as_str))
                .with_personal("username", username.known().map(Username::as_str)),
            Self::SessionRevoked { session, reason } => {
                encoded.with("session", session.to_string()).with("reason", reason.as_str())
            }
            Self::UserErased { reason } => encoded.with("reason", reason.as_str()),
        }
    }

    /// Decodes a stored event. `personal` is [`Erasable::Erased`] once its key is destroyed, and an empty map
    /// for an event without personal data.
    ///
    /// # Errors
    /// [`DecodeError`] if the type or schema is unknown, or a field is missing or malformed. The message
    /// contains no values.
    pub fn decode(
        event_type: &str,
        schema: u32,
        data: &Map<String, Value>,
        personal: Erasable<&Map<String, Value>>,
    ) -> Result<Self, DecodeError> {
        let stored = Fields { event_type, schema, data, personal };
        UPCASTERS.read(Self::TYPES, stored, |fields| Self::read(&fields))
    }

    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        match fields.event_type {
            Self::REGISTERED => Ok(Self::UserRegistered {
                email: fields.personal("email", EmailAddress::from_stored)?,
                username: fields.personal("username", Username::from_stored)?,
                password_hash: password_hash(fields)?,
            }),
            Self::IMPORTED => Ok(Self::UserImported {
                email: fields.personal("email", EmailAddress::from_stored)?,
                username: fields.personal("username", Username::from_stored)?,
                password_hash: password_hash(fields)?,
                is_active: fields.boolean("is_active")?,
                created_at: fields.parsed("created_at", Moment::parse)?,
            }),
            Self::DEACTIVATED => Ok(Self::UserDeactivated { reason: reason(fields)? }),
            Self::REACTIVATED => Ok(Self::UserReactivated { reason: reason(fields)? }),
            Self::ROLE_GRANTED => Ok(Self::RoleGranted { role: fields.parsed("role", Role::from_str)? }),
            Self::ROLE_REVOKED => Ok(Self::RoleRevoked { role: fields.parsed("role", Role::from_str)? }),
            Self::LOCKED => Ok(Self::UserLocked),
            Self::UNLOCKED => Ok(Self::UserUnlocked),
            Self::REHASHED => Ok(Self::PasswordRehashed {
                password_hash: fields.personal("password_hash", PasswordHash::from_stored)?,
            }),
            Self::EMAIL_CHANGED => Ok(Self::EmailChanged {
                previous: fields.personal("previous_email", EmailAddress::from_stored)?,
                email: fields.personal("email", EmailAddress::from_stored)?,
            }),
            Self::USERNAME_CHANGED => Ok(Self::UsernameChanged {
                previous: fields.personal("previous_username", Username::from_stored)?,
                username: fields.personal("username", Username::from_stored)?,
            }),
            Self::PASSWORD_CHANGED => Ok(Self::PasswordChanged {
                password_hash: fields.personal("password_hash", PasswordHash::from_stored)?,
            }),
            Self::TOKENS_REVOKED => Ok(Self::TokensRevoked),
            Self::SESSION_REVOKED => Ok(Self::SessionRevoked {
                session: fields.parsed("session", SessionId::parse)?,
                reason: fields.parsed("reason", RevocationReason::from_str)?,
            }),
            Self::VERIFICATION_REQUESTED => Ok(Self::EmailVerificationRequested),
            Self::EMAIL_VERIFIED => Ok(Self::EmailVerified),
            Self::RESET_REQUESTED => Ok(Self::PasswordResetRequested),
            Self::ERASED => {
                Ok(Self::UserErased { reason: fields.parsed("reason", ErasureReason::from_str)? })
            }
            _ => Err(fields.error(DecodeProblem::UnknownType)),
        }
    }
}

fn with_person(
    encoded: EventPayload,
    email: &Erasable<EmailAddress>,
    username: &Erasable<Username>,
    password_hash: Option<&Erasable<PasswordHash>>,
) -> EventPayload {
    let encoded = encoded
        .with_personal("email", email.known().map(EmailAddress::as_str))
        .with_personal("username", username.known().map(Username::as_str));
    match password_hash {
        Some(hash) => encoded.with_personal("password_hash", hash.known().map(PasswordHash::expose)),
        None => encoded.with(WITHOUT_PASSWORD, true),
    }
}

/// The hash of a new user, who has a password unless the event says otherwise.
fn password_hash(fields: &Fields<'_>) -> Result<Option<Erasable<PasswordHash>>, DecodeError> {
    if fields.flag(WITHOUT_PASSWORD)? {
        return Ok(None);
    }
    fields.personal("password_hash", PasswordHash::from_stored).map(Some)
}

fn reason(fields: &Fields<'_>) -> Result<Option<Erasable<Reason>>, DecodeError> {
    fields.optional_personal("has_reason", "reason", Reason::from_stored)
}
