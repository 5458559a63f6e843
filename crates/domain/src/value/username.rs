//! The username, in its displayed form and as an identity key.

use unicode_normalization::UnicodeNormalization;

use unicode_normalization::char::is_combining_mark;

use super::text::{confusable_skeleton, identity_key, is_direction_override, is_line_separator, is_visible};

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
    /// It begins with a combining mark, which would be drawn over the text before it.
    #[error("it begins with the combining mark U+{:04X}", u32::from(*character))]
    LeadingMark {
        /// The mark.
        character: char,
    },
    /// It contains a character that identifiers do not contain (UTS 39, General Security Profile).
    #[error("the character U+{:04X} is not allowed in identifiers (UTS 39)", u32::from(*character))]
    NotInProfile {
        /// The first such character.
        character: char,
    },
    /// It mixes scripts whose characters look alike (UTS 39, restriction levels).
    #[error("it mixes scripts whose characters look alike (UTS 39); use the letters of one script")]
    MixedScripts,
}

impl Username {
    /// Parses a username as typed.
    ///
    /// # Errors
    /// [`UsernameError`] if the text, trimmed and normalised, is not a valid username.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        let normalised: String = text.trim().nfkc().collect();
        // Normalisation maps some characters to spaces, so the text is trimmed again.
        let shown = normalised.trim();
        if let Some(character) = shown.chars().find(|&character| is_forbidden(character)) {
            return Err(UsernameError::Forbidden { character });
        }
        if !shown.chars().any(is_visible) {
            return Err(UsernameError::TooShort { min: 1 });
        }
        if let Some(character) = shown.chars().next().filter(|&first| is_combining_mark(first)) {
            return Err(UsernameError::LeadingMark { character });
        }
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
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
    /// [`skeleton_version`].
    #[must_use]
    pub fn skeleton(&self) -> String {
        confusable_skeleton(&self.0)
    }
}

/// The version of the rules by which skeletons are derived, which changes with that of Unicode.
#[must_use]
pub fn skeleton_version() -> String {
    let (major, minor, patch) = unicode_security::UNICODE_VERSION;
    format!("1, Unicode {major}.{minor}.{patch}")
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
    fn username_cannot_begin_with_a_combining_mark() {
        assert_eq!(Username::parse("\u{301}ada"), Err(UsernameError::LeadingMark { character: '\u{301}' }));
        assert_eq!(shown("a\u{301}da"), "áda");
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
