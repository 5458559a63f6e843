//! Taking a text apart at the @-sign.

use super::EmailError;
use super::characters;

/// The two sides of an address, not yet judged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// Before the @-sign. May still be empty or wrong.
    pub(super) local_part: &'a str,
    /// After the @-sign. May still be empty or wrong.
    pub(super) domain: &'a str,
}

/// Finds the @-sign of a trimmed text, in angle brackets or without.
pub(super) fn split(text: &str) -> Result<Parts<'_>, EmailError> {
    let address = in_brackets_after_a_name(text).unwrap_or(text).trim();
    match find_unquoted(address, &['@', '<']) {
        Some((local_part, '@', domain)) => Ok(Parts { local_part, domain }),
        Some((_, _, rest)) => Err(stray_bracket(rest)),
        None => Err(no_at_sign(address)),
    }
}

/// The address in `Ada Lovelace <ada@example.com>`, if the text has that form.
fn in_brackets_after_a_name(text: &str) -> Option<&str> {
    let inner = text.strip_suffix('>')?;
    if text.starts_with('"') {
        let (name, address) = inner.rsplit_once('<')?;
        let is_quoted = name.trim_end().strip_suffix('"')?.len() > 1;
        return is_quoted.then_some(address);
    }
    let (name, address) = inner.split_once('<')?;
    name.chars()
        .all(|character| characters::is_name(character) || character.is_whitespace())
        .then_some(address)
}

/// What stands before and after the first of `signs` outside quotes (RFC 5322, section 3.2.4), and which it
/// was.
fn find_unquoted<'a>(text: &'a str, signs: &[char]) -> Option<(&'a str, char, &'a str)> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        if !quoted && signs.contains(&character) {
            let (before, rest) = text.split_at_checked(index)?;
            return Some((before, character, rest.strip_prefix(character)?));
        }
        if character == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && character == '\\' && !escaped;
    }
    None
}

fn stray_bracket(rest: &str) -> EmailError {
    EmailError::new(match rest.split_once('>') {
        None => {
            "An open angle bracket at the start of the email address has to be followed by a close angle \
             bracket at the end."
        }
        Some(_) if !rest.ends_with('>') => "There can't be anything after the email address.",
        Some(_) => "A display name and angle brackets around the email address are not permitted here.",
    })
}

fn no_at_sign(address: &str) -> EmailError {
    EmailError::new(if address.contains('\u{FF20}') {
        "The email address has the \"full-width\" at-sign (@) character instead of a regular at-sign."
    } else if address.contains('\u{FE6B}') {
        "The email address has the \"small commercial at\" character instead of a regular at-sign."
    } else {
        "An email address must have an @-sign."
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_sign_in_quotes_does_not_split() {
        let parts = split(r#""a\"@b"@example.com"#).unwrap();
        assert_eq!(parts.local_part, r#""a\"@b""#);
        assert_eq!(parts.domain, "example.com");
    }

    #[test]
    fn a_name_before_angle_brackets_is_left_out() {
        for text in ["<a@b.c>", "Ada <a@b.c>", "Ada  King-Noël < a@b.c >", r#""King, Ada" <a@b.c>"#] {
            assert_eq!(split(text).map(|parts| (parts.local_part, parts.domain)), Ok(("a", "b.c")), "{text}");
        }
    }
}
