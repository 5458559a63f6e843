//! Progress of long work, on stderr: a bar on a terminal, now and then a line elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const BAR_WIDTH: u64 = 30;
const BAR_PACE: Duration = Duration::from_millis(100);
const LINE_PACE: Duration = Duration::from_secs(2);

/// How far a piece of work is.
pub(super) struct ProgressReporter {
    what: &'static str,
    begun: Instant,
    shown: Instant,
    terminal: bool,
    drawn: bool,
}

impl ProgressReporter {
    /// Work on things called `what`, such as `events`.
    pub(super) fn new(what: &'static str) -> Self {
        let now = Instant::now();
        Self { what, begun: now, shown: now, terminal: io::stderr().is_terminal(), drawn: false }
    }

    /// So many are done by now, of so many.
    pub(super) fn update(&mut self, done: u64, all: u64) {
        let pace = if self.terminal { BAR_PACE } else { LINE_PACE };
        if self.shown.elapsed() < pace {
            return;
        }
        self.shown = Instant::now();
        let text = line(self.what, done, all, self.begun.elapsed());
        let mut stderr = io::stderr().lock();
        // Progress that cannot be shown is no reason to stop.
        drop(if self.terminal {
            self.drawn = true;
            write!(stderr, "\r\x1b[K{} {text}", bar(done, all)).and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{text}")
        });
    }

    /// Clears the bar; gives how long it took.
    pub(super) fn finish(self) -> Duration {
        if self.drawn {
            drop(write!(io::stderr().lock(), "\r\x1b[K"));
        }
        self.begun.elapsed()
    }
}

/// How many that are a second.
pub(super) fn per_second(done: u64, elapsed: Duration) -> u128 {
    (1000 * u128::from(done)).checked_div(elapsed.as_millis()).unwrap_or(0)
}

fn bar(done: u64, all: u64) -> String {
    let filled = (BAR_WIDTH * done.min(all)).checked_div(all).unwrap_or(BAR_WIDTH);
    let cells = |count: u64, cell: &str| cell.repeat(usize::try_from(count).unwrap_or(0));
    format!("[{}{}]", cells(filled, "#"), cells(BAR_WIDTH - filled, "."))
}

fn line(what: &str, done: u64, all: u64, elapsed: Duration) -> String {
    let percent = (100 * done).checked_div(all).unwrap_or(100);
    let rate = per_second(done, elapsed);
    let left = u128::from(all.saturating_sub(done)).checked_div(rate);
    let left = left.map(|seconds| format!(", {seconds} s left")).unwrap_or_default();
    format!("{done} of {all} {what} ({percent} %), {rate} per second{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_line_has_rate_and_remaining_time() {
        let second = Duration::from_secs(1);
        assert_eq!(line("events", 50, 200, second), "50 of 200 events (25 %), 50 per second, 3 s left");
        assert_eq!(line("events", 0, 0, Duration::ZERO), "0 of 0 events (100 %), 0 per second");
        assert_eq!(bar(1, 3), "[##########....................]");
        assert_eq!(bar(0, 0), bar(7, 7));
    }
}
