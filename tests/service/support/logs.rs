//! Captures the log output of all services of this process, down to level `debug`.

use std::io::{self, Write};
use std::sync::{Mutex, Once};

use tracing_subscriber::EnvFilter;

static CAPTURED: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static STARTED: Once = Once::new();

/// Starts capturing.
pub(crate) fn capture() {
    STARTED.call_once(|| {
        let filter = EnvFilter::new("debug,hyper=info,mongodb=info,h2=info,reqwest=info");
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| LogCapture).init();
    });
}

/// Everything logged so far.
pub(crate) fn captured_logs() -> String {
    String::from_utf8_lossy(&CAPTURED.lock().unwrap()).into_owned()
}

struct LogCapture;

impl Write for LogCapture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        CAPTURED.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
