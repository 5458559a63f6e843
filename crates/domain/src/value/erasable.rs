//! Personal values that can be erased.

/// A personal value read from the log: known, or erased by crypto-shredding.
///
/// Erasure destroys the data key, not the events, so every fold has to handle [`Erasable::Erased`], which
/// this type enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Erasable<T> {
    /// The value can be read.
    Known(T),
    /// The data key was destroyed; the value can never be read again.
    Erased,
}

impl<T> Erasable<T> {
    /// Maps a known value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Erasable<U> {
        match self {
            Erasable::Known(value) => Erasable::Known(change(value)),
            Erasable::Erased => Erasable::Erased,
        }
    }

    /// Borrows the value.
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
