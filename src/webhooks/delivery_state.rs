//! What deliveries to a webhook do, as shown by the API, the command line and the metrics.

/// What deliveries to a webhook do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DeliveryState {
    /// Events are delivered as they are appended.
    #[default]
    Active,
    /// A read model is behind: deliveries continue once it includes the webhook, or its owner.
    Waiting,
    /// An event could not be delivered and is retried.
    Failing,
    /// Nothing is delivered until the webhook is resumed.
    Suspended,
    /// The cursor is beyond the end of the log, which was restored from an older backup.
    AheadOfLog,
    /// Its definition or its cursor is damaged, or cannot be decrypted by this node.
    Unreadable,
}

impl DeliveryState {
    pub(crate) const ALL: [Self; 6] =
        [Self::Active, Self::Waiting, Self::Failing, Self::Suspended, Self::AheadOfLog, Self::Unreadable];

    /// The name in the API, on the command line and in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Failing => "failing",
            Self::Suspended => "suspended",
            Self::AheadOfLog => "ahead_of_log",
            Self::Unreadable => "unreadable",
        }
    }
}
