//! Roles: permissions beyond a user's own account.

use std::fmt;
use std::str::FromStr;

/// A role of users and API tokens. The order is alphabetical and has no other meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// All permissions.
    Admin,
    /// Reads events, proofs, history and personal data.
    Auditor,
    /// Runs projections and reads metrics.
    Operator,
    /// Introspects tokens.
    Service,
    /// Follows the event feed and owns webhooks.
    Subscriber,
}

/// The text is not the name of a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no role `{0}`: the roles are admin, auditor, operator, service and subscriber")]
pub struct UnknownRole(pub String);

impl Role {
    /// Every role, in order.
    pub const ALL: [Role; 5] = [Role::Admin, Role::Auditor, Role::Operator, Role::Service, Role::Subscriber];

    /// The name in events, in the API and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Auditor => "auditor",
            Role::Operator => "operator",
            Role::Service => "service",
            Role::Subscriber => "subscriber",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == name).ok_or_else(|| UnknownRole(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
    }

    #[test]
    fn names_are_exact() {
        for name in ["Admin", "admin ", "root", ""] {
            assert_eq!(name.parse::<Role>(), Err(UnknownRole(name.to_owned())));
        }
    }

    #[test]
    fn the_order_is_alphabetical() {
        assert!(Role::ALL.is_sorted());
        assert!(Role::ALL.is_sorted_by_key(|role| role.as_str()));
    }
}
