//! The policy for new usernames: which characters they may contain, and which scripts they may mix (Unicode
//! Technical Standard 39). Existing names are not subject to it.

use std::str::FromStr;

use unicode_security::{GeneralSecurityProfile, RestrictionLevelDetection};

use super::username::{Username, UsernameError};

/// The policy for new usernames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsernamePolicy {
    /// The least strict level that a name may have.
    pub level: RestrictionLevel,
}

/// The restriction levels of UTS 39 (section 5.2), the strictest first. Each but the last implies the
/// identifier profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestrictionLevel {
    /// ASCII characters only.
    AsciiOnly,
    /// Characters of one script.
    SingleScript,
    /// One script, or Latin with Han and the other scripts of Chinese, Japanese or Korean.
    #[default]
    HighlyRestrictive,
    /// Also Latin with one other recommended script, except Cyrillic and Greek.
    ModeratelyRestrictive,
    /// Any mixture of scripts.
    MinimallyRestrictive,
    /// Any character, also one that identifiers do not contain.
    Unrestricted,
}

/// A text that names no restriction level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a restriction level of UTS 39")]
pub struct UnknownRestrictionLevel;

impl RestrictionLevel {
    /// All levels, the strictest first.
    pub const ALL: [Self; 6] = [
        Self::AsciiOnly,
        Self::SingleScript,
        Self::HighlyRestrictive,
        Self::ModeratelyRestrictive,
        Self::MinimallyRestrictive,
        Self::Unrestricted,
    ];

    /// The name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsciiOnly => "ascii-only",
            Self::SingleScript => "single-script",
            Self::HighlyRestrictive => "highly-restrictive",
            Self::ModeratelyRestrictive => "moderately-restrictive",
            Self::MinimallyRestrictive => "minimally-restrictive",
            Self::Unrestricted => "unrestricted",
        }
    }

    /// The same level in the crate that detects levels; `None` if every text satisfies it.
    const fn detected(self) -> Option<unicode_security::RestrictionLevel> {
        use unicode_security::RestrictionLevel as Level;
        match self {
            Self::AsciiOnly => Some(Level::ASCIIOnly),
            Self::SingleScript => Some(Level::SingleScript),
            Self::HighlyRestrictive => Some(Level::HighlyRestrictive),
            Self::ModeratelyRestrictive => Some(Level::ModeratelyRestrictive),
            Self::MinimallyRestrictive => Some(Level::MinimallyRestrictive),
            Self::Unrestricted => None,
        }
    }
}

impl FromStr for RestrictionLevel {
    type Err = UnknownRestrictionLevel;

    fn from_str(text: &str) -> Result<Self, UnknownRestrictionLevel> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or(UnknownRestrictionLevel)
    }
}

impl UsernamePolicy {
    /// Checks a new username. Spaces and the punctuation of ASCII are allowed at every level, as in the
    /// FastAPI service, although identifiers do not contain them.
    ///
    /// # Errors
    /// [`UsernameError::NotInProfile`] or [`UsernameError::MixedScripts`].
    pub fn check(&self, username: &Username) -> Result<(), UsernameError> {
        let Some(level) = self.level.detected() else { return Ok(()) };
        let identifier: String = username.as_str().chars().filter(|&it| !is_ascii_punctuation(it)).collect();
        if let Some(character) = identifier.chars().find(|it| !it.identifier_allowed()) {
            return Err(UsernameError::NotInProfile { character });
        }
        if identifier.check_restriction_level(level) { Ok(()) } else { Err(UsernameError::MixedScripts) }
    }
}

fn is_ascii_punctuation(character: char) -> bool {
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
                let expected = if index < least { Err(UsernameError::MixedScripts) } else { Ok(()) };
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

    #[test]
    fn levels_have_names() {
        for level in RestrictionLevel::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
        }
        assert_eq!("strict".parse::<RestrictionLevel>(), Err(UnknownRestrictionLevel));
    }
}
