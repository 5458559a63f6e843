//! A password as typed, and in the form that is hashed.

use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use zeroize::Zeroizing;

/// A password: has no `Debug`, and is wiped when dropped.
#[derive(Clone)]
pub struct Password {
    normalised: Zeroizing<String>,
    /// If it differs: hashes of the legacy service and of early releases were made of it.
    typed: Option<Zeroizing<String>>,
}

impl Password {
    #[must_use]
    pub fn new(typed: String) -> Self {
        let typed = Zeroizing::new(typed);
        if is_nfc(&typed) && !typed.chars().any(is_foreign_space) {
            return Self { normalised: typed, typed: None };
        }
        Self { normalised: Zeroizing::new(opaque_string(&typed)), typed: Some(typed) }
    }

    /// The normalised form, for checking the password policy.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.normalised
    }

    /// The forms that a stored hash may have been made of, the normalised one first.
    pub(super) fn forms(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.normalised).chain(&self.typed).map(|form| form.as_bytes())
    }
}

/// The mapping and normalisation rules of `OpaqueString` (RFC 8265 §4.2.2): keyboards and operating systems
/// differ in how they encode the same characters. Nothing is trimmed, folded or rejected.
fn opaque_string(text: &str) -> String {
    text.chars().map(|char| if is_foreign_space(char) { ' ' } else { char }).nfc().collect()
}

fn is_foreign_space(char: char) -> bool {
    char != ' ' && char.general_category() == GeneralCategory::SpaceSeparator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_normalised(typed: &str, normalised: &str) {
        let password = Password::new(typed.to_owned());
        assert_eq!(password.expose(), normalised);
        let forms: Vec<_> = password.forms().map(<[u8]>::to_vec).collect();
        let mut expected = vec![normalised.as_bytes().to_vec()];
        expected.extend((typed != normalised).then(|| typed.as_bytes().to_vec()));
        assert_eq!(forms, expected);
    }

    #[test]
    fn composed_and_decomposed_forms_are_one_password() {
        assert_normalised("correct horse", "correct horse");
        assert_normalised("caf\u{E9}", "caf\u{E9}");
        assert_normalised("cafe\u{301}", "caf\u{E9}");
        assert_normalised("\u{1112}\u{1161}\u{11AB}", "\u{D55C}");
    }

    #[test]
    fn spaces_are_mapped_and_nothing_else_is_changed() {
        assert_normalised("a\u{A0}b\u{3000}c\u{2003}d", "a b c d");
        for unchanged in [" a ", "A\tb", "\u{FF21}\u{FB01}", "\u{200B}", "Stra\u{DF}e"] {
            assert_normalised(unchanged, unchanged);
        }
    }
}
