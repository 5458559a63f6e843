//! Character classes of e-mail addresses, and the rules of IDNA 2008 for a domain label.

use std::collections::BTreeSet;

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Characters that are allowed although they are neither letters, marks nor digits, or would be mapped away:
/// the exceptions and the context rules of RFC 5892 (section 2.6, appendix A).
const EXCEPTIONS: &str = "\u{B7}\u{375}\u{5F3}\u{5F4}\u{6FD}\u{6FE}\u{F0B}\u{200C}\u{200D}\u{3007}\u{30FB}";

/// Whether `character` may occur in an unquoted local part: `atext` of RFC 5322 section 3.2.3 and the dot,
/// and with RFC 6531 section 3.3 everything beyond ASCII.
pub(super) fn is_atext_or_dot(character: char) -> bool {
    !character.is_ascii() || character.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(character)
}

/// Whether `character` may occur in the display name before an address in angle brackets.
pub(super) fn is_display_name(character: char) -> bool {
    character.is_whitespace()
        || if character.is_ascii() { is_atext_or_dot(character) } else { character.is_alphanumeric() }
}

/// Whether `character` may occur in a host name: letters, digits, hyphen and dot (RFC 952, RFC 1123 section
/// 2.1), and everything beyond ASCII, which IDNA checks later.
pub(super) fn is_host(character: char) -> bool {
    !character.is_ascii() || character.is_ascii_alphanumeric() || matches!(character, '-' | '.')
}

/// The characters of `text` that mislead a reader: controls, invisible formats, private and unassigned code
/// points, spaces and line breaks, and a leading combining mark, which would join whatever is before the
/// text.
pub(super) fn unsafe_in(text: &str) -> Option<String> {
    let is_unsafe = |&(index, character): &(usize, char)| match character.general_category_group() {
        GeneralCategoryGroup::Mark => index == 0,
        _ => !is_drawn(character),
    };
    names(text.char_indices().filter(is_unsafe).map(|(_, character)| character))
}

/// The characters of `text` that `allowed` rejects.
pub(super) fn others_in(text: &str, allowed: impl Fn(char) -> bool) -> Option<String> {
    names(text.chars().filter(|&character| !allowed(character)))
}

fn names(characters: impl Iterator<Item = char>) -> Option<String> {
    let names: BTreeSet<String> = characters.map(name).collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
}

/// Visible characters are quoted, invisible ones named, as `email-validator` does.
fn name(character: char) -> String {
    match character {
        '\\' => r#""\""#.to_owned(),
        '\'' => r#""'""#.to_owned(),
        ' ' => "SPACE".to_owned(),
        '\u{A0}' => "NO-BREAK SPACE".to_owned(),
        '\u{AD}' => "SOFT HYPHEN".to_owned(),
        '\u{200B}' => "ZERO WIDTH SPACE".to_owned(),
        '\u{200C}' => "ZERO WIDTH NON-JOINER".to_owned(),
        '\u{200D}' => "ZERO WIDTH JOINER".to_owned(),
        '\u{202E}' => "RIGHT-TO-LEFT OVERRIDE".to_owned(),
        '\u{3000}' => "IDEOGRAPHIC SPACE".to_owned(),
        '\u{FEFF}' => "ZERO WIDTH NO-BREAK SPACE".to_owned(),
        _ if is_drawn(character) => format!("'{character}'"),
        _ => format!("U+{:04X}", u32::from(character)),
    }
}

fn is_drawn(character: char) -> bool {
    matches!(
        character.general_category_group(),
        GeneralCategoryGroup::Letter
            | GeneralCategoryGroup::Number
            | GeneralCategoryGroup::Punctuation
            | GeneralCategoryGroup::Symbol
    )
}

/// Checks a mapped label, in Unicode, against IDNA 2008. UTS #46, which the `idna` crate implements, also
/// lets in symbols and pictographs that RFC 5892 disallows.
///
/// # Errors
/// The message of `email-validator`.
pub(super) fn check_label(label: &str) -> Result<(), String> {
    if has_reserved_prefix(label) {
        return Err("An email address cannot have two letters followed by two dashes immediately after the @-sign or \
                    after a period, except Punycode."
            .to_owned());
    }
    let mut before = None;
    let mut rest = label.chars().peekable();
    for position in 1_usize.. {
        let Some(character) = rest.next() else { break };
        let number = u32::from(character);
        if !is_allowed_in_label(character) {
            return Err(format!(
                "The part after the @-sign is invalid (Codepoint U+{number:04X} at position {position} of '{label}' not \
                 allowed)."
            ));
        }
        if !satisfies_context_rule(character, before, rest.peek().copied(), label) {
            return Err(format!(
                "The part after the @-sign is invalid (Codepoint U+{number:04X} not allowed at position {position} in \
                 '{label}')."
            ));
        }
        before = Some(character);
    }
    Ok(())
}

/// Whether the third and fourth characters are hyphens, which RFC 5890 (section 2.3.1) reserves for
/// encodings. The one in use, `xn--`, is gone once a label is in Unicode.
fn has_reserved_prefix(label: &str) -> bool {
    label.chars().skip(2).take(2).eq("--".chars())
}

/// Letters, marks and digits (RFC 5892 section 2.1), but not the parts of Korean syllables (section 2.9).
/// Capitals are among them because mapping left only those that have no small form to fold to, as in
/// Cherokee.
fn is_allowed_in_label(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '-';
    }
    match character {
        '\u{1100}'..='\u{11FF}' | '\u{A960}'..='\u{A97C}' | '\u{D7B0}'..='\u{D7FB}' => false,
        _ if EXCEPTIONS.contains(character) => true,
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

/// The context rules of RFC 5892, appendix A.3 to A.7. UTS #46 already covers joiners and mixed digits.
fn satisfies_context_rule(character: char, before: Option<char>, after: Option<char>, label: &str) -> bool {
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
            assert_eq!(check_label(label), Ok(()), "{label}");
        }
    }

    #[test]
    fn symbols_misplaced_marks_and_reserved_prefixes_are_not() {
        for label in ["💩", "x·y", "a・b", "ᄀ", "ab--c"] {
            assert!(check_label(label).is_err(), "{label}");
        }
    }
}
