//! Why a request to a webhook endpoint got no answer.

/// Why there is no answer. The texts are stored with the attempt and shown by the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// DNS resolution failed.
    #[error("the host does not resolve to any address")]
    Unresolved,
    /// The egress policy forbids an address of the host.
    #[error("the host resolves to an address that webhooks may not reach")]
    Forbidden,
    /// Only https is permitted for this address.
    #[error("https is required")]
    Unencrypted,
    #[error("no connection: refused, unreachable, or its certificate is not trusted")]
    Unreachable,
    #[error("no answer within 15 s")]
    Timeout,
    #[error("the connection broke off before the answer was complete")]
    ConnectionLost,
    /// This node cannot send at all.
    #[error("this node cannot send: it finds no certificates to trust")]
    NoRootCertificates,
    #[error("this node is resolving too many host names that do not answer")]
    TooManyLookups,
}

impl SendError {
    /// Whether the egress policy forbids the address, which settings can permit.
    pub(crate) const fn is_forbidden(self) -> bool {
        matches!(self, Self::Forbidden | Self::Unencrypted)
    }

    /// Whether the failure is one of this node: nothing was tried.
    pub(super) const fn is_local(self) -> bool {
        matches!(self, Self::NoRootCertificates | Self::TooManyLookups)
    }
}
