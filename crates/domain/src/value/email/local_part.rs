//! What stands before the @-sign.

use unicode_normalization::UnicodeNormalization;

use super::EmailError;
use super::characters;

/// The local part as it is shown: an unquoted dot-atom (RFC 5322 section 3.2.3, RFC 6531 section 3.3) in
/// Unicode normalisation form NFC.
pub(super) fn normalise(text: &str) -> Result<String, EmailError> {
    if text.starts_with('"') {
        return Err(EmailError::new("Quoting the part before the @-sign is not allowed here."));
    }
    check(text)?;
    let normalised: String = text.nfc().collect();
    if normalised != text {
        // NFC turns a few characters into ones that may not stand here, the Greek question mark into a
        // semicolon.
        check(&normalised)
            .map_err(|fault| EmailError::new(format_args!("After Unicode normalization: {fault}")))?;
    }
    Ok(normalised)
}

fn check(text: &str) -> Result<(), EmailError> {
    if text.is_empty() {
        return Err(EmailError::new("There must be something before the @-sign."));
    }
    characters::refuse_others(
        text,
        characters::is_atext_or_dot,
        "The email address contains invalid characters before the @-sign",
    )?;
    check_dots(text)?;
    characters::refuse_unsafe(text)
}

fn check_dots(text: &str) -> Result<(), EmailError> {
    let reason = if text.ends_with('.') {
        "An email address cannot have a period immediately before the @-sign."
    } else if text.starts_with('.') {
        "An email address cannot start with a period."
    } else if text.contains("..") {
        "An email address cannot have two periods in a row."
    } else {
        return Ok(());
    };
    Err(EmailError::new(reason))
}
