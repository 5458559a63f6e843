//! What the process logs, to stderr: stdout is for what a command was asked for.

use std::io::{self, IsTerminal};

use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{LogFormat, LogSettings};

/// Starts to log. Does nothing if the process logs already.
pub fn start(settings: &LogSettings) {
    // The filter was checked with the settings; should it fail all the same, errors are what must not be missed.
    let filter = EnvFilter::builder().parse(&settings.filter).unwrap_or_else(|_| EnvFilter::new("error"));
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
        // On a terminal the library decides on colours: it knows NO_COLOR.
        LogFormat::Text if io::stderr().is_terminal() => fmt::layer().with_writer(io::stderr).boxed(),
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(io::stderr).boxed(),
    };
    drop(tracing_subscriber::registry().with(layer.with_filter(filter)).try_init());
}
