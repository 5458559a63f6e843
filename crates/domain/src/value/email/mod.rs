//! The e-mail address a user signs in with.
//!
//! What is accepted, what is shown and how a refusal is worded follow the Python library `email-validator`
//! 2.x as Pydantic's `EmailStr` calls it: syntax only (RFC 5321, 5322, 6531), no look-up of the domain.
//! Clients of a FastAPI service print these sentences, and they explain a fault better than its grammar
//! would.
//!
//! [`split`] takes the text apart, [`local_part`] and [`domain_name`] (with [`label`]) judge one side each,
//! [`length`] judges the whole. [`characters`] names what they refuse.

mod characters;
mod domain_name;
mod label;
mod length;
mod local_part;
mod split;

#[cfg(test)]
mod tests;

use std::fmt;

use self::domain_name::DomainName;
use super::text::identity_key;

pub use self::length::MAX_EMAIL_OCTETS;

/// An address that mail could be sent to, as far as its syntax tells.
///
/// The shown form has the part before the @-sign as given (in Unicode normalisation form NFC, RFC 6532
/// section 3.1) and the domain in lower case and in Unicode. Two addresses are the same identity when their
/// [`key`](EmailAddress::key)s are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

/// Why a text is not an e-mail address: one sentence, to be shown to whoever typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EmailError {
    /// The sentence.
    pub reason: String,
}

impl EmailAddress {
    /// Reads an address as a user typed it: trimmed, and out of the angle brackets if a name stands before
    /// them (`Ada <ada@example.com>`).
    ///
    /// # Errors
    /// [`EmailError`] with the first fault found, from left to right.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        length::check_input(text)?;
        let address = split::split(text.trim())?;
        let local_part = local_part::normalise(address.local_part)?;
        let domain = DomainName::parse(address.domain)?;
        length::check(&address, &local_part, &domain)?;
        Ok(Self(format!("{local_part}@{}", domain.unicode)))
    }

    /// An address out of an event, or of a row made of one: accepted when it was written, and not judged again.
    #[must_use]
    pub fn from_stored(shown: &str) -> Self {
        Self(shown.to_owned())
    }

    /// The address as it is shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity: equal for addresses that differ in case, in compatibility forms, or in whether the
    /// domain is spelled in Unicode or in Punycode.
    ///
    /// RFC 5321 lets a server tell `Ada` from `ada` before the @-sign. No provider in use does, and two
    /// accounts that differ in nothing else would be a trap for their owners.
    #[must_use]
    pub fn key(&self) -> String {
        match self.0.rsplit_once('@') {
            Some((local_part, domain)) => {
                format!("{}@{}", identity_key(local_part), domain_name::key(domain))
            }
            // Only a recorded address can lack its @-sign.
            None => identity_key(&self.0),
        }
    }
}

impl EmailError {
    fn new(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}
