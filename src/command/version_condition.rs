//! A condition on the version of the aggregate that a command changes: optimistic concurrency for clients, as the
//! preconditions of RFC 9110 §13.1 express it.

/// A set of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    Any,
    OneOf(Vec<u64>),
}

impl Versions {
    fn contain(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

/// The condition under which a command is executed; by default there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionCondition {
    /// The current version must be one of these (`If-Match`).
    pub one_of: Option<Versions>,
    /// The current version must be none of these (`If-None-Match`).
    pub none_of: Option<Versions>,
}

impl VersionCondition {
    /// Whether an aggregate at that version may be changed.
    #[must_use]
    pub fn permits(&self, version: u64) -> bool {
        self.one_of.as_ref().is_none_or(|versions| versions.contain(version))
            && !self.none_of.as_ref().is_some_and(|versions| versions.contain(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_and_excluded_versions_are_compared() {
        let (one_of, none_of) =
            (|versions| Some(Versions::OneOf(versions)), |versions| Some(Versions::OneOf(versions)));
        for (condition, permitted) in [
            (VersionCondition::default(), true),
            (VersionCondition { one_of: one_of(vec![6, 7]), none_of: None }, true),
            (VersionCondition { one_of: one_of(vec![6]), none_of: None }, false),
            (VersionCondition { one_of: one_of(Vec::new()), none_of: None }, false),
            (VersionCondition { one_of: Some(Versions::Any), none_of: none_of(vec![6]) }, true),
            (VersionCondition { one_of: one_of(vec![7]), none_of: none_of(vec![7]) }, false),
            (VersionCondition { one_of: None, none_of: Some(Versions::Any) }, false),
        ] {
            assert_eq!(condition.permits(7), permitted, "{condition:?}");
        }
    }
}
