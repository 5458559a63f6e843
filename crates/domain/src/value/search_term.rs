//! The beginning of an e-mail address or a username, as typed into a search.

use unicode_normalization::UnicodeNormalization;

use super::email::domain_key;
use super::text::{identity_key, single_spaced};
use super::{EmailAddress, Username};

/// What the key of an internationalised domain label begins with.
const PUNYCODE: &str = "xn--";

/// A text with which e-mail addresses or usernames begin, compared as their keys are: whatever its case, its
/// compatibility forms and its invisible characters. Without any visible character it matches none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchTerm {
    username: String,
    email: EmailBeginning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum EmailBeginning {
    /// Of the local part, or of an address without an @-sign.
    LocalPart(String),
    /// The local part as a whole, and the beginning of the domain.
    Domain { local_part: String, shown: String, key: String },
}

impl SearchTerm {
    /// A term as typed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let email = match text.rsplit_once('@') {
            None => EmailBeginning::LocalPart(identity_key(text)),
            Some((local_part, domain)) => {
                let shown: String = domain.trim_end().nfkc().collect::<String>().to_lowercase();
                let shown = shown.replace('。', ".");
                let key = match shown.rsplit_once('.') {
                    Some((labels, label)) => format!("{}.{label}", domain_key(labels)),
                    None => shown.clone(),
                };
                EmailBeginning::Domain { local_part: identity_key(local_part), shown, key }
            }
        };
        Self { username: single_spaced(&identity_key(text)), email }
    }

    /// Beginnings of [`EmailAddress::key`], of which every match has one. No key has two of them.
    #[must_use]
    pub fn email_prefixes(&self) -> Vec<String> {
        match &self.email {
            EmailBeginning::LocalPart(beginning) => non_empty(beginning),
            EmailBeginning::Domain { local_part, key, .. } => {
                // Keys have labels in Punycode, which begins otherwise than what is shown.
                let labels =
                    key.rsplit_once('.').map_or_else(String::new, |(labels, _)| format!("{labels}."));
                let (typed, punycode) =
                    (format!("{local_part}@{key}"), format!("{local_part}@{labels}{PUNYCODE}"));
                match (punycode.starts_with(&typed), typed.starts_with(&punycode)) {
                    (true, _) => vec![typed],
                    (false, true) => vec![punycode],
                    (false, false) => vec![typed, punycode],
                }
            }
        }
    }

    /// The beginning of [`Username::key`]; `None` if no username matches.
    #[must_use]
    pub fn username_prefix(&self) -> Option<&str> {
        Some(self.username.as_str()).filter(|beginning| !beginning.is_empty())
    }

    /// Whether the address begins with the term.
    #[must_use]
    pub fn matches_email(&self, email: &EmailAddress) -> bool {
        match &self.email {
            EmailBeginning::LocalPart(beginning) => {
                !beginning.is_empty() && email.key().starts_with(beginning)
            }
            EmailBeginning::Domain { local_part, shown, key } => {
                let found = email.key();
                let Some((found_local_part, found_key)) = found.rsplit_once('@') else { return false };
                let found_shown = email.as_str().rsplit_once('@').map(|(_, domain)| domain);
                let is_shown = found_shown.is_some_and(|domain| domain.starts_with(shown));
                found_local_part == local_part && (is_shown || found_key.starts_with(key))
            }
        }
    }

    /// Whether the username begins with the term.
    #[must_use]
    pub fn matches_username(&self, username: &Username) -> bool {
        self.username_prefix().is_some_and(|beginning| username.key().starts_with(beginning))
    }
}

fn non_empty(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { vec![text.to_owned()] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    fn finds_email(typed: &str, email: &str) -> bool {
        let (term, email) = (SearchTerm::new(typed), EmailAddress::parse(email).unwrap());
        let is_found = term.matches_email(&email);
        let in_prefixes =
            term.email_prefixes().iter().filter(|prefix| email.key().starts_with(*prefix)).count();
        assert!(in_prefixes == 1 || !is_found && in_prefixes == 0, "{typed} {email:?}: {term:?}");
        is_found
    }

    fn finds_username(typed: &str, username: &str) -> bool {
        SearchTerm::new(typed).matches_username(&Username::parse(username).unwrap())
    }

    #[test]
    fn beginnings_of_emails_are_found_in_any_spelling() {
        for (typed, email, is_found) in [
            ("ad", "Ada@example.com", true),
            (" ADA", "ada@example.com", true),
            ("ada@", "ada@example.com", true),
            ("ada@Exam", "ada@example.com", true),
            ("ada@example.com", "ada@example.com", true),
            ("ada@example.", "ada@example.com", true),
            ("da", "ada@example.com", false),
            ("ad@example.com", "ada@example.com", false),
            ("ada@xample", "ada@example.com", false),
            ("a%", "ada@example.com", false),
            ("a_a", "ada@example.com", false),
            ("a_a", "a_a@example.com", true),
            ("a.*", "ada@example.com", false),
            ("a*", "a*b@example.com", true),
            ("ada@MÜN", "ada@münchen.de", true),
            ("ada@m", "ada@münchen.de", true),
            ("ada@mü", "ada@mail.münchen.de", false),
            ("ada@mail.mü", "ada@mail.münchen.de", true),
            ("ada@mail.m", "ada@mail.münchen.de", true),
            ("ada@münchen.d", "ada@münchen.de", true),
            ("ada@xn--mn", "ada@münchen.de", true),
            ("ada@x", "ada@münchen.de", true),
            ("ada@xa", "ada@münchen.de", false),
            ("用", "用户@例子.广告", true),
            ("用户@例子。广", "用户@例子.广告", true),
            ("É", "e\u{301}ric@example.com", true),
            ("e", "e\u{301}ric@example.com", false),
            ("", "ada@example.com", false),
            (" \u{200B}", "ada@example.com", false),
        ] {
            assert_eq!(finds_email(typed, email), is_found, "{typed} in {email}");
        }
    }

    #[test]
    fn beginnings_of_usernames_are_found_in_any_spelling() {
        for (typed, username, is_found) in [
            ("ADA", "Ada Lovelace", true),
            ("ada  lov", "Ada Lovelace", true),
            ("lovelace", "Ada Lovelace", false),
            ("ｶ", "カタカナ", true),
            ("straß", "STRASSE", true),
            ("", "Ada", false),
            ("\u{2060} ", "Ada", false),
        ] {
            assert_eq!(finds_username(typed, username), is_found, "{typed} in {username}");
        }
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn every_email_and_username_is_found_by_itself(email in samples::email(), username in samples::username()) {
            prop_assert!(finds_email(email.as_str(), email.as_str()));
            prop_assert!(SearchTerm::new(username.as_str()).matches_username(&username));
        }

        #[test]
        fn prefixes_cover_every_match(typed in samples::address_text(), email in samples::email()) {
            finds_email(&typed, email.as_str());
        }
    }
}
