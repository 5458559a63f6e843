//! The steps of a run: a digest of them always, so that two runs can be told apart, and their text for who follows one.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

pub(crate) struct Trace {
    began: Instant,
    shown: bool,
    digest: AtomicU64,
}

impl Trace {
    pub(crate) fn new(shown: bool) -> Self {
        Self { began: Instant::now(), shown, digest: AtomicU64::new(0) }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Takes down a step; its text only if somebody reads it.
    pub(crate) fn step(&self, mark: u64, text: impl FnOnce() -> String) {
        let passed = self.began.elapsed();
        let millis = u64::try_from(passed.as_millis()).unwrap();
        let before = self.digest.load(Ordering::Relaxed);
        // FNV's prime, which moves every bit in the end; nobody tries to deceive it.
        let digest =
            [millis, mark].iter().fold(before, |digest, word| (digest ^ word).wrapping_mul(0x100_0000_01b3));
        self.digest.store(digest.rotate_left(23), Ordering::Relaxed);
        if self.shown {
            println!("{:>9.3} s  {}", passed.as_secs_f64(), text());
        }
    }

    pub(crate) fn say(&self, text: &impl Display) {
        if self.shown {
            println!("{:>9.3} s  {text}", self.began.elapsed().as_secs_f64());
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.load(Ordering::Relaxed)
    }
}
