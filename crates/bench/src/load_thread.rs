//! Runs a load generator, or receivers of what is measured, in one thread of its own, so that its share of the CPU is
//! known. A measurement is void if that is more than half: it would show the generator, not the subject.

use std::future::Future;
use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::error::BenchError;

/// The largest share of all cores.
const MAX_SHARE: f64 = 0.5;
/// Above this share of its own core, the thread would limit what is measured.
const MAX_BUSY: f64 = 0.97;
/// In a shorter time, opening connections keeps it busy.
const LEAST_JUDGED: Duration = Duration::from_millis(200);

/// Runs the load in a thread of its own. [`BenchError::Void`] if that took too much of the CPU.
pub(crate) async fn run<T, F>(load: impl FnOnce() -> F + Send + 'static) -> Result<T, BenchError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, BenchError>>,
{
    let (done, result) = oneshot::channel();
    let generator = thread::Builder::new().name("load".to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(BenchError::io("starting the load generator"));
        let measured = runtime.and_then(|runtime| {
            let usage = CpuUsage::start();
            let measured = runtime.block_on(load())?;
            usage.check()?;
            Ok(measured)
        });
        // The receiver is gone if the benchmark was interrupted.
        let _sent = done.send(measured);
    });
    drop(generator.map_err(BenchError::io("starting the load generator"))?);
    result.await.map_err(BenchError::invalid)?
}

/// The CPU time of this thread since some instant.
pub(crate) struct CpuUsage {
    begun: Instant,
    thread_time: Duration,
}

impl CpuUsage {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), thread_time: thread_time() }
    }

    /// [`BenchError::Void`] if this thread took too much of the CPU since the start.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        check_share(self.begun.elapsed(), thread_time().saturating_sub(self.thread_time))
    }
}

fn check_share(elapsed: Duration, busy: Duration) -> Result<(), BenchError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let cores = f64::from(u32::try_from(cores).unwrap_or(u32::MAX));
    let busy = busy.as_secs_f64() / elapsed.as_secs_f64();
    if elapsed > LEAST_JUDGED && (busy > MAX_BUSY || busy / cores > MAX_SHARE) {
        return Err(BenchError::Void { core: busy * 100.0, machine: busy / cores * 100.0 });
    }
    Ok(())
}

/// How long this thread has run.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_load_generator_voids_the_measurement() {
        let second = Duration::from_secs(1);
        assert!(check_share(second, Duration::from_millis(100)).is_ok());
        assert!(check_share(second, Duration::from_millis(980)).is_err());
        assert!(check_share(Duration::from_millis(100), Duration::from_millis(100)).is_ok());
    }
}
