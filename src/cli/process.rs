//! The process around a command: logging to stderr, signals, and limits of the system.

use std::io::{self, IsTerminal};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{LogFormat, LogSettings, RedactedStderr};

/// Starts logging. Does nothing if the process logs already.
pub fn start_logging(settings: &LogSettings) {
    // The filter was checked with the settings; if it fails nevertheless, errors must not be lost.
    let filter = EnvFilter::builder().parse(&settings.filter).unwrap_or_else(|_| EnvFilter::new("error"));
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(|| RedactedStderr).boxed(),
        // On a terminal the library decides on colours: it respects NO_COLOR.
        LogFormat::Text if io::stderr().is_terminal() => fmt::layer().with_writer(|| RedactedStderr).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(|| RedactedStderr).boxed(),
    };
    drop(tracing_subscriber::registry().with(layer.with_filter(filter)).try_init());
}

/// Forbids core dumps, which would write the keys in memory to a disk. To be called before keys are read.
/// Returns a warning, to be logged once logging has started, if the system refuses.
#[must_use]
pub fn forbid_core_dumps() -> Option<String> {
    let forbidden = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // A core dump that is piped to a program ignores the limit. This also keeps other processes of the same
    // user from reading the memory.
    #[cfg(target_os = "linux")]
    let forbidden =
        forbidden.and(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable));
    let warning = |error| format!("core dumps not forbidden ({error}): a crash may write keys to a disk");
    forbidden.err().map(warning)
}

/// Raises the limit of open files as far as the system allows. Returns the limit; `None` if there is none.
#[must_use]
pub fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if raised.is_ok() { limit.maximum } else { limit.current }
}

/// SIGINT and SIGTERM, for commands that have work to finish. SIGXFSZ is caught too: while it is, a write to
/// a file that has reached its size limit (`ulimit -f`) fails like a write to a full disk instead of killing
/// the process.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    _file_size: Signal,
}

impl Signals {
    /// From now on these signals no longer kill the process.
    ///
    /// # Errors
    /// If the system refuses to register a signal handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.interrupt.recv() => "SIGINT",
            Some(()) = self.terminate.recv() => "SIGTERM",
            else => std::future::pending().await,
        }
    }
}
