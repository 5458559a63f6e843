//! The name of a machine token, chosen by an administrator.

use super::text::{is_direction_override, is_line_separator, is_visible};

/// Maximum length of the name of a machine token in characters.
pub const MAX_TOKEN_NAME_LENGTH: usize = 64;

/// A line of text: trimmed, 1 to 64 characters. It names a program, so events store it as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenName(String);

/// Why a text is not the name of a machine token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenNameError {
    /// It has no visible character.
    #[error("the name of a token has at least {min} visible character")]
    TooShort {
        /// Minimum number of characters.
        min: usize,
    },
    /// It is longer than the maximum.
    #[error("the name of a token has at most {max} characters")]
    TooLong {
        /// Maximum number of characters ([`MAX_TOKEN_NAME_LENGTH`]).
        max: usize,
    },
    /// It contains a control character, a line break or a change of direction.
    #[error("the name of a token cannot contain the character U+{:04X}", u32::from(*character))]
    Forbidden {
        /// The first such character.
        character: char,
    },
}

impl TokenName {
    /// Parses a name as typed.
    ///
    /// # Errors
    /// [`TokenNameError`] if the text, trimmed, is empty, too long or contains forbidden characters.
    pub fn parse(text: &str) -> Result<Self, TokenNameError> {
        let text = text.trim();
        let is_forbidden = |character: &char| {
            character.is_control() || is_line_separator(*character) || is_direction_override(*character)
        };
        if let Some(character) = text.chars().find(is_forbidden) {
            return Err(TokenNameError::Forbidden { character });
        }
        if !text.chars().any(is_visible) {
            return Err(TokenNameError::TooShort { min: 1 });
        }
        if text.chars().count() > MAX_TOKEN_NAME_LENGTH {
            return Err(TokenNameError::TooLong { max: MAX_TOKEN_NAME_LENGTH });
        }
        Ok(Self(text.to_owned()))
    }

    /// A stored name; it was validated when it was written.
    pub(crate) fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_lines_of_visible_text() {
        assert_eq!(TokenName::parse(" billing é ").unwrap().as_str(), "billing é");
        assert!(TokenName::parse(&"x".repeat(64)).is_ok());
        for (text, error) in [
            ("", TokenNameError::TooShort { min: 1 }),
            (" \u{200B} ", TokenNameError::TooShort { min: 1 }),
            ("a\nb", TokenNameError::Forbidden { character: '\n' }),
            ("a\u{202E}b", TokenNameError::Forbidden { character: '\u{202E}' }),
            (&"x".repeat(65), TokenNameError::TooLong { max: 64 }),
        ] {
            assert_eq!(TokenName::parse(text), Err(error), "{text:?}");
        }
    }
}
