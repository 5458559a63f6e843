//! Checks invariants of the database after every call that may have changed it.

use std::collections::BTreeMap;

use projections::Projection;
use store::memory::Memory;
use store::{Backend, Position, ProjectionCheckpoint, ProjectionVersions, ReadModelStore, VersionStage};

use crate::coverage::Coverage;
use crate::releases::newest;

/// Positions and versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatabaseState {
    pub(crate) head: Position,
    /// By name of the read model.
    models: BTreeMap<&'static str, ReadModelState>,
}

#[derive(Clone, Debug)]
struct ReadModelState {
    name: &'static str,
    versions: ProjectionVersions,
    /// By version number.
    checkpoints: BTreeMap<u64, ProjectionCheckpoint>,
}

impl DatabaseState {
    pub(crate) async fn of(memory: &Memory) -> Self {
        let mut models = BTreeMap::new();
        for projection in newest() {
            if let Some(model) = ReadModelState::of(memory, projection).await {
                models.insert(model.name, model);
            }
        }
        Self { head: memory.head().await.unwrap().position, models }
    }

    /// The invariant violated by the transition from `before`.
    pub(crate) fn violation_since(&self, before: &Self) -> Option<String> {
        if self.head < before.head {
            return Some(format!("the head went back from {} to {}", before.head, self.head));
        }
        if let Some(name) = before.models.keys().find(|name| !self.models.contains_key(*name)) {
            return Some(format!("the versions of `{name}` are gone"));
        }
        self.models.values().find_map(|now| {
            now.violation(self.head).or_else(|| now.violation_since(before.models.get(now.name)?))
        })
    }

    /// Counts version changes since `before`.
    pub(crate) fn count_since(&self, before: &Self, coverage: &Coverage) {
        for (then, now) in self.models.iter().filter_map(|(name, now)| Some((before.models.get(name)?, now)))
        {
            let built = then.versions.building().map(|version| version.number);
            if built == Some(now.versions.live) {
                coverage.count("rebuilds done");
                if now.versions.get(now.versions.live).is_some_and(|live| live.differed == Some(false)) {
                    coverage.count("rebuilds compared");
                }
                if now.projection_version_of(now.versions.live)
                    > then.projection_version_of(then.versions.live)
                {
                    coverage.count("upgrades done");
                }
            } else if now.versions.live != then.versions.live {
                coverage.count("rollbacks done");
            }
            let gone = then.versions.kept.iter().filter(|version| now.versions.get(version.number).is_none());
            coverage.add("drops done", u64::try_from(gone.count()).unwrap());
        }
    }
}

impl ReadModelState {
    async fn of(memory: &Memory, projection: &'static dyn Projection) -> Option<Self> {
        let name = projection.name();
        let versions = memory.versions(name).await.unwrap()?;
        let mut checkpoints = BTreeMap::new();
        for version in &versions.kept {
            let checkpoint = memory.checkpoint(&projection.table(version.number)).await.unwrap();
            checkpoints.insert(version.number, checkpoint);
        }
        Some(Self { name, versions, checkpoints })
    }

    /// The invariant violated by this state alone.
    fn violation(&self, head: Position) -> Option<String> {
        let Self { name, versions, checkpoints } = self;
        if let Some(ahead) = checkpoints.values().find(|checkpoint| checkpoint.position > head) {
            return Some(format!("a checkpoint of `{name}` is {ahead:?}, beyond the head {head}"));
        }
        let numbers: Vec<_> = versions.kept.iter().map(|version| version.number).collect();
        let building = versions.kept.iter().filter(|version| version.stage == VersionStage::Building).count();
        let ready = versions.get(versions.live).is_some_and(|live| live.stage == VersionStage::Ready);
        let in_order = numbers.is_sorted_by(|one, other| one < other)
            && numbers.last().is_some_and(|highest| *highest <= versions.last);
        if !ready || building > 1 || !in_order {
            return Some(format!("the versions of `{name}` make no sense: {versions:?}"));
        }
        let differed = versions.kept.iter().find(|version| version.differed == Some(true));
        differed
            .map(|version| format!("rows of `{name}` were wrong when version {} was built", version.number))
    }

    fn violation_since(&self, before: &Self) -> Option<String> {
        let (name, now, then) = (self.name, &self.versions, &before.versions);
        if (now.revision, now.last) < (then.revision, then.last) || now.last < then.last {
            return Some(format!("the versions of `{name}` went back from {then:?} to {now:?}"));
        }
        if now.revision == then.revision && now != then {
            return Some(format!("revision {} of `{name}` is {then:?}, and {now:?}", now.revision));
        }
        let reused = now.kept.iter().find(|version| {
            version.number <= then.last
                && then.get(version.number).is_none_or(|known| known.fold != version.fold)
        });
        if let Some(version) = reused {
            return Some(format!("the number {} of `{name}` is used twice", version.number));
        }
        let dropping =
            |number: u64| now.get(number).is_none_or(|version| version.stage == VersionStage::Dropping);
        for (number, was) in before.checkpoints.iter().filter(|(number, _)| !dropping(**number)) {
            let is = self.checkpoints.get(number).copied().unwrap_or_default();
            if is < *was {
                return Some(format!(
                    "the checkpoint of version {number} of `{name}` went from {was:?} to {is:?}"
                ));
            }
        }
        if self.live() < before.live() {
            return Some(format!("readers of `{name}` saw older data: from {before:?} to {self:?}"));
        }
        None
    }

    /// The checkpoint of the live version.
    fn live(&self) -> Position {
        self.checkpoints.get(&self.versions.live).map(|live| live.position).unwrap_or_default()
    }

    fn projection_version_of(&self, number: u64) -> u32 {
        self.versions.get(number).map_or(0, |version| version.fold)
    }
}
