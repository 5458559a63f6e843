//! Values that belong to a person and can be erased.

/// A personal value read from the log: still known, or erased together with the key that sealed it.
///
/// Events outlive the people they speak of. Erasing a person destroys a key, not the events, so every fold
/// meets [`Personal::Erased`] sooner or later and the type makes sure that it says what then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Personal<T> {
    /// The value is there to be read.
    Known(T),
    /// The value was there and can never be read again.
    Erased,
}

impl<T> Personal<T> {
    /// Changes a known value; what is erased stays erased.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Personal<U> {
        match self {
            Personal::Known(value) => Personal::Known(change(value)),
            Personal::Erased => Personal::Erased,
        }
    }

    /// The same, borrowed.
    pub const fn as_ref(&self) -> Personal<&T> {
        match self {
            Personal::Known(value) => Personal::Known(value),
            Personal::Erased => Personal::Erased,
        }
    }

    /// The value, unless it was erased.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Personal::Known(value) => Some(value),
            Personal::Erased => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_erased_stays_erased() {
        let erased: Personal<&str> = Personal::Erased;
        assert_eq!(erased.map(str::len), Personal::Erased);
        assert_eq!(erased.known(), None);
    }

    #[test]
    fn what_is_known_can_be_changed_and_read() {
        let known = Personal::Known(String::from("ada"));
        assert_eq!(known.as_ref().map(String::len), Personal::Known(3));
        assert_eq!(known.known().map(String::as_str), Some("ada"));
    }
}
