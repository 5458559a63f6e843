//! What stands after the @-sign: a host name, perhaps in another script.

use std::borrow::Cow;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

use super::EmailError;
use super::characters;
use super::label;
use super::length::too_many;

/// Most octets of a domain name as it travels (RFC 1035 section 2.3.4, without the root label).
const MAX_DOMAIN_LENGTH: usize = 253;

/// Most octets between two dots (RFC 1035 section 2.3.1).
const MAX_LABEL_LENGTH: usize = 63;

/// Top-level names that no mail is delivered to, from the registry of special-use domain names (RFC 6761,
/// 6762, 7686). `example` and its kin are not among them: RFC 6761 asks software to treat those like any
/// other.
const SPECIAL_USE: [&str; 6] = ["arpa", "invalid", "local", "localhost", "onion", "test"];

/// A domain name in its two spellings.
#[derive(Debug)]
pub(super) struct DomainName {
    /// As it is shown: lower case, internationalised labels in Unicode.
    pub(super) unicode: String,
    /// As it travels: lower case, internationalised labels in Punycode.
    pub(super) ascii: String,
}

/// The one spelling by which domains are compared: Punycode, which keeps apart what the domain name system
/// keeps apart (`faß.de` and `fass.de`) and nothing else.
pub(super) fn key(shown: &str) -> String {
    to_ascii(shown).unwrap_or_else(|| shown.to_lowercase())
}

impl DomainName {
    /// Reads a name in either spelling (UTS #46 without transitional processing, RFC 5890 to 5893).
    pub(super) fn parse(text: &str) -> Result<Self, EmailError> {
        check_given(text)?;
        let (unicode, validity) =
            Uts46::new().to_unicode(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow);
        check_mapped(&unicode)?;
        let ascii = validity
            .ok()
            .and_then(|()| to_ascii(&unicode))
            .ok_or_else(|| EmailError::new("The part after the @-sign is not valid IDNA."))?;
        unicode.split('.').try_for_each(label::check)?;
        check_ascii(&ascii)?;
        Ok(Self { unicode: unicode.into_owned(), ascii })
    }
}

fn to_ascii(domain: &str) -> Option<String> {
    Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .ok()
        .map(Cow::into_owned)
}

/// Judges the text before UTS #46 maps it, so that a refusal shows the characters that were typed.
fn check_given(text: &str) -> Result<(), EmailError> {
    const INVALID: &str = "The part after the @-sign contains invalid characters";
    if text.is_empty() {
        return Err(EmailError::new("There must be something after the @-sign."));
    }
    if text.starts_with('[') && text.ends_with(']') {
        return Err(EmailError::new("A bracketed IP address after the @-sign is not allowed here."));
    }
    let length = text.chars().count();
    if length > MAX_DOMAIN_LENGTH {
        return Err(EmailError::new(format_args!(
            "The email address is too long after the @-sign {}.",
            too_many(length, MAX_DOMAIN_LENGTH)
        )));
    }
    characters::refuse_others(text, characters::is_host, INVALID)?;
    characters::refuse_unsafe(text)?;
    characters::refuse_others(text, |character| !hides_a_dot(character), INVALID)
}

/// Whether mapping `character` yields a dot that is not plainly one: `…` or `⒈`, but not the full-width full
/// stop.
fn hides_a_dot(character: char) -> bool {
    !matches!(character, '.' | '\u{FF0E}') && std::iter::once(character).nfkd().any(|part| part == '.')
}

/// Judges the name after mapping, since that can turn other characters into dots and hyphens.
fn check_mapped(domain: &str) -> Result<(), EmailError> {
    characters::refuse_others(
        domain,
        characters::is_host,
        "The part after the @-sign contains invalid characters after Unicode normalization",
    )?;
    let reason = if domain.ends_with('.') {
        "An email address cannot end with a period."
    } else if domain.starts_with('.') {
        "An email address cannot have a period immediately after the @-sign."
    } else if domain.contains("..") {
        "An email address cannot have two periods in a row."
    } else if domain.ends_with('-') {
        "An email address cannot end with a hyphen."
    } else if domain.starts_with('-') {
        "An email address cannot have a hyphen immediately after the @-sign."
    } else if domain.contains(".-") || domain.contains("-.") {
        "An email address cannot have a period and a hyphen next to each other."
    } else {
        return Ok(());
    };
    Err(EmailError::new(reason))
}

fn check_ascii(domain: &str) -> Result<(), EmailError> {
    if domain.len() > MAX_DOMAIN_LENGTH {
        let excess = domain.len().saturating_sub(MAX_DOMAIN_LENGTH);
        let plural = if excess == 1 { "" } else { "s" };
        return Err(EmailError::new(format_args!(
            "The email address is too long after the @-sign \
             ({excess} byte{plural} too many after IDNA encoding)."
        )));
    }
    if let Some(label) = domain.split('.').find(|label| label.len() > MAX_LABEL_LENGTH) {
        return Err(EmailError::new(format_args!(
            "After the @-sign, periods cannot be separated by so many characters {}.",
            too_many(label.len(), MAX_LABEL_LENGTH)
        )));
    }
    check_top_level(domain)
}

fn check_top_level(domain: &str) -> Result<(), EmailError> {
    let Some((_, top_level)) = domain.rsplit_once('.') else {
        return Err(EmailError::new("The part after the @-sign is not valid. It should have a period."));
    };
    if !top_level.ends_with(|last: char| last.is_ascii_alphabetic()) {
        return Err(EmailError::new(
            "The part after the @-sign is not valid. It is not within a valid top-level domain.",
        ));
    }
    if SPECIAL_USE.contains(&top_level) {
        return Err(EmailError::new(
            "The part after the @-sign is a special-use or reserved name that cannot be used with email.",
        ));
    }
    Ok(())
}
