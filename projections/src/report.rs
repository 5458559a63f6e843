//! Status of a projection: the report of the leader, stored in its lease for all nodes to read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use store::Lease;

/// The name of the lease under which all projections are maintained.
pub const LEASE: &str = "projections";

/// The report of the leader: each projection, by name.
pub type ProjectionReports = BTreeMap<String, ProjectionReport>;

/// The report of the leader about one projection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectionReport {
    /// Each maintained version, by number.
    pub versions: BTreeMap<u64, VersionReport>,
}

/// Status of one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    /// The health of its projector.
    pub health: VersionHealth,
    /// The position of the projection checkpoint.
    pub position: u64,
    /// Events per second, over the last seconds.
    pub rate: u64,
}

/// Whether a version is being maintained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "error", rename_all = "snake_case")]
pub enum VersionHealth {
    /// It is current, or catching up.
    #[default]
    Running,
    /// The database fails; the projector retries.
    Failing(String),
    /// A poison event halts it until an operator decides.
    Halted(String),
    /// This release does not have its projection code.
    Unknown(String),
}

impl VersionHealth {
    /// The names of all states.
    pub const NAMES: [&str; 4] = ["running", "failing", "halted", "unknown"];

    /// The name of the state.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failing(_) => "failing",
            Self::Halted(_) => "halted",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The error, if it does not run.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Running => None,
            Self::Failing(error) | Self::Halted(error) | Self::Unknown(error) => Some(error),
        }
    }
}

/// The reports in a lease; none if this release cannot read them.
#[must_use]
pub fn parse_reports(lease: &Lease) -> ProjectionReports {
    serde_json::from_value(lease.report.clone()).unwrap_or_default()
}
