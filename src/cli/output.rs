//! What a command prints: lines for people or JSON objects for programs, on stdout. Messages about the work itself go
//! to stderr.

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::error::CliError;

/// Where a command prints to.
pub struct Output(Box<dyn Write + Send>);

impl Output {
    /// The process's own output.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to(BufWriter::new(io::stdout()))
    }

    /// Another place.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Box::new(writer))
    }

    /// Prints a line.
    ///
    /// # Errors
    /// [`CliError::OutputClosed`] if nobody reads any more.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(self.0, "{text}")?)
    }

    /// Prints a JSON object on a line of its own.
    ///
    /// # Errors
    /// [`CliError::OutputClosed`] if nobody reads any more.
    pub fn json(&mut self, object: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(object).map_err(CliError::because)?;
        self.line(&text)
    }

    /// Clears a terminal's screen.
    ///
    /// # Errors
    /// [`CliError::OutputClosed`] if nobody reads any more.
    pub fn clear_screen(&mut self) -> Result<(), CliError> {
        Ok(write!(self.0, "\x1b[H\x1b[2J")?)
    }

    /// Makes sure that everything printed so far can be read.
    ///
    /// # Errors
    /// [`CliError::OutputClosed`] if nobody reads any more.
    pub fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.0.flush()?)
    }
}

/// Whether whoever read stdout through a pipe has gone. A command that waits for news would otherwise notice only with
/// the next line.
#[must_use]
pub fn is_stdout_closed() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
    let answered = poll(&mut watched, Some(&Timespec::default()));
    answered.is_ok() && watched.iter().any(|one| one.revents().contains(PollFlags::ERR))
}
