//! The policy for new usernames: which characters they may contain, and which scripts they may mix (Unicode
//! Technical Standard 39). Existing names are not subject to it.

use unicode_security::{GeneralSecurityProfile, RestrictionLevelDetection};

use super::RestrictionLevel;
use super::username::{Username, UsernameError, is_joiner};

/// The policy for new usernames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsernamePolicy {
    /// The least strict level that a name may have.
    pub level: RestrictionLevel,
}

impl UsernamePolicy {
    /// Checks a new username. Spaces and the punctuation of ASCII are allowed at every level, as in the
    /// FastAPI service, although identifiers do not contain them.
    ///
    /// # Errors
    /// [`UsernameError::NotInProfile`] or [`UsernameError::NotAtLevel`].
    pub fn check(&self, username: &Username) -> Result<(), UsernameError> {
        let Some(level) = self.level.detected() else { return Ok(()) };
        let name = username.as_str();
        let identifier: String =
            name.chars().filter(|&it| !is_ascii_separator(it) && !is_joiner(it)).collect();
        if let Some(character) = identifier.chars().find(|it| !it.identifier_allowed()) {
            return Err(UsernameError::NotInProfile { character });
        }
        if identifier.check_restriction_level(level) {
            Ok(())
        } else {
            Err(UsernameError::NotAtLevel { level: self.level })
        }
    }
}

fn is_ascii_separator(character: char) -> bool {
    character == ' ' || character.is_ascii_punctuation()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(level: RestrictionLevel, text: &str) -> Result<(), UsernameError> {
        UsernamePolicy { level }.check(&Username::parse(text).unwrap())
    }

    #[test]
    fn names_of_one_script_are_allowed_by_default() {
        for name in [
            "ada",
            "Ada Lovelace",
            "ada.l-1_2",
            "o'brien",
            "<ada>",
            "Amélie",
            "Ада Лавлейс",
            "Αδάμ",
            "李明",
            "あだ",
            "ada李",
            "김 ada",
            "עדה",
            "Adaʼs",
            "O’Brien",
            "علی\u{200C}رضا",
            "ශ්\u{200D}රී",
            "Nguyễn",
            "42",
        ] {
            assert_eq!(check(RestrictionLevel::default(), name), Ok(()), "{name}");
        }
    }

    #[test]
    fn mixed_scripts_are_rejected_below_their_level() {
        use RestrictionLevel as Level;
        for (name, least) in [
            ("ada", Level::AsciiOnly),
            ("adá", Level::SingleScript),
            ("ada李", Level::HighlyRestrictive),
            ("adaע", Level::ModeratelyRestrictive),
            ("аda", Level::MinimallyRestrictive),
            ("αda", Level::MinimallyRestrictive),
        ] {
            let least = Level::ALL.iter().position(|level| *level == least).unwrap();
            for (index, level) in Level::ALL.into_iter().enumerate() {
                let refused = Err(UsernameError::NotAtLevel { level });
                let expected = if index < least { refused } else { Ok(()) };
                assert_eq!(check(level, name), expected, "{name} at {}", level.as_str());
            }
        }
    }

    #[test]
    fn characters_outside_the_identifier_profile_are_rejected() {
        // A blank Braille pattern, an unassigned and a private-use character, an emoji, a Deseret letter.
        for character in ['\u{2800}', '\u{378}', '\u{E000}', '🦀', '𐐀'] {
            let name = format!("ada{character}");
            let refused = Err(UsernameError::NotInProfile { character });
            assert_eq!(check(RestrictionLevel::MinimallyRestrictive, &name), refused, "{name}");
            assert_eq!(check(RestrictionLevel::Unrestricted, &name), Ok(()), "{name}");
        }
    }
}
