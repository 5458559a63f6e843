//! Text comparison (identity keys, confusable skeletons) and visibility of characters.
//!
//! The character tables here are Unicode properties that rarely change. Tables that grow with every version
//! of Unicode come from crates.

use std::ops::RangeInclusive;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::skeleton;

/// Invisible characters without identity: the property `Default_Ignorable_Code_Point`, which includes
/// reserved ranges and is therefore stable (Unicode, `DerivedCoreProperties.txt`).
const IGNORABLE: [RangeInclusive<char>; 17] = [
    '\u{AD}'..='\u{AD}',
    '\u{34F}'..='\u{34F}',
    '\u{61C}'..='\u{61C}',
    '\u{115F}'..='\u{1160}',
    '\u{17B4}'..='\u{17B5}',
    '\u{180B}'..='\u{180F}',
    '\u{200B}'..='\u{200F}',
    '\u{202A}'..='\u{202E}',
    '\u{2060}'..='\u{206F}',
    '\u{3164}'..='\u{3164}',
    '\u{FE00}'..='\u{FE0F}',
    '\u{FEFF}'..='\u{FEFF}',
    '\u{FFA0}'..='\u{FFA0}',
    '\u{FFF0}'..='\u{FFF8}',
    '\u{1BCA0}'..='\u{1BCA3}',
    '\u{1D173}'..='\u{1D17A}',
    '\u{E0000}'..='\u{E0FFF}',
];

/// Characters with an empty glyph: the blank Braille pattern, and the interlinear annotation marks.
const BLANK: [RangeInclusive<char>; 2] = ['\u{2800}'..='\u{2800}', '\u{FFF9}'..='\u{FFFB}'];

/// The identity key of a text: without ignorable characters, in compatibility normalisation (NFKC),
/// case-folded and trimmed. Texts that look the same to a reader have equal keys.
///
/// This is the compatibility caseless match of the Unicode Standard (section 3.13, D146) over text without
/// ignorable characters, as `NFKC_Casefold` requires for identifiers (UAX #31). Folding twice is part of that
/// definition: a character such as `℡` has capitals only after its decomposition.
pub(super) fn identity_key(text: &str) -> String {
    if text.is_ascii() {
        // ASCII has no ignorable characters and no compatibility forms; case folding is lower case.
        return text.trim().to_ascii_lowercase();
    }
    folded(text)
}

fn folded(text: &str) -> String {
    let folded: String = text
        .chars()
        .filter(|&character| !is_ignorable(character))
        .nfd()
        .default_case_fold()
        .nfkd()
        .default_case_fold()
        .nfkc()
        .collect();
    folded.trim().to_owned()
}

/// The confusable skeleton of a text (UTS 39, section 4), whatever its case, spaces and invisible characters.
/// Texts that a reader may take for each other have equal skeletons.
///
/// The skeleton is taken before and after case folding: `I` looks like `l`, and `i` does not. It is folded in the end,
/// because a prototype may have case.
pub(super) fn confusable_skeleton(text: &str) -> String {
    let is_drawn = |character: &char| !is_ignorable(*character) && !contains(&BLANK, *character);
    let shown: String = text.chars().filter(is_drawn).nfkc().collect();
    let as_shown: String = skeleton(&single_spaced(&shown)).collect();
    let folded: String = skeleton(&identity_key(&as_shown)).collect();
    identity_key(&folded)
}

/// The words of a text, with one space between them.
pub(super) fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `character` is visible on its own.
pub(super) fn is_visible(character: char) -> bool {
    let hidden = character.is_control()
        || character.is_whitespace()
        || is_combining_mark(character)
        || is_ignorable(character)
        || contains(&BLANK, character);
    !hidden
}

/// Whether `character` changes the direction of the text around it (UAX #9, section 2: embeddings, overrides,
/// isolates), so that the displayed order differs from the stored one.
pub(super) fn is_direction_override(character: char) -> bool {
    matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether `character` is a line break that is not a control character.
pub(super) fn is_line_separator(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

fn is_ignorable(character: char) -> bool {
    contains(&IGNORABLE, character)
}

fn contains(ranges: &[RangeInclusive<char>], character: char) -> bool {
    ranges.iter().any(|range| range.contains(&character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_texts_share_a_key() {
        for (one, other) in [
            ("Ada", "ada"),
            ("Straße", "STRASSE"),
            ("e\u{301}", "É"),
            ("ａｄａ", "ada"),
            ("℡", "tel"),
            ("ad\u{200D}a", "ada"),
            ("ada \u{FEFF}", "ada"),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ] {
            assert_eq!(identity_key(one), identity_key(other), "{one} and {other}");
        }
    }

    #[test]
    fn distinct_texts_have_distinct_keys() {
        assert_ne!(identity_key("ada"), identity_key("adá"));
        assert_ne!(identity_key("ada l"), identity_key("adal"));
    }

    #[test]
    fn ascii_fast_path_yields_the_same_key() {
        let all: String = (0..0x80_u8).map(char::from).collect();
        assert_eq!(identity_key(&all), folded(&all));
        for byte in 0..0x80_u8 {
            let around = format!(" {0}A{0} ", char::from(byte));
            assert_eq!(identity_key(&around), folded(&around), "{byte}");
        }
    }

    #[test]
    fn key_is_idempotent_for_every_character() {
        // Characters beyond these planes have neither case nor a decomposition.
        for character in '\0'..='\u{2FFFF}' {
            let key = identity_key(&character.to_string());
            assert_eq!(identity_key(&key), key, "{}", character.escape_unicode());
        }
    }

    #[test]
    fn joiners_marks_and_blanks_are_invisible() {
        for character in ['\u{200D}', '\u{3164}', '\u{2800}', '\u{A0}', '\u{301}', '\0'] {
            assert!(!is_visible(character), "{}", character.escape_unicode());
        }
        for character in ['a', 'あ', '5', '-', '🦀'] {
            assert!(is_visible(character), "{character}");
        }
    }
}
