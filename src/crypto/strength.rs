//! The strength of new passwords, as zxcvbn estimates it: how many guesses an attacker needs who knows common
//! passwords, words, keyboard patterns, and the user's e-mail address and username. There are no composition rules.
//! The length is the domain's (`domain::PasswordPolicy`).

use domain::{EmailAddress, Username};
use zxcvbn::feedback::Feedback;
use zxcvbn::zxcvbn;

use super::password::Password;

/// The reason if zxcvbn gives none: it explains only scores up to 2.
const TOO_FEW_GUESSES: &str = "It can be guessed. Add another word or two.";

/// A password to be set, and what an attacker would try first.
#[derive(Clone)]
pub struct NewPassword {
    pub(super) password: Password,
    personal: Vec<String>,
}

/// The password is too easy to guess.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("value is not a strong password: {reason}")]
pub struct WeakPassword {
    /// What makes it weak, and what would help; it does not quote the password.
    pub reason: String,
}

impl NewPassword {
    #[must_use]
    pub fn new(password: Password, email: &EmailAddress, username: &Username) -> Self {
        let (email, username) = (email.as_str(), username.as_str());
        let local_part = email.rsplit_once('@').map_or(email, |(local_part, _)| local_part);
        let mut personal: Vec<_> = [email, local_part, username].map(str::to_owned).into();
        for text in [local_part, username] {
            let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 1);
            let words: Vec<_> = words.map(str::to_owned).collect();
            personal.push(words.concat());
            personal.extend(words);
        }
        Self { password, personal }
    }

    /// Checks that the password has at least this score, from 0 to 4. The estimate takes time that grows with the
    /// length, of which it considers the first 100 characters.
    pub(super) fn check(&self, min_score: u8) -> Result<(), WeakPassword> {
        if min_score == 0 {
            return Ok(());
        }
        let personal: Vec<_> = self.personal.iter().map(String::as_str).collect();
        let estimate = zxcvbn(self.password.expose(), &personal);
        if u8::from(estimate.score()) >= min_score {
            return Ok(());
        }
        let reason = estimate.feedback().map_or_else(|| TOO_FEW_GUESSES.to_owned(), reason);
        Err(WeakPassword { reason })
    }
}

fn reason(feedback: &Feedback) -> String {
    let warning = feedback.warning().map(|warning| warning.to_string());
    let suggestions = feedback.suggestions().iter().map(ToString::to_string);
    let sentences: Vec<_> = warning.into_iter().chain(suggestions).collect();
    if sentences.is_empty() { TOO_FEW_GUESSES.to_owned() } else { sentences.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str, min_score: u8) -> Result<(), String> {
        let email = EmailAddress::parse("ada.lovelace@example.com").unwrap();
        let username = Username::parse("Countess Byron").unwrap();
        let password = NewPassword::new(Password::new(password.to_owned()), &email, &username);
        password.check(min_score).map_err(|weak| weak.reason)
    }

    #[test]
    fn common_passwords_are_rejected_with_a_reason() {
        for (weak, said) in [
            ("password1", "common"),
            ("qwertyuiop", "common"),
            ("P@ssw0rd1", "similar to a commonly used password"),
            ("abcdefghijk", "Sequences"),
            ("aaaaaaaaaaaa", "Repeats"),
        ] {
            let reason = check(weak, 2).unwrap_err();
            assert!(reason.contains(said), "{weak}: {reason}");
            assert!(!reason.contains(weak), "{reason}");
        }
    }

    #[test]
    fn what_is_known_of_the_user_adds_no_strength() {
        for personal in [
            "ada.lovelace@example.com",
            "ada.lovelace",
            "lovelaceada",
            "Countess Byron",
            "CountessByron1",
            "byronlovelace",
        ] {
            assert!(check(personal, 2).is_err(), "{personal}");
        }
        assert_eq!(check("ada.lovelace wrote the first program", 4), Ok(()));
    }

    #[test]
    fn strong_passwords_of_any_script_are_accepted() {
        for strong in [
            "correct horse battery staple",
            "Übergröße im Fahrradkeller",
            "пароль из четырёх слов",
            "xK7#pQ2!vN9z",
        ] {
            assert_eq!(check(strong, 4), Ok(()), "{strong}");
        }
    }

    #[test]
    fn the_least_score_is_a_setting() {
        assert_eq!(check("password1", 0), Ok(()));
        assert_eq!(check("correct horse", 2), Ok(()));
        assert!(check("correct horse", 4).is_err());
        assert!(!check("Tr0ub4dour&3", 4).unwrap_err().is_empty());
    }

    #[test]
    fn the_longest_password_is_estimated_by_its_beginning() {
        assert!(check(&"a".repeat(1024), 2).is_err());
        assert_eq!(check(&"4@8({[<369&#!1/|0$5+7%2".repeat(40), 4), Ok(()));
    }
}
