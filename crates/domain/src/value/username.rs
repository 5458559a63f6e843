//! The username, in its displayed form and as an identity key.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::RestrictionLevel;
use super::text::{
    confusable_skeleton, identity_key, is_direction_override, is_line_separator, is_visible, single_spaced,
};

/// The version of the rules by which [skeletons](Username::skeleton) are derived. To be raised when they change, as they
/// do with the tables of a new version of Unicode: a test fails then.
pub const SKELETON_RULES: u64 = 1;

/// Maximum length of a username in characters of its displayed form.
pub const MAX_USERNAME_LENGTH: usize = 64;

/// A username in its displayed form: trimmed, in Unicode normalisation form NFKC, single spaces between words,
/// 1 to 64 characters, at least one of them visible, without control characters and direction overrides. Which
/// scripts a new one may mix is the [policy](super::UsernamePolicy)'s.
///
/// Two usernames are the same identity when their [`key`](Username::key)s are equal, and look alike when their
/// [`skeleton`](Username::skeleton)s are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

/// Why a text is not a username.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// It has no visible character.
    #[error("a username has at least {min} visible character")]
    TooShort {
        /// Minimum number of visible characters.
        min: usize,
    },
    /// It is longer than the maximum.
    #[error("a username has at most {max} characters")]
    TooLong {
        /// Maximum number of characters ([`MAX_USERNAME_LENGTH`]).
        max: usize,
    },
    /// It contains a character that can imitate another name or break the displayed line.
    #[error("a username cannot contain the character U+{:04X}", u32::from(*character))]
    Forbidden {
        /// The first such character.
        character: char,
    },
    /// A combining mark has no letter to combine with, so that it is drawn over other text, or is repeated, so that
    /// it may be drawn over itself (UTS 39, section 5.4).
    #[error("the combining mark U+{:04X} has no letter to combine with, or is repeated", u32::from(*character))]
    StrayMark {
        /// The mark, as normalised.
        character: char,
    },
    /// It contains a character that identifiers do not contain (UTS 39, General Security Profile).
    #[error("the character U+{:04X} is not allowed in identifiers (UTS 39)", u32::from(*character))]
    NotInProfile {
        /// The first such character.
        character: char,
    },
    /// It mixes scripts more than the restriction level allows (UTS 39).
    #[error(
        "its characters are not at the restriction level `{}` of UTS 39; use the letters of one script", level.as_str()
    )]
    NotAtLevel {
        /// The level that is required.
        level: RestrictionLevel,
    },
}

impl Username {
    /// Parses a username as typed.
    ///
    /// # Errors
    /// [`UsernameError`] if the text, trimmed and normalised, is not a valid username.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let username = Self::parse_existing(text)?;
        match stray_mark(username.as_str()) {
            Some(character) => Err(UsernameError::StrayMark { character }),
            None => Ok(username),
        }
    }

    /// Parses a username that a user has in another system already: combining marks may stand alone.
    ///
    /// # Errors
    /// [`UsernameError`] if the text, trimmed and normalised, cannot be stored as a username.
    pub fn parse_existing(text: &str) -> Result<Self, UsernameError> {
        let drawn = text.trim().chars().filter(|&character| !is_stray_control(character));
        let normalised: String = drawn.nfkc().collect();
        // Normalisation maps some characters to spaces, so the text is trimmed again.
        let shown = normalised.trim();
        if let Some(character) = shown.chars().find(|&character| is_forbidden(character)) {
            return Err(UsernameError::Forbidden { character });
        }
        if !shown.chars().any(is_visible) {
            return Err(UsernameError::TooShort { min: 1 });
        }
        let shown = single_spaced(shown);
        if shown.chars().count() > MAX_USERNAME_LENGTH {
            return Err(UsernameError::TooLong { max: MAX_USERNAME_LENGTH });
        }
        Ok(Self(shown))
    }

    /// A stored username; it was validated when it was written.
    #[must_use]
    pub fn from_stored(shown: &str) -> Self {
        Self(shown.to_owned())
    }

    /// This username with a number at the end, shortened if it would be too long otherwise.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let suffix = format!("-{number}");
        let kept: String = self.0.chars().take(MAX_USERNAME_LENGTH.saturating_sub(suffix.len())).collect();
        Self(kept.trim_end().to_owned() + &suffix)
    }

    /// The displayed form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity key: equal for names that differ only in case, compatibility forms or invisible
    /// characters.
    #[must_use]
    pub fn key(&self) -> String {
        identity_key(&self.0)
    }

    /// The skeleton: equal for names that look alike (UTS 39, section 4). It depends on
    /// [`SKELETON_RULES`].
    #[must_use]
    pub fn skeleton(&self) -> String {
        confusable_skeleton(&self.0)
    }
}

/// Characters without a glyph and without a meaning in a name, which come with copied text.
fn is_stray_control(character: char) -> bool {
    matches!(character, '\u{AD}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2060}' | '\u{FEFF}')
}

/// The first combining mark that does not follow a letter or another mark, or that follows the same mark.
fn stray_mark(text: &str) -> Option<char> {
    let mut previous = ' ';
    for character in text.chars() {
        let is_carried = previous.is_alphanumeric() || is_combining_mark(previous) || is_joiner(previous);
        if is_combining_mark(character) && (!is_carried || character == previous) {
            return Some(character);
        }
        previous = character;
    }
    None
}

/// Whether the character joins or separates the letters around it, as Persian and Indic orthographies require. It
/// distinguishes no names.
pub(super) fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200C}' | '\u{200D}')
}

fn is_forbidden(character: char) -> bool {
    character.is_control() || is_line_separator(character) || is_direction_override(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    #[track_caller]
    fn shown(text: &str) -> String {
        Username::parse(text).unwrap().as_str().to_owned()
    }

    #[test]
    fn username_is_trimmed_and_normalised() {
        assert_eq!(shown("  Ada Lovelace\n"), "Ada Lovelace");
        assert_eq!(shown("ａｄａ\u{3000}"), "ada");
        assert_eq!(shown("Ame\u{301}lie"), "Amélie");
    }

    #[test]
    fn case_and_invisible_characters_do_not_distinguish_usernames() {
        let key = |text| Username::parse(text).unwrap().key();
        assert_eq!(key("Ada"), key("ＡＤＡ"));
        assert_eq!(key("Ada"), key("a\u{200B}da"));
        assert_ne!(key("Ada"), key("Ada L"));
    }

    #[test]
    fn spaces_between_words_are_single() {
        assert_eq!(shown("ad  a"), "ad a");
        assert_eq!(shown("ad \u{2003}\u{A0} a"), "ad a");
    }

    #[test]
    fn names_that_look_alike_share_a_skeleton() {
        let skeleton = |text: &str| Username::from_stored(text).skeleton();
        for twin in ["аda", "ada\u{2800}", "ad\u{200D}a", "ADA", "ɑda", "аԁа", "𝐚𝐝𝐚", " ada "] {
            assert_eq!(skeleton(twin), skeleton("ada"), "{}", twin.escape_unicode());
        }
        for (one, other) in [
            ("ad  a", "ad\u{A0}a"),
            ("Ida", "lda"),
            ("Ian", "Lan"),
            ("%", "°/o"),
            ("user1", "userl"),
            ("arnold", "arno1d"),
            ("RAM", "Rarn"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} and {other}");
        }
        for (one, other) in [("ada", "adá"), ("ada", "ad a"), ("user1", "user2"), ("ida", "eda")] {
            assert_ne!(skeleton(one), skeleton(other), "{one} and {other}");
        }
    }

    #[test]
    fn combining_marks_follow_letters_once() {
        for (text, character) in [
            ("\u{301}ada", '\u{301}'),
            ("O´Brien", '\u{301}'),
            ("ada \u{323}", '\u{323}'),
            ("ada.\u{323}", '\u{323}'),
            ("b\u{32A}\u{32A}", '\u{32A}'),
        ] {
            let refused = Err(UsernameError::StrayMark { character });
            assert_eq!(Username::parse(text), refused, "{}", text.escape_unicode());
        }
        assert_eq!(shown("a\u{301}da"), "áda");
        for name in ["Nguyễn", "ก\u{e34}", "क्षि", "ශ්\u{200D}රී"] {
            assert_eq!(shown(name), name);
        }
    }

    #[test]
    fn invisible_characters_of_copied_text_are_dropped() {
        assert_eq!(shown("\u{FEFF}a\u{200B}d\u{AD}a\u{200E}"), "ada");
    }

    /// If this fails, a new version of Unicode has changed skeletons: raise [`SKELETON_RULES`] and set the new value.
    #[test]
    fn skeletons_change_only_with_their_rules() {
        let skeletons = ('!'..='\u{2FFFF}').map(|character| Username(format!("a{character}")).skeleton());
        let digest =
            skeletons.flat_map(String::into_bytes).fold(0xCBF2_9CE4_8422_2325_u64, |digest, byte| {
                (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
        assert_eq!((SKELETON_RULES, digest), (1, 12_996_458_624_651_093_028));
    }

    #[test]
    fn username_without_visible_characters_is_too_short() {
        for text in ["", "   ", "\u{200D}\u{200D}", "\u{3164}", "\u{2800}", "\u{301}"] {
            assert_eq!(
                Username::parse(text),
                Err(UsernameError::TooShort { min: 1 }),
                "{}",
                text.escape_unicode()
            );
        }
    }

    #[test]
    fn a_name_may_have_sixty_four_characters_and_no_more() {
        assert_eq!(shown(&"é".repeat(64)).chars().count(), 64);
        assert_eq!(Username::parse(&"é".repeat(65)), Err(UsernameError::TooLong { max: 64 }));
        // One character that normalises to eighteen.
        assert_eq!(Username::parse(&"\u{FDFA}".repeat(4)), Err(UsernameError::TooLong { max: 64 }));
    }

    #[test]
    fn control_and_direction_characters_are_forbidden() {
        for character in ['\0', '\t', '\n', '\u{7F}', '\u{2028}', '\u{202E}', '\u{2066}'] {
            assert_eq!(
                Username::parse(&format!("a{character}b")),
                Err(UsernameError::Forbidden { character })
            );
        }
    }

    #[test]
    fn forbidden_character_is_reported_by_code_point() {
        let error = Username::parse("a\u{202E}b").unwrap_err();
        assert_eq!(error.to_string(), "a username cannot contain the character U+202E");
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn parsing_is_idempotent(text in samples::name_text()) {
            if let Ok(name) = Username::parse(&text) {
                let again = Username::parse(name.as_str()).unwrap();
                prop_assert_eq!(again.key(), name.key());
                prop_assert_eq!(again, name);
            }
        }

        #[test]
        fn username_key_is_never_empty(name in samples::username()) {
            prop_assert!(!name.key().is_empty());
        }
    }
}
