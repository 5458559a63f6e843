//! Looks at the database after every call that may have moved something, and says what must never be seen there.

use projections::USERS;
use store::memory::Memory;
use store::{Backend, Checkpoint, Pair, Position, ReadModels};

use crate::things::THINGS;

/// The read models of a run.
pub(crate) static PAIRS: [&Pair; 2] = [&USERS, &THINGS];

/// How far everything is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stand {
    pub(crate) head: Position,
    /// Of each of [`PAIRS`].
    pairs: Vec<PairStand>,
}

#[derive(Clone, Debug)]
struct PairStand {
    pair: &'static Pair,
    switches: u64,
    checkpoints: [Checkpoint; 2],
}

impl Stand {
    pub(crate) async fn of(memory: &Memory) -> Self {
        let mut pairs = Vec::new();
        for pair in PAIRS {
            let [first, second] = pair.tables;
            let checkpoint = async |table| memory.checkpoint(table).await.unwrap();
            let checkpoints = [checkpoint(first).await, checkpoint(second).await];
            pairs.push(PairStand { pair, switches: memory.switches(pair).await.unwrap(), checkpoints });
        }
        Self { head: memory.head().await.unwrap().position, pairs }
    }

    /// What must not follow from `before`.
    pub(crate) fn fault_after(&self, before: &Self) -> Option<String> {
        if self.head < before.head {
            return Some(format!("the head went back from {} to {}", before.head, self.head));
        }
        let ahead = self.pairs.iter().find_map(|pair| pair.fault(self.head));
        ahead.or_else(|| self.pairs.iter().zip(&before.pairs).find_map(|(now, then)| now.fault_after(then)))
    }
}

impl PairStand {
    fn fault(&self, head: Position) -> Option<String> {
        let ahead = self.checkpoints.iter().find(|checkpoint| checkpoint.position > head);
        ahead.map(|checkpoint| {
            format!("a checkpoint of `{}` is {checkpoint:?}, beyond the head {head}", self.pair.name)
        })
    }

    fn fault_after(&self, before: &Self) -> Option<String> {
        let name = self.pair.name;
        let back = self.checkpoints.iter().zip(&before.checkpoints).find(|(now, then)| now < then);
        if let Some((now, then)) = back {
            return Some(format!("a checkpoint of `{name}` went back from {then:?} to {now:?}"));
        }
        if self.switches < before.switches || self.live() < before.live() {
            return Some(format!("the live table of `{name}` went back from {before:?} to {self:?}"));
        }
        None
    }

    fn live(&self) -> Position {
        let [first, second] = self.checkpoints;
        if self.pair.live(self.switches) == self.pair.tables[0] { first.position } else { second.position }
    }
}
