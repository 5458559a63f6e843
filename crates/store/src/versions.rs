//! The versions of a read model: which is read, which are kept beside it, which is being built. Pure: each change gives
//! the versions after it, with the next revision, and the database puts them in place only if the revision before is
//! still the stored one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is known of the versions of one read model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Counts the changes, from 1.
    pub revision: u64,
    /// The number of the version that is read.
    pub live: u64,
    /// The highest number that was ever given out: none is used twice.
    pub last: u64,
    /// The newest fold of which a version was dropped: no program builds one by that fold, or an older one, unless
    /// somebody asks for it.
    #[serde(default)]
    pub declined: u32,
    /// What there is, by ascending number.
    pub kept: Vec<Version>,
}

/// One version of a read model: a table of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, the end of its table's name.
    pub number: u64,
    /// The version of the fold that makes its rows.
    pub fold: u32,
    /// What is to be done with it.
    pub stage: Stage,
    /// Who has asked for it.
    pub by: String,
    /// When.
    pub since: Timestamp,
    /// Whether its rows were others than those whose place it took. Nothing of one that took no place, or that of a
    /// version made by another fold, with which it cannot be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differed: Option<bool>,
}

/// What is to be done with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is filled, and takes the place of the live one once it is as far.
    Building,
    /// It is kept up to date, read or not.
    Ready,
    /// Its table is removed as soon as nobody reads it any more.
    Dropping,
}

/// Why versions stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionsError {
    /// Another one is being built.
    #[error("version {} is being built already, since {} by {}", .0.number, .0.since, .0.by)]
    AlreadyBuilding(Version),
    /// None is being built.
    #[error("no version is being built")]
    NotBuilding,
    /// There is no such version that could be read.
    #[error("there is no version {0} to read; {1}")]
    NotReady(u64, String),
    /// There is no earlier version to go back to.
    #[error("there is no version before the live one to go back to; {0}")]
    NothingBefore(String),
    /// It is the one that is read.
    #[error("version {0} is the one that is read: make another one live first")]
    IsLive(u64),
}

impl Versions {
    /// The first version, empty, and live at once.
    #[must_use]
    pub fn first(fold: u32, by: &str, now: Timestamp) -> Self {
        let first =
            Version { number: 1, fold, stage: Stage::Ready, by: by.to_owned(), since: now, differed: None };
        Self { revision: 1, live: 1, last: 1, declined: 0, kept: vec![first] }
    }

    /// The version of that number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Version> {
        self.kept.iter().find(|version| version.number == number)
    }

    /// The one that is being built.
    #[must_use]
    pub fn building(&self) -> Option<&Version> {
        self.kept.iter().find(|version| version.stage == Stage::Building)
    }

    /// Whether that version is read, or on the way to it.
    #[must_use]
    pub fn building_or_live(&self, number: u64) -> bool {
        number == self.live || self.building().is_some_and(|version| version.number == number)
    }

    /// Whether a table is still to be removed.
    #[must_use]
    pub fn is_dropping(&self) -> bool {
        self.kept.iter().any(|version| version.stage == Stage::Dropping)
    }

    /// Begins to build one more.
    ///
    /// # Errors
    /// [`VersionsError::AlreadyBuilding`] with the one that is being built.
    pub fn build(&self, fold: u32, by: &str, now: Timestamp) -> Result<Self, VersionsError> {
        if let Some(building) = self.building() {
            return Err(VersionsError::AlreadyBuilding(building.clone()));
        }
        let number = self.last + 1;
        let version =
            Version { number, fold, stage: Stage::Building, by: by.to_owned(), since: now, differed: None };
        let kept = self.kept.iter().cloned().chain([version]).collect();
        Ok(Self { last: number, kept, ..self.next() })
    }

    /// The one that is being built is live from here on. Its rows differed from those of before, or did not, or could not
    /// be compared.
    ///
    /// # Errors
    /// [`VersionsError::NotBuilding`].
    pub fn finish(&self, differed: Option<bool>) -> Result<Self, VersionsError> {
        let number = self.building().ok_or(VersionsError::NotBuilding)?.number;
        let mut finished = Self { live: number, ..self.staged(number, Stage::Ready) };
        for version in finished.kept.iter_mut().filter(|version| version.number == number) {
            version.differed = differed;
        }
        Ok(finished)
    }

    /// The one that is being built is dropped.
    ///
    /// # Errors
    /// [`VersionsError::NotBuilding`].
    pub fn cancel(&self) -> Result<Self, VersionsError> {
        let building = self.building().ok_or(VersionsError::NotBuilding)?;
        Ok(self.without(building))
    }

    /// Makes another version live that is kept up to date: the one named, or the highest below the live one.
    ///
    /// # Errors
    /// [`VersionsError::NothingBefore`] or [`VersionsError::NotReady`].
    pub fn roll_back(&self, to: Option<u64>) -> Result<Self, VersionsError> {
        let ready = |version: &&Version| version.stage == Stage::Ready;
        let live = match to {
            Some(number) => self
                .get(number)
                .filter(ready)
                .ok_or_else(|| VersionsError::NotReady(number, self.describe()))?,
            None => self
                .kept
                .iter()
                .filter(ready)
                .rfind(|version| version.number < self.live)
                .ok_or_else(|| VersionsError::NothingBefore(self.describe()))?,
        };
        Ok(Self { live: live.number, ..self.next() })
    }

    /// A version that nobody reads is to be dropped. One that is dropped already stays so.
    ///
    /// # Errors
    /// [`VersionsError::IsLive`] or [`VersionsError::NotReady`].
    pub fn drop(&self, number: u64) -> Result<Self, VersionsError> {
        if number == self.live {
            return Err(VersionsError::IsLive(number));
        }
        let version = self.get(number).ok_or_else(|| VersionsError::NotReady(number, self.describe()))?;
        Ok(self.without(version))
    }

    /// The table of that version is gone.
    #[must_use]
    pub fn dropped(&self, number: u64) -> Self {
        let gone = |version: &Version| version.number == number && version.stage == Stage::Dropping;
        Self { kept: self.kept.iter().filter(|version| !gone(version)).cloned().collect(), ..self.next() }
    }

    /// What there is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let one = |version: &Version| {
            let state = match version.stage {
                _ if version.number == self.live => "live",
                Stage::Building => "being built",
                Stage::Ready => "kept",
                Stage::Dropping => "being dropped",
            };
            format!("{} is {state}", version.number)
        };
        self.kept.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn without(&self, version: &Version) -> Self {
        let declined = self.declined.max(version.fold);
        Self { declined, ..self.staged(version.number, Stage::Dropping) }
    }

    fn staged(&self, number: u64, stage: Stage) -> Self {
        let staged = |version: &Version| {
            let stage = if version.number == number { stage } else { version.stage };
            Version { stage, ..version.clone() }
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

    fn first() -> Versions {
        Versions::first(1, "operator:ada", Timestamp::UNIX_EPOCH)
    }

    fn built(versions: &Versions) -> Versions {
        versions.build(1, "operator:ada", Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_version_is_built_beside_the_live_one_and_then_takes_its_place() {
        let building = built(&first());
        assert_eq!((building.live, building.building().unwrap().number), (1, 2));
        let finished = building.finish(None).unwrap();
        assert_eq!((finished.live, finished.building()), (2, None));
        assert_eq!(finished.describe(), "1 is kept, 2 is live");
        assert_eq!(finished.revision, 3, "each change counts");
    }

    #[test]
    fn a_second_build_is_refused_with_who_runs_the_first() {
        let refused = built(&first()).build(1, "operator:bob", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "version 2 is being built already, since 1970-01-01T00:00:00Z by operator:ada"
        );
    }

    #[test]
    fn one_goes_back_to_what_is_kept_and_forward_again() {
        let finished = built(&first()).finish(None).unwrap();
        let back = finished.roll_back(None).unwrap();
        assert_eq!(back.live, 1);
        assert_eq!(back.roll_back(Some(2)).unwrap().live, 2);
        assert!(matches!(back.roll_back(None), Err(VersionsError::NothingBefore(_))));
        assert!(matches!(back.roll_back(Some(9)), Err(VersionsError::NotReady(9, _))));
        let building = built(&back);
        assert!(building.roll_back(Some(3)).is_err(), "what is being built is not whole");
    }

    #[test]
    fn what_is_read_is_never_dropped_and_no_number_is_used_twice() {
        let finished = built(&first()).finish(None).unwrap();
        assert_eq!(finished.drop(2), Err(VersionsError::IsLive(2)));
        let dropping = finished.drop(1).unwrap();
        assert_eq!(dropping.roll_back(None).unwrap_err().to_string().split(';').count(), 2);
        let dropped = dropping.dropped(1);
        assert_eq!(dropped.describe(), "2 is live");
        let canceled = built(&dropped).cancel().unwrap().dropped(3);
        assert_eq!(built(&canceled).building().unwrap().number, 4);
        assert_eq!(finished.dropped(1).kept, finished.kept, "only what was marked goes");
        assert_eq!(first().cancel(), Err(VersionsError::NotBuilding));
    }
}
