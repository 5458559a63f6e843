//! What stands between two dots of a domain, in the registries' own script.
//!
//! UTS #46, which the `idna` crate implements, says how a label is mapped and compared. It lets in symbols
//! and pictographs that IDNA 2008 does not know; this file refuses those.

use std::fmt;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::EmailError;

/// Characters that are allowed although they are neither letters, marks nor digits, or would be mapped away:
/// the exceptions and the context rules of RFC 5892 (section 2.6, appendix A).
const BY_NAME: &str = "\u{B7}\u{375}\u{5F3}\u{5F4}\u{6FD}\u{6FE}\u{F0B}\u{200C}\u{200D}\u{3007}\u{30FB}";

/// Refuses a label, mapped and in Unicode, that IDNA 2008 does not know: with a reserved prefix, or with
/// characters that RFC 5892 disallows there.
pub(super) fn check(label: &str) -> Result<(), EmailError> {
    if is_reserved(label) {
        return Err(EmailError::new(
            "An email address cannot have two letters followed by two dashes immediately after the @-sign or \
             after a period, except Punycode.",
        ));
    }
    let mut position = 0_usize;
    let mut before = None;
    let mut rest = label.chars().peekable();
    while let Some(character) = rest.next() {
        position += 1;
        let number = u32::from(character);
        if !is_allowed(character) {
            return Err(invalid(format_args!(
                "Codepoint U+{number:04X} at position {position} of '{label}' not allowed"
            )));
        }
        if !fits(character, before, rest.peek().copied(), label) {
            return Err(invalid(format_args!(
                "Codepoint U+{number:04X} not allowed at position {position} in '{label}'"
            )));
        }
        before = Some(character);
    }
    Ok(())
}

fn invalid(why: fmt::Arguments<'_>) -> EmailError {
    EmailError::new(format_args!("The part after the @-sign is invalid ({why})."))
}

/// Whether the third and fourth characters are hyphens, which RFC 5890 (section 2.3.1) keeps for encodings.
/// The one in use, `xn--`, is no longer there once a label is in Unicode.
fn is_reserved(label: &str) -> bool {
    label.chars().skip(2).take(2).eq("--".chars())
}

/// Letters, marks and digits (RFC 5892 section 2.1), but not the parts of Korean syllables (section 2.9).
/// Capitals are among them because mapping left only those that have no small form to fold to, as in
/// Cherokee.
fn is_allowed(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '-';
    }
    match character {
        '\u{1100}'..='\u{11FF}' | '\u{A960}'..='\u{A97C}' | '\u{D7B0}'..='\u{D7FB}' => false,
        _ if BY_NAME.contains(character) => true,
        _ => matches!(
            character.general_category(),
            GeneralCategory::LowercaseLetter
                | GeneralCategory::UppercaseLetter
                | GeneralCategory::OtherLetter
                | GeneralCategory::ModifierLetter
                | GeneralCategory::NonspacingMark
                | GeneralCategory::SpacingMark
                | GeneralCategory::DecimalNumber
        ),
    }
}

/// Whether a punctuation mark stands where its language puts it (RFC 5892, appendix A.3 to A.7). The rules
/// for joiners and for mixed digits are UTS #46's already.
fn fits(character: char, before: Option<char>, after: Option<char>, label: &str) -> bool {
    match character {
        '\u{B7}' => before == Some('l') && after == Some('l'),
        '\u{375}' => after.is_some_and(is_greek),
        '\u{5F3}' | '\u{5F4}' => before.is_some_and(is_hebrew),
        '\u{30FB}' => label.chars().any(is_japanese),
        _ => true,
    }
}

fn is_greek(character: char) -> bool {
    matches!(character, '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}')
}

fn is_hebrew(character: char) -> bool {
    matches!(character, '\u{590}'..='\u{5FF}')
}

/// Hiragana, Katakana (but for the mark itself) and Han.
fn is_japanese(character: char) -> bool {
    matches!(
        character,
        '\u{3005}'..='\u{3007}'
            | '\u{3041}'..='\u{30FA}'
            | '\u{30FC}'..='\u{30FF}'
            | '\u{31F0}'..='\u{31FF}'
            | '\u{3400}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{1B000}'..='\u{1B16F}'
            | '\u{20000}'..='\u{3FFFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_many_scripts_are_known() {
        for label in ["example", "münchen", "例え", "пример", "उदाहरण", "col·lecció", "カ・タ", "ᎠᎡ"]
        {
            assert_eq!(check(label), Ok(()), "{label}");
        }
    }

    #[test]
    fn symbols_misplaced_marks_and_reserved_prefixes_are_not() {
        for label in ["💩", "x·y", "a・b", "ᄀ", "ab--c"] {
            assert!(check(label).is_err(), "{label}");
        }
    }
}
