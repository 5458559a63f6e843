//! Progress of long-running commands, on stderr: a bar on a terminal, elsewhere a line every two seconds.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::config::RedactedStderr;

const BAR: &str = "[{bar:30}] {pos} of {len} {msg} ({percent} %), {per_sec}, {eta} left";
const LINE_INTERVAL: Duration = Duration::from_secs(2);

pub(super) struct ProgressReporter {
    /// Hidden unless stderr is a terminal.
    bar: ProgressBar,
    unit: &'static str,
    last_line: Instant,
}

impl ProgressReporter {
    /// `unit` is what is counted, such as `events`.
    pub(super) fn new(unit: &'static str) -> Self {
        let bar = ProgressBar::new(0).with_message(unit);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("#."));
        }
        Self { bar, unit, last_line: Instant::now() }
    }

    pub(super) fn update(&mut self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            // Progress that cannot be printed is no reason to stop.
            drop(writeln!(io::stderr().lock(), "{}", line(self.unit, done, total, self.bar.elapsed())));
        }
    }

    /// Prints a line without damaging the bar.
    pub(super) fn message(&self, text: &str) {
        self.bar.suspend(|| drop(RedactedStderr.write_all(format!("{text}\n").as_bytes())));
    }

    /// Clears the bar and returns the elapsed time.
    pub(super) fn finish(self) -> Duration {
        self.bar.finish_and_clear();
        self.bar.elapsed()
    }
}

pub(super) fn per_second(done: u64, elapsed: Duration) -> u128 {
    (1000 * u128::from(done)).checked_div(elapsed.as_millis()).unwrap_or(0)
}

fn line(unit: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let percent = (100 * done).checked_div(total).unwrap_or(100);
    let rate = per_second(done, elapsed);
    let left = u128::from(total.saturating_sub(done)).checked_div(rate);
    let left = left.map(|seconds| format!(", {seconds} s left")).unwrap_or_default();
    format!("{done} of {total} {unit} ({percent} %), {rate} per second{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_line_has_rate_and_remaining_time() {
        let second = Duration::from_secs(1);
        assert_eq!(line("events", 50, 200, second), "50 of 200 events (25 %), 50 per second, 3 s left");
        assert_eq!(line("events", 0, 0, Duration::ZERO), "0 of 0 events (100 %), 0 per second");
    }
}
