//! What a command prints to stdout: lines for people or JSON objects for programs. Messages go to stderr.

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::error::CliResult;

/// The output of a command. Its methods fail with [`super::error::CliError::OutputClosed`] if the reader of a pipe has
/// exited.
pub(super) struct Output(Box<dyn Write + Send>);

impl Output {
    pub(super) fn stdout() -> Self {
        Self::new(BufWriter::new(io::stdout()))
    }

    pub(super) fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Box::new(writer))
    }

    pub(super) fn line(&mut self, text: &str) -> CliResult {
        Ok(writeln!(self.0, "{text}")?)
    }

    pub(super) fn text(&mut self, text: &str) -> CliResult {
        Ok(write!(self.0, "{text}")?)
    }

    /// Prints a JSON object on one line.
    pub(super) fn json(&mut self, object: &impl Serialize) -> CliResult {
        let text = serde_json::to_string(object)?;
        self.line(&text)
    }

    pub(super) fn clear_screen(&mut self) -> CliResult {
        Ok(write!(self.0, "\x1b[H\x1b[2J")?)
    }

    pub(super) fn flush(&mut self) -> CliResult {
        Ok(self.0.flush()?)
    }
}

/// Whether the reader of a pipe behind stdout has exited. A command that waits for events would otherwise
/// notice only when it prints the next one.
pub(super) fn is_stdout_closed() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
    poll(&mut polled, Some(&Timespec::default())).is_ok()
        && polled.iter().any(|stdout| stdout.revents().contains(PollFlags::ERR))
}
