//! Why an administrator did something to a user's account.

/// Most characters a reason may have.
pub const MAX_REASON_LENGTH: usize = 500;

/// An administrator's words: trimmed, 1 to 500 characters, several lines if need be.
///
/// Free text may say anything about a person, so events hold it as personal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(String);

/// Why a text is not a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReasonError {
    /// Nothing is left after trimming.
    #[error("a reason has at least {min} character")]
    TooShort {
        /// Fewest characters.
        min: usize,
    },
    /// It is longer than a reason may be.
    #[error("a reason has at most {max} characters")]
    TooLong {
        /// Most characters ([`MAX_REASON_LENGTH`]).
        max: usize,
    },
    /// It holds a control character other than a line break or a tab.
    #[error("a reason cannot contain the character U+{:04X}", u32::from(*character))]
    Forbidden {
        /// The first such character.
        character: char,
    },
}

impl Reason {
    /// Reads a reason as an administrator typed it.
    ///
    /// # Errors
    /// [`ReasonError`] if the text, trimmed, is empty, too long or holds control characters.
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

    /// A reason from an event: validated when it was written, and not again.
    pub(crate) fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The words.
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
