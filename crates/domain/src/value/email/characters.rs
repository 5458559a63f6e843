//! Which characters an address may hold, and how one that it may not is named in a refusal.

use std::collections::BTreeSet;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::EmailError;

/// Whether `character` may stand in an unquoted local part: `atext` of RFC 5322 section 3.2.3 and the dot,
/// and with RFC 6531 section 3.3 everything beyond ASCII.
pub(super) fn is_atext_or_dot(character: char) -> bool {
    !character.is_ascii() || character.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(character)
}

/// Whether `character` may stand in the name before an address in angle brackets.
pub(super) fn is_name(character: char) -> bool {
    if character.is_ascii() { is_atext_or_dot(character) } else { character.is_alphanumeric() }
}

/// Whether `character` may stand in a host name: letters, digits, hyphen and dot (RFC 952, RFC 1123 section
/// 2.1), and everything beyond ASCII until IDNA has judged it.
pub(super) fn is_host(character: char) -> bool {
    !character.is_ascii() || character.is_ascii_alphanumeric() || matches!(character, '-' | '.')
}

/// Refuses characters that mislead a reader or mean nothing: controls and invisible formats, private and
/// unassigned code points, spaces and line breaks, and a combining mark that would join whatever stands
/// before the text.
pub(super) fn refuse_unsafe(text: &str) -> Result<(), EmailError> {
    let is_unsafe = |&(index, character): &(usize, char)| match character.general_category_group() {
        GeneralCategoryGroup::Mark => index == 0,
        _ => !is_drawn(character),
    };
    let found: BTreeSet<char> =
        text.char_indices().filter(is_unsafe).map(|(_, character)| character).collect();
    refuse("The email address contains unsafe characters", found)
}

/// Refuses every character of `text` that `allowed` does not let through, in one sentence that begins with
/// `what`.
pub(super) fn refuse_others(text: &str, allowed: fn(char) -> bool, what: &str) -> Result<(), EmailError> {
    let found = text.chars().filter(|&character| !allowed(character));
    refuse(what, found.collect())
}

fn refuse(what: &str, found: BTreeSet<char>) -> Result<(), EmailError> {
    if found.is_empty() {
        return Ok(());
    }
    let names: BTreeSet<String> = found.into_iter().map(name).collect();
    let names: Vec<String> = names.into_iter().collect();
    Err(EmailError::new(format_args!("{what}: {}.", names.join(", "))))
}

/// What can be seen is quoted, what cannot is named.
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
