//! The e-mail address a user signs in with.
//!
//! What is accepted, what is displayed and how a rejection is worded follow the Python library
//! `email-validator` 2.x as Pydantic's `EmailStr` calls it: syntax only (RFC 5321, 5322, 6531), no DNS
//! lookup. Clients of a FastAPI service display these sentences.
//!
//! [`EmailAddress::parse`] is one pass over the text: trim, split at the @-sign, local part, domain, length.
//! [`characters`] holds the character classes.

mod characters;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

use super::text::identity_key;

/// Maximum length of an address in octets of UTF-8, in each of its spellings (RFC 5321 section 4.5.3.1.3, RFC
/// 3696 erratum 1690). As no character is shorter than an octet, it has at most 254 characters too.
pub const MAX_EMAIL_OCTETS: usize = 254;
/// Maximum length of the input in characters, before any work is done on it.
const MAX_INPUT: usize = 2048;
/// Maximum length of an encoded domain name in octets (RFC 1035 section 2.3.4, without the root label).
const MAX_DOMAIN_LENGTH: usize = 253;
/// Maximum length of a label in octets (RFC 1035 section 2.3.1).
const MAX_LABEL_LENGTH: usize = 63;
/// Top-level names that no mail is delivered to, from the registry of special-use domain names (RFC 6761,
/// 6762, 7686). `example` is not among them: RFC 6761 asks software to treat it like any other name.
const SPECIAL_USE: [&str; 6] = ["arpa", "invalid", "local", "localhost", "onion", "test"];

const INVALID_DOMAIN: &str = "The part after the @-sign contains invalid characters";
const UNSAFE: &str = "The email address contains unsafe characters";

/// A syntactically valid e-mail address.
///
/// The displayed form has the local part as given (in Unicode normalisation form NFC, RFC 6532 section 3.1)
/// and the domain in lower case and in Unicode. Two addresses are the same identity when their
/// [`key`](EmailAddress::key)s are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

/// Why a text is not an e-mail address: one sentence, to be shown to the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct EmailError {
    /// The sentence.
    pub reason: String,
}

impl EmailAddress {
    /// Parses an address as typed: trimmed, and without a display name (`Ada <ada@example.com>`).
    ///
    /// # Errors
    /// [`EmailError`] with the first violation, from left to right.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        if text.chars().nth(MAX_INPUT).is_some() {
            return Err(error(format!("Length must not exceed {MAX_INPUT} characters")));
        }
        let text = text.trim();
        // A line break inside an address could start another mail header.
        if text.contains(['\r', '\n']) {
            return Err(error("Carriage return and line feed characters are not allowed"));
        }
        let (given_local_part, given_domain) = split(text)?;
        let local_part = parse_local_part(given_local_part)?;
        let (unicode, ascii) = parse_domain(given_domain)?;
        check_given_length(given_local_part, given_domain)?;
        for (domain, when) in [
            (&unicode, "after normalization"),
            (&ascii, "when the part after the @-sign is converted to IDNA ASCII"),
        ] {
            if let Some(excess) = excess(local_part.len() + 1 + domain.len(), MAX_EMAIL_OCTETS) {
                let excess = count(excess, "byte");
                return Err(error(format!("The email address is too long {when} ({excess} too many).")));
            }
        }
        Ok(Self(format!("{local_part}@{unicode}")))
    }

    /// A stored address; it was validated when it was written.
    #[must_use]
    pub fn from_stored(shown: &str) -> Self {
        Self(shown.to_owned())
    }

    /// The displayed form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form for mail servers, with the domain in ASCII (RFC 5891, A-labels). The local part may need a server that
    /// accepts other characters (RFC 6531) all the same.
    #[must_use]
    pub fn with_ascii_domain(&self) -> String {
        match self.0.rsplit_once('@') {
            Some((local_part, domain)) => format!("{local_part}@{}", domain_key(domain)),
            // Only a stored address can lack its @-sign.
            None => self.0.clone(),
        }
    }

    /// The identity: equal for addresses that differ in case, in compatibility forms, or in whether the
    /// domain is spelled in Unicode or in Punycode.
    ///
    /// RFC 5321 lets a server distinguish `Ada` from `ada` before the @-sign. No provider in use does, and
    /// two accounts that differ in nothing else would be a trap for their owners.
    #[must_use]
    pub fn key(&self) -> String {
        match self.0.rsplit_once('@') {
            // Punycode distinguishes what DNS distinguishes (`faß.de` and `fass.de`), and nothing else.
            Some((local_part, domain)) => {
                format!("{}@{}", identity_key(local_part), domain_key(domain))
            }
            // Only a stored address can lack its @-sign.
            None => identity_key(&self.0),
        }
    }
}

/// Splits a trimmed text at the @-sign, without the display name and angle brackets.
fn split(text: &str) -> Result<(&str, &str), EmailError> {
    let address = in_angle_brackets(text).unwrap_or(text).trim();
    match find_unquoted(address, &['@', '<']) {
        Some((local_part, '@', domain)) => Ok((local_part, domain)),
        Some((_, _, rest)) => Err(error(match rest.split_once('>') {
            None => {
                "An open angle bracket at the start of the email address has to be followed by a close angle \
                 bracket at the end."
            }
            Some(_) if !rest.ends_with('>') => "There can't be anything after the email address.",
            Some(_) => "A display name and angle brackets around the email address are not permitted here.",
        })),
        None => Err(error(if address.contains('\u{FF20}') {
            "The email address has the \"full-width\" at-sign (@) character instead of a regular at-sign."
        } else if address.contains('\u{FE6B}') {
            "The email address has the \"small commercial at\" character instead of a regular at-sign."
        } else {
            "An email address must have an @-sign."
        })),
    }
}

/// The address in `Ada Lovelace <ada@example.com>`, if the text has that form.
fn in_angle_brackets(text: &str) -> Option<&str> {
    let inner = text.strip_suffix('>')?;
    if text.starts_with('"') {
        let (name, address) = inner.rsplit_once('<')?;
        let is_quoted = name.trim_end().strip_suffix('"')?.len() > 1;
        return is_quoted.then_some(address);
    }
    let (name, address) = inner.split_once('<')?;
    name.chars().all(characters::is_display_name).then_some(address)
}

/// Splits at the first of `signs` outside quotes (RFC 5322, section 3.2.4).
fn find_unquoted<'a>(text: &'a str, signs: &[char]) -> Option<(&'a str, char, &'a str)> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        if !quoted && signs.contains(&character) {
            let (before, rest) = text.split_at_checked(index)?;
            return Some((before, character, rest.strip_prefix(character)?));
        }
        if character == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && character == '\\' && !escaped;
    }
    None
}

/// An unquoted dot-atom (RFC 5322 section 3.2.3, RFC 6531 section 3.3) in normalisation form NFC.
fn parse_local_part(text: &str) -> Result<String, EmailError> {
    if text.starts_with('"') {
        return Err(error("Quoting the part before the @-sign is not allowed here."));
    }
    check_local_part(text)?;
    let normalised: String = text.nfc().collect();
    if normalised != text {
        // NFC maps a few characters to ones that are not allowed: the Greek question mark to a semicolon.
        check_local_part(&normalised)
            .map_err(|inner| error(format!("After Unicode normalization: {inner}")))?;
    }
    Ok(normalised)
}

fn check_local_part(text: &str) -> Result<(), EmailError> {
    const INVALID: &str = "The email address contains invalid characters before the @-sign";
    reject_first(&[(text.is_empty(), "There must be something before the @-sign.")])?;
    reject_characters(INVALID, characters::others_in(text, characters::is_atext_or_dot))?;
    reject_first(&[
        (text.ends_with('.'), "An email address cannot have a period immediately before the @-sign."),
        (text.starts_with('.'), "An email address cannot start with a period."),
        (text.contains(".."), "An email address cannot have two periods in a row."),
    ])?;
    reject_characters(UNSAFE, characters::unsafe_in(text))
}

/// A domain name in Unicode, as displayed, and in ASCII, as transmitted (UTS #46 without transitional
/// processing, RFC 5890 to 5893).
fn parse_domain(text: &str) -> Result<(String, String), EmailError> {
    // Checked before UTS #46 maps the text, so that a rejection shows the characters that were typed.
    reject_first(&[
        (text.is_empty(), "There must be something after the @-sign."),
        (
            text.starts_with('[') && text.ends_with(']'),
            "A bracketed IP address after the @-sign is not allowed here.",
        ),
    ])?;
    if let Some(excess) = excess(text.chars().count(), MAX_DOMAIN_LENGTH) {
        let excess = count(excess, "character");
        return Err(error(format!("The email address is too long after the @-sign ({excess} too many).")));
    }
    reject_characters(INVALID_DOMAIN, characters::others_in(text, characters::is_host))?;
    reject_characters(UNSAFE, characters::unsafe_in(text))?;
    reject_characters(INVALID_DOMAIN, characters::others_in(text, |character| !hides_a_dot(character)))?;

    let (unicode, validity) = Uts46::new().to_unicode(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow);
    // Checked after mapping, which can turn other characters into dots and hyphens.
    reject_characters(
        "The part after the @-sign contains invalid characters after Unicode normalization",
        characters::others_in(&unicode, characters::is_host),
    )?;
    reject_first(&[
        (unicode.ends_with('.'), "An email address cannot end with a period."),
        (unicode.starts_with('.'), "An email address cannot have a period immediately after the @-sign."),
        (unicode.contains(".."), "An email address cannot have two periods in a row."),
        (unicode.ends_with('-'), "An email address cannot end with a hyphen."),
        (unicode.starts_with('-'), "An email address cannot have a hyphen immediately after the @-sign."),
        (
            unicode.contains(".-") || unicode.contains("-."),
            "An email address cannot have a period and a hyphen next to each other.",
        ),
    ])?;
    let ascii = validity
        .ok()
        .and_then(|()| to_ascii(&unicode))
        .ok_or_else(|| error("The part after the @-sign is not valid IDNA."))?;
    unicode.split('.').try_for_each(characters::check_label).map_err(error)?;
    check_ascii_domain(&ascii)?;
    Ok((unicode.into_owned(), ascii))
}

fn check_ascii_domain(domain: &str) -> Result<(), EmailError> {
    if let Some(excess) = excess(domain.len(), MAX_DOMAIN_LENGTH) {
        let excess = count(excess, "byte");
        return Err(error(format!(
            "The email address is too long after the @-sign ({excess} too many after IDNA encoding)."
        )));
    }
    if let Some(excess) = domain.split('.').find_map(|label| excess(label.len(), MAX_LABEL_LENGTH)) {
        let excess = count(excess, "character");
        return Err(error(format!(
            "After the @-sign, periods cannot be separated by so many characters ({excess} too many)."
        )));
    }
    let (_, top_level) = domain
        .rsplit_once('.')
        .ok_or_else(|| error("The part after the @-sign is not valid. It should have a period."))?;
    reject_first(&[
        (
            !top_level.ends_with(|last: char| last.is_ascii_alphabetic()),
            "The part after the @-sign is not valid. It is not within a valid top-level domain.",
        ),
        (
            SPECIAL_USE.contains(&top_level),
            "The part after the @-sign is a special-use or reserved name that cannot be used with email.",
        ),
    ])
}

/// The excess is known in octets only; with several octets per character, the message gives a range.
fn check_given_length(local_part: &str, domain: &str) -> Result<(), EmailError> {
    let address = format!("{local_part}@{domain}");
    let Some(excess) = excess(address.len(), MAX_EMAIL_OCTETS) else { return Ok(()) };
    let widest = address.chars().map(char::len_utf8).max().unwrap_or(1);
    let fewest = excess.checked_div(widest).unwrap_or(excess).max(1);
    let from = if fewest == excess { String::new() } else { format!("{fewest}-") };
    let excess = count(excess, "character");
    Err(error(format!("The email address is too long ({from}{excess} too many).")))
}

/// Whether mapping `character` yields a dot that does not look like one: `…` or `⒈`, but not the full-width
/// full stop.
fn hides_a_dot(character: char) -> bool {
    !matches!(character, '.' | '\u{FF0E}') && std::iter::once(character).nfkd().any(|part| part == '.')
}

/// The domain in [`EmailAddress::key`].
pub(super) fn domain_key(domain: &str) -> String {
    to_ascii(domain).unwrap_or_else(|| domain.to_lowercase())
}

fn to_ascii(domain: &str) -> Option<String> {
    Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .ok()
        .map(Cow::into_owned)
}

fn error(reason: impl Into<String>) -> EmailError {
    EmailError { reason: reason.into() }
}

/// Rejects with the message of the first rule that applies.
fn reject_first(rules: &[(bool, &str)]) -> Result<(), EmailError> {
    rules.iter().find(|(applies, _)| *applies).map_or(Ok(()), |(_, reason)| Err(error(*reason)))
}

fn reject_characters(reason: &str, found: Option<String>) -> Result<(), EmailError> {
    found.map_or(Ok(()), |found| Err(error(format!("{reason}: {found}."))))
}

fn excess(length: usize, limit: usize) -> Option<usize> {
    length.checked_sub(limit).filter(|excess| *excess > 0)
}

fn count(number: usize, unit: &str) -> String {
    format!("{number} {unit}{}", if number > 1 { "s" } else { "" })
}
