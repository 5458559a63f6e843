//! The policy for new passwords. Hashing does not belong in this crate.

/// Maximum length of a password in characters; bounds the input of the hash function.
pub const MAX_PASSWORD_LENGTH: usize = 1024;

/// The policy for new passwords: length alone, as NIST SP 800-63B-4 (section 3.1.1) recommends, without
/// composition rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// Minimum length in Unicode scalar values.
    pub min_length: usize,
}

/// Why a password is not accepted. The message does not contain the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It has fewer characters than the policy requires.
    #[error("a password has at least {min} characters")]
    TooShort {
        /// Minimum number of characters.
        min: usize,
    },
    /// It has more characters than any policy allows.
    #[error("a password has at most {max} characters")]
    TooLong {
        /// Maximum number of characters ([`MAX_PASSWORD_LENGTH`]).
        max: usize,
    },
}

impl Default for PasswordPolicy {
    /// Eight characters, the minimum of NIST SP 800-63B-4; it requires fifteen where the password is the only
    /// factor.
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
