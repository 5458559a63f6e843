//! Answers at fixed times after a request began, so that the time of an answer does not tell how long the work took.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The distance of the ticks: longer than a commit takes, and not noticed by a person who waits for a mail.
const TICK: Duration = Duration::from_millis(250);

/// When a request began, from which the ticks are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerTicks(Instant);

impl AnswerTicks {
    pub(crate) fn from_now() -> Self {
        Self(Instant::now())
    }

    /// Does the work, then waits for the next tick: at least one, and further ones if the work takes longer.
    pub(crate) async fn after<T>(self, work: impl Future<Output = T>) -> T {
        let done = work.await;
        let mut tick = self.0 + TICK;
        while tick < Instant::now() {
            tick += TICK;
        }
        sleep_until(tick).await;
        done
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answer_waits_for_the_next_tick_whatever_the_work_takes() {
        for (work, answered) in [(0, 250), (1, 250), (249, 250), (250, 250), (251, 500), (700, 750)] {
            let ticks = AnswerTicks::from_now();
            let done = ticks.after(async {
                sleep(Duration::from_millis(work)).await;
                7
            });
            assert_eq!(done.await, 7);
            assert_eq!(ticks.0.elapsed(), Duration::from_millis(answered), "{work}");
        }
    }
}
