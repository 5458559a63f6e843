//! How long an address may be.

use std::fmt;

use super::EmailError;
use super::domain_name::DomainName;
use super::split::Parts;

/// Most octets an address may have, in UTF-8 and in each of its spellings (RFC 5321 section 4.5.3.1.3, RFC
/// 3696 erratum 1690). As no character is shorter than an octet, it has at most 254 characters too.
pub const MAX_EMAIL_OCTETS: usize = 254;

/// Most characters that are looked at at all.
const MAX_INPUT: usize = 2048;

/// Refuses what cannot become an address, before any work is done on it.
pub(super) fn check_input(text: &str) -> Result<(), EmailError> {
    if text.chars().nth(MAX_INPUT).is_some() {
        return Err(EmailError::new(format_args!("Length must not exceed {MAX_INPUT} characters")));
    }
    // A line break inside an address would be the start of another mail header. At the edges it is trimmed.
    if text.trim().contains(['\r', '\n']) {
        return Err(EmailError::new("Carriage return and line feed characters are not allowed"));
    }
    Ok(())
}

/// Refuses an address that is too long as it was given, as it is shown, or as it travels.
pub(super) fn check(given: &Parts<'_>, local_part: &str, domain: &DomainName) -> Result<(), EmailError> {
    check_given(&format!("{}@{}", given.local_part, given.domain))?;
    check_spelling(local_part, &domain.unicode, "after normalization")?;
    check_spelling(local_part, &domain.ascii, "when the part after the @-sign is converted to IDNA ASCII")
}

/// `(3 characters too many)`, as refusals say it.
pub(super) fn too_many(length: usize, limit: usize) -> impl fmt::Display {
    let excess = length.saturating_sub(limit);
    format!("({excess} character{} too many)", plural(excess))
}

/// What is too many is known in octets only; with several octets to a character, the sentence gives a range.
fn check_given(address: &str) -> Result<(), EmailError> {
    let excess = address.len().saturating_sub(MAX_EMAIL_OCTETS);
    if excess == 0 {
        return Ok(());
    }
    let widest = address.chars().map(char::len_utf8).max().unwrap_or(1);
    let fewest = excess.checked_div(widest).unwrap_or(excess).max(1);
    let range = if fewest == excess { excess.to_string() } else { format!("{fewest}-{excess}") };
    Err(EmailError::new(format_args!(
        "The email address is too long ({range} character{} too many).",
        plural(excess)
    )))
}

fn check_spelling(local_part: &str, domain: &str, when: &str) -> Result<(), EmailError> {
    let octets = local_part.len().saturating_add(1).saturating_add(domain.len());
    let excess = octets.saturating_sub(MAX_EMAIL_OCTETS);
    if excess == 0 {
        return Ok(());
    }
    Err(EmailError::new(format_args!(
        "The email address is too long {when} ({excess} byte{} too many).",
        plural(excess)
    )))
}

const fn plural(count: usize) -> &'static str {
    if count > 1 { "s" } else { "" }
}
