//! What was measured with one number of users on one store.

use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use crate::scratch::StoreKind;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(super) store: StoreKind,
    pub(super) users: u64,
    pub(super) figures: Figures,
    #[serde(flatten)]
    pub(super) conditions: Conditions,
}

impl Point {
    pub(super) fn users_as_f64(&self) -> f64 {
        f64::from(u32::try_from(self.users).unwrap_or(u32::MAX))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(super) users_me_per_second: f64,
    pub(super) users_me_p99_ms: f64,
    pub(super) logins_per_second: f64,
    pub(super) sign_ups_per_second: f64,
    pub(super) imported_per_second: f64,
    pub(super) rebuilt_rows_per_second: f64,
    pub(super) start_up_ms: f64,
    pub(super) resident_mb: f64,
    pub(super) disk_bytes_per_user: f64,
}
