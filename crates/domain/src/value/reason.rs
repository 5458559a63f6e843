//! The reason an administrator gives for a change of a user's account.

/// Maximum length of a reason in characters.
pub const MAX_REASON_LENGTH: usize = 500;

/// A free text: trimmed, 1 to 500 characters, possibly several lines.
///
/// Free text may contain personal data, so events store it encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(String);

/// Why a text is not a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReasonError {
    /// It is empty after trimming.
    #[error("a reason has at least {min} character")]
    TooShort {
        /// Minimum number of characters.
        min: usize,
    },
    /// It is longer than the maximum.
    #[error("a reason has at most {max} characters")]
    TooLong {
        /// Maximum number of characters ([`MAX_REASON_LENGTH`]).
        max: usize,
    },
    /// It contains a control character other than a line break or a tab.
    #[error("a reason cannot contain the character U+{:04X}", u32::from(*character))]
    Forbidden {
        /// The first such character.
        character: char,
    },
}

impl Reason {
    /// Parses a reason as typed.
    ///
    /// # Errors
    /// [`ReasonError`] if the text, trimmed, is empty, too long or contains control characters.
    pub fn parse(text: &str) -> Result<Self, ReasonError> {
        // Browsers send a line break of a form field as CR LF (HTML, "form-encoding"); it is one line break.
        let text = text.trim().replace("\r\n", "\n");
        if let Some(character) = text.chars().find(|&character| is_forbidden(character)) {
            return Err(ReasonError::Forbidden { character });
        }
        match text.chars().count() {
            0 => Err(ReasonError::TooShort { min: 1 }),
            1..=MAX_REASON_LENGTH => Ok(Self(text)),
            _ => Err(ReasonError::TooLong { max: MAX_REASON_LENGTH }),
        }
    }

    /// A stored reason; it was validated when it was written.
    pub(crate) fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_forbidden(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_trimmed_and_keeps_line_breaks() {
        let reason = Reason::parse("  asked by mail\r\n\tticket 7\n").unwrap();
        assert_eq!(reason.as_str(), "asked by mail\n\tticket 7");
    }

    #[test]
    fn a_reason_has_one_to_five_hundred_characters() {
        assert_eq!(Reason::parse(" \n"), Err(ReasonError::TooShort { min: 1 }));
        assert!(Reason::parse(&"é".repeat(500)).is_ok());
        assert_eq!(Reason::parse(&"é".repeat(501)), Err(ReasonError::TooLong { max: 500 }));
    }

    #[test]
    fn control_characters_are_forbidden() {
        for character in ['\0', '\u{1B}', '\r', '\u{85}'] {
            assert_eq!(Reason::parse(&format!("a{character}b")), Err(ReasonError::Forbidden { character }));
        }
    }
}
