//! Values that belong to a person and can be erased.

/// A personal value read from the log: still known, or erased together with the key that sealed it.
///
/// Events outlive the people they speak of. Erasing a person destroys a key, not the events, so every fold
/// meets [`Erasable::Erased`] sooner or later and the type makes sure that it says what then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Erasable<T> {
    /// The value is there to be read.
    Known(T),
    /// The value was there and can never be read again.
    Erased,
}

impl<T> Erasable<T> {
    /// Changes a known value; what is erased stays erased.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Erasable<U> {
        match self {
            Erasable::Known(value) => Erasable::Known(change(value)),
            Erasable::Erased => Erasable::Erased,
        }
    }

    /// The same, borrowed.
    pub const fn as_ref(&self) -> Erasable<&T> {
        match self {
            Erasable::Known(value) => Erasable::Known(value),
            Erasable::Erased => Erasable::Erased,
        }
    }

    /// The value, unless it was erased.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Erasable::Known(value) => Some(value),
            Erasable::Erased => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_keeps_erased_values_erased() {
        let erased: Erasable<&str> = Erasable::Erased;
        assert_eq!(erased.map(str::len), Erasable::Erased);
        assert_eq!(erased.known(), None);
    }

    #[test]
    fn map_changes_known_values() {
        let known = Erasable::Known(String::from("ada"));
        assert_eq!(known.as_ref().map(String::len), Erasable::Known(3));
        assert_eq!(known.known().map(String::as_str), Some("ada"));
    }
}
