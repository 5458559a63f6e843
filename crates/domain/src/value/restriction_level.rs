//! The restriction levels of Unicode Technical Standard 39. What they are applied to belongs to the policies.

use std::str::FromStr;

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
    pub(super) const fn detected(self) -> Option<unicode_security::RestrictionLevel> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names() {
        for level in RestrictionLevel::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
        }
        assert_eq!("strict".parse::<RestrictionLevel>(), Err(UnknownRestrictionLevel));
    }
}
