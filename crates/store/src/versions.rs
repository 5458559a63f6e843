//! The versions of a read model: the live one, those kept beside it, and the one being built.
//!
//! Pure: each change returns the new versions with the next revision. Storing them by compare-and-set on the
//! revision belongs in [`ReadModelStore`](crate::rows::ReadModelStore).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The versions of one read model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionVersions {
    /// The number of changes, from 1, by which compare-and-set detects a conflict.
    pub revision: u64,
    /// The number of the live version, from which queries read.
    pub live: u64,
    /// The highest number ever assigned: numbers are never reused.
    pub last: u64,
    /// The newest projection version (fold) of which a version was dropped: none up to this one is built
    /// automatically.
    #[serde(default)]
    pub declined: u32,
    /// The existing versions by ascending number.
    pub kept: Vec<ProjectionVersion>,
}

/// One version of a read model, with its own table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionVersion {
    /// The number, with which the name of the table ends.
    pub number: u64,
    /// The version of the projection code (fold) that computes its rows.
    pub fold: u32,
    /// Its stage.
    pub stage: VersionStage,
    /// The actor that requested it.
    pub by: String,
    /// The time of the request.
    pub since: Timestamp,
    /// Whether its rows differed from those of the version that it replaced at the cutover. `None` if it
    /// replaced none, or one of another fold, with which it cannot be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differed: Option<bool>,
}

/// The stage of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStage {
    /// It is being filled, and becomes live at the cutover, once it has caught up.
    Building,
    /// It is kept up to date, live or not.
    Ready,
    /// Its table is removed once no node reads it.
    Dropping,
}

/// Why a change of versions is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Another version is being built.
    #[error("version {} is being built already, since {} by {}", .0.number, .0.since, .0.by)]
    AlreadyBuilding(ProjectionVersion),
    /// No version is being built.
    #[error("no version is being built")]
    NotBuilding,
    /// The version does not exist or is not ready.
    #[error("there is no version {0} to read; {1}")]
    NotReady(u64, String),
    /// No ready version precedes the live one.
    #[error("there is no version before the live one to go back to; {0}")]
    NothingBefore(String),
    /// The version is live.
    #[error("version {0} is the one that is read: make another one live first")]
    IsLive(u64),
}

impl ProjectionVersions {
    /// The first version: empty and live at once.
    #[must_use]
    pub fn first(fold: u32, by: &str, now: Timestamp) -> Self {
        let first = ProjectionVersion {
            number: 1,
            fold,
            stage: VersionStage::Ready,
            by: by.to_owned(),
            since: now,
            differed: None,
        };
        Self { revision: 1, live: 1, last: 1, declined: 0, kept: vec![first] }
    }

    /// The version with that number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&ProjectionVersion> {
        self.kept.iter().find(|version| version.number == number)
    }

    /// The version that is being built.
    #[must_use]
    pub fn building(&self) -> Option<&ProjectionVersion> {
        self.kept.iter().find(|version| version.stage == VersionStage::Building)
    }

    /// Whether the version is live or being built.
    #[must_use]
    pub fn is_building_or_live(&self, number: u64) -> bool {
        number == self.live || self.building().is_some_and(|version| version.number == number)
    }

    /// Whether a table has yet to be removed.
    #[must_use]
    pub fn is_dropping(&self) -> bool {
        self.kept.iter().any(|version| version.stage == VersionStage::Dropping)
    }

    /// Starts building another version.
    ///
    /// # Errors
    /// [`VersionError::AlreadyBuilding`] with the version that is being built.
    pub fn build(&self, fold: u32, by: &str, now: Timestamp) -> Result<Self, VersionError> {
        if let Some(building) = self.building() {
            return Err(VersionError::AlreadyBuilding(building.clone()));
        }
        let number = self.last + 1;
        let version = ProjectionVersion {
            number,
            fold,
            stage: VersionStage::Building,
            by: by.to_owned(),
            since: now,
            differed: None,
        };
        let kept = self.kept.iter().cloned().chain([version]).collect();
        Ok(Self { last: number, kept, ..self.next() })
    }

    /// Makes the version that was being built live (cutover). `differed` is recorded in it.
    ///
    /// # Errors
    /// [`VersionError::NotBuilding`].
    pub fn promote(&self, differed: Option<bool>) -> Result<Self, VersionError> {
        let number = self.building().ok_or(VersionError::NotBuilding)?.number;
        let mut promoted = Self { live: number, ..self.staged(number, VersionStage::Ready) };
        for version in promoted.kept.iter_mut().filter(|version| version.number == number) {
            version.differed = differed;
        }
        Ok(promoted)
    }

    /// Drops the version that is being built.
    ///
    /// # Errors
    /// [`VersionError::NotBuilding`].
    pub fn cancel(&self) -> Result<Self, VersionError> {
        let building = self.building().ok_or(VersionError::NotBuilding)?;
        Ok(self.without(building))
    }

    /// Makes another ready version live: the given one, or else the highest below the live one.
    ///
    /// # Errors
    /// [`VersionError::NothingBefore`] or [`VersionError::NotReady`].
    pub fn roll_back(&self, to: Option<u64>) -> Result<Self, VersionError> {
        let ready = |version: &&ProjectionVersion| version.stage == VersionStage::Ready;
        let live = match to {
            Some(number) => self
                .get(number)
                .filter(ready)
                .ok_or_else(|| VersionError::NotReady(number, self.describe()))?,
            None => self
                .kept
                .iter()
                .filter(ready)
                .rfind(|version| version.number < self.live)
                .ok_or_else(|| VersionError::NothingBefore(self.describe()))?,
        };
        Ok(Self { live: live.number, ..self.next() })
    }

    /// Marks a version that is not live for dropping. Idempotent.
    ///
    /// # Errors
    /// [`VersionError::IsLive`] or [`VersionError::NotReady`].
    pub fn drop(&self, number: u64) -> Result<Self, VersionError> {
        if number == self.live {
            return Err(VersionError::IsLive(number));
        }
        let version = self.get(number).ok_or_else(|| VersionError::NotReady(number, self.describe()))?;
        Ok(self.without(version))
    }

    /// Forgets a dropped version after its table was removed.
    #[must_use]
    pub fn dropped(&self, number: u64) -> Self {
        let is_dropped =
            |version: &ProjectionVersion| version.number == number && version.stage == VersionStage::Dropping;
        Self {
            kept: self.kept.iter().filter(|version| !is_dropped(version)).cloned().collect(),
            ..self.next()
        }
    }

    /// Describes the versions for error messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let one = |version: &ProjectionVersion| {
            let state = match version.stage {
                _ if version.number == self.live => "live",
                VersionStage::Building => "being built",
                VersionStage::Ready => "kept",
                VersionStage::Dropping => "being dropped",
            };
            format!("{} is {state}", version.number)
        };
        self.kept.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn without(&self, version: &ProjectionVersion) -> Self {
        let declined = self.declined.max(version.fold);
        Self { declined, ..self.staged(version.number, VersionStage::Dropping) }
    }

    fn staged(&self, number: u64, stage: VersionStage) -> Self {
        let staged = |version: &ProjectionVersion| {
            let stage = if version.number == number { stage } else { version.stage };
            ProjectionVersion { stage, ..version.clone() }
        };
        Self { kept: self.kept.iter().map(staged).collect(), ..self.next() }
    }

    fn next(&self) -> Self {
        Self { revision: self.revision + 1, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> ProjectionVersions {
        ProjectionVersions::first(1, "operator:ada", Timestamp::UNIX_EPOCH)
    }

    fn built(versions: &ProjectionVersions) -> ProjectionVersions {
        versions.build(1, "operator:ada", Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn built_version_is_promoted_to_live() {
        let building = built(&first());
        assert_eq!((building.live, building.building().unwrap().number), (1, 2));
        let promoted = building.promote(None).unwrap();
        assert_eq!((promoted.live, promoted.building()), (2, None));
        assert_eq!(promoted.describe(), "1 is kept, 2 is live");
        assert_eq!(promoted.revision, 3, "each change increases the revision");
    }

    #[test]
    fn second_build_is_rejected_naming_the_running_one() {
        let refused = built(&first()).build(1, "operator:bob", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "version 2 is being built already, since 1970-01-01T00:00:00Z by operator:ada"
        );
    }

    #[test]
    fn roll_back_and_forward_between_ready_versions() {
        let promoted = built(&first()).promote(None).unwrap();
        let back = promoted.roll_back(None).unwrap();
        assert_eq!(back.live, 1);
        assert_eq!(back.roll_back(Some(2)).unwrap().live, 2);
        assert!(matches!(back.roll_back(None), Err(VersionError::NothingBefore(_))));
        assert!(matches!(back.roll_back(Some(9)), Err(VersionError::NotReady(9, _))));
        let building = built(&back);
        assert!(building.roll_back(Some(3)).is_err(), "a version that is being built is incomplete");
    }

    #[test]
    fn live_version_is_never_dropped_and_numbers_are_never_reused() {
        let promoted = built(&first()).promote(None).unwrap();
        assert_eq!(promoted.drop(2), Err(VersionError::IsLive(2)));
        let dropping = promoted.drop(1).unwrap();
        assert_eq!(dropping.roll_back(None).unwrap_err().to_string().split(';').count(), 2);
        let dropped = dropping.dropped(1);
        assert_eq!(dropped.describe(), "2 is live");
        let canceled = built(&dropped).cancel().unwrap().dropped(3);
        assert_eq!(built(&canceled).building().unwrap().number, 4);
        assert_eq!(
            promoted.dropped(1).kept,
            promoted.kept,
            "only a version that is marked for dropping is removed"
        );
        assert_eq!(first().cancel(), Err(VersionError::NotBuilding));
    }
}
