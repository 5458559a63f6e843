//! What a new password must be. How it is hashed is no concern of this crate.

/// Most characters a password may have: far beyond any passphrase, and a bound on what a hasher is fed.
pub const MAX_PASSWORD_LENGTH: usize = 1024;

/// The rule for new passwords: length alone, as NIST SP 800-63B-4 (section 3.1.1) advises, and no composition
/// rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Fewest characters, in Unicode scalar values.
    pub min_length: usize,
}

/// Why a password is not accepted. Says nothing of the password itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It has fewer characters than the policy asks for.
    #[error("a password has at least {min} characters")]
    TooShort {
        /// Fewest characters.
        min: usize,
    },
    /// It has more characters than any policy allows.
    #[error("a password has at most {max} characters")]
    TooLong {
        /// Most characters ([`MAX_PASSWORD_LENGTH`]).
        max: usize,
    },
}

impl Default for PasswordPolicy {
    /// Eight characters, the least that NIST SP 800-63B-4 allows; it asks for fifteen where the password is
    /// the sole factor.
    fn default() -> Self {
        Self { min_length: 8 }
    }
}

impl PasswordPolicy {
    /// Checks the length of a new password, counted in Unicode characters and neither trimmed nor normalised.
    ///
    /// # Errors
    /// [`PasswordError`] if it is too short or too long.
    pub fn check(&self, password: &str) -> Result<(), PasswordError> {
        let length = password.chars().count();
        if length < self.min_length {
            return Err(PasswordError::TooShort { min: self.min_length });
        }
        if length > MAX_PASSWORD_LENGTH {
            return Err(PasswordError::TooLong { max: MAX_PASSWORD_LENGTH });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters_not_bytes() {
        let policy = PasswordPolicy::default();
        assert_eq!(policy.check("ééééééé"), Err(PasswordError::TooShort { min: 8 }));
        assert_eq!(policy.check("éééééééé"), Ok(()));
    }

    #[test]
    fn spaces_count_like_any_other_character() {
        assert_eq!(PasswordPolicy::default().check("        "), Ok(()));
    }

    #[test]
    fn the_longest_password_has_1024_characters() {
        let policy = PasswordPolicy::default();
        assert_eq!(policy.check(&"é".repeat(1024)), Ok(()));
        assert_eq!(policy.check(&"é".repeat(1025)), Err(PasswordError::TooLong { max: 1024 }));
    }

    #[test]
    fn policy_of_one_character_rejects_only_empty_passwords() {
        let policy = PasswordPolicy { min_length: 1 };
        assert_eq!(policy.check("x"), Ok(()));
        assert_eq!(policy.check(""), Err(PasswordError::TooShort { min: 1 }));
    }
}
