//! The process around a command: logging to stderr, and signals.

use std::io::{self, IsTerminal};

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
