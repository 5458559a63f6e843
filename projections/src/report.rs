//! How a projection is doing: what the node that keeps it wait_for_status, in its lease, for all others to
//! read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::Lease;

use crate::projection::Projection;

/// What the node that keeps a projection says of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectionReport {
    /// Each version that it keeps, by its number.
    pub versions: BTreeMap<u64, VersionReport>,
}

/// How one version is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    /// Whether it is at work.
    pub health: VersionHealth,
    /// The last position that is in the rows.
    pub position: u64,
    /// Events a second, lately.
    pub rate: u64,
    /// When the oldest event happened that is read and not in the rows; nothing if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
}

/// Whether a version is kept up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "error", rename_all = "snake_case")]
pub enum VersionHealth {
    /// It is, or waits for something to do.
    #[default]
    Running,
    /// The database does not answer; it is tried again.
    Failing(String),
    /// It met an event that it cannot take in, and waits for a decision.
    Halted(String),
    /// Its fold is not in this program.
    Unknown(String),
}

impl VersionHealth {
    /// The names of all.
    pub const NAMES: [&str; 4] = ["running", "failing", "halted", "unknown"];

    /// Its name, for people and programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failing(_) => "failing",
            Self::Halted(_) => "halted",
            Self::Unknown(_) => "unknown",
        }
    }

    /// What is wrong.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Running => None,
            Self::Failing(error) | Self::Halted(error) | Self::Unknown(error) => Some(error),
        }
    }
}

/// The name of the lease under which a projection is maintained.
#[must_use]
pub fn lease_name(projection: &dyn Projection) -> String {
    format!("projection/{}", projection.name())
}

/// The report in a lease; the default if this release cannot read it.
#[must_use]
pub fn parse_report(lease: &Lease) -> ProjectionReport {
    serde_json::from_value(lease.report.clone()).unwrap_or_default()
}
