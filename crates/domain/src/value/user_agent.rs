//! What a client calls itself in the header `User-Agent`.

use super::text::{is_direction_override, is_line_separator};

/// Maximum length of a user agent in characters.
pub const MAX_USER_AGENT_LENGTH: usize = 256;

/// What a client calls itself: 1 to 256 characters in one line. Clients choose it freely, so it proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserAgent(String);

impl UserAgent {
    /// The user agent in a text from outside, without control characters and characters that change the direction
    /// of text, cut off at the maximum length; `None` if nothing is left.
    #[must_use]
    pub fn from_untrusted(text: &str) -> Option<Self> {
        let is_shown = |character: &char| {
            !character.is_control() && !is_direction_override(*character) && !is_line_separator(*character)
        };
        let shown: String = text.trim().chars().filter(is_shown).take(MAX_USER_AGENT_LENGTH).collect();
        let shown = shown.trim();
        (!shown.is_empty()).then(|| Self(shown.to_owned()))
    }

    /// A stored user agent.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
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
    fn user_agents_are_one_bounded_line_of_visible_text() {
        let shown = |text: &str| UserAgent::from_untrusted(text).map(|agent| agent.as_str().to_owned());
        assert_eq!(shown(" curl/8.5.0 ").as_deref(), Some("curl/8.5.0"));
        assert_eq!(shown("a\u{1b}[2Jb\r\nc\u{202e}d\0\u{2028}").as_deref(), Some("a[2Jbcd"));
        assert_eq!(shown(&"é".repeat(1000)), Some("é".repeat(MAX_USER_AGENT_LENGTH)));
        for nothing in ["", " \t", "\u{202e}\0"] {
            assert_eq!(shown(nothing), None, "{nothing:?}");
        }
    }
}
