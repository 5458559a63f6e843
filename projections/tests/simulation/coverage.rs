//! Counts what the runs have exercised: a simulation that never meets a fault proves nothing about it.

use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Default)]
pub(crate) struct Coverage(Mutex<BTreeMap<&'static str, u64>>);

impl Coverage {
    pub(crate) fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&self, what: &'static str, times: u64) {
        *self.0.lock().unwrap().entry(what).or_default() += times;
    }

    /// Adds the counts of another run.
    pub(crate) fn merge(&self, other: &Self) {
        for (what, times) in &*other.0.lock().unwrap() {
            self.add(what, *times);
        }
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    /// One line for each.
    pub(crate) fn lines(&self) -> String {
        let counted = self.0.lock().unwrap();
        let lines: Vec<_> = counted.iter().map(|(what, times)| format!("{times:>10}  {what}")).collect();
        lines.join("\n")
    }
}
