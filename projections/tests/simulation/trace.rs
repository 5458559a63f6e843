//! The steps of a run: their digest, to compare runs, and optionally their text.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

pub(crate) struct Trace {
    began: Instant,
    verbose: bool,
    digest: AtomicU64,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { began: Instant::now(), verbose, digest: AtomicU64::new(0) }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Records a step of a process.
    pub(crate) fn step(&self, node: usize, what: &'static str, how: &'static str) {
        let passed = self.began.elapsed();
        let letters = what.bytes().chain(how.bytes()).map(u64::from);
        let numbers = [u64::try_from(passed.as_millis()).unwrap(), u64::try_from(node).unwrap()];
        let before = self.digest.load(Ordering::Relaxed);
        // FNV-1a (Fowler, Noll and Vo), over numbers as over bytes; collisions by intent are no concern.
        let after = numbers
            .into_iter()
            .chain(letters)
            .fold(before, |digest, number| (digest ^ number).wrapping_mul(0x100_0000_01b3));
        self.digest.store(after, Ordering::Relaxed);
        if self.verbose {
            println!("{:>9.3} s  node {node}  {what} {how}", passed.as_secs_f64());
        }
    }

    /// Prints a message in a verbose run.
    pub(crate) fn log(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>9.3} s  {}", self.began.elapsed().as_secs_f64(), text());
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.load(Ordering::Relaxed)
    }
}
