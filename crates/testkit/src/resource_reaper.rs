//! Ends child processes and removes their data when the test process ends, even if it panics or is killed.
//!
//! A helper shell waits for the end of a pipe whose write end only the test process holds. The operating
//! system closes the write end however the process ends, so the cleanup needs no code that runs at exit.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Each line is the id of the process to kill; an empty line means none. A killed server may still be closing
/// files.
const SCRIPT: &str = r#"
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -9 "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
fi
if [ -n "$1" ]; then rm -rf -- "$1"; fi
"#;

/// Cleans up after at most one process at a time, and its folder if it has one.
#[derive(Debug)]
pub struct ResourceReaper {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl ResourceReaper {
    /// Removes `folder` when dropped, or when this process ends.
    ///
    /// # Errors
    /// If the helper shell (`sh`) cannot be started.
    pub fn owning_folder(folder: &Path) -> io::Result<Self> {
        Self::start(folder)
    }

    /// Removes no folder.
    ///
    /// # Errors
    /// If the helper shell (`sh`) cannot be started.
    pub fn without_folder() -> io::Result<Self> {
        Self::start(Path::new(""))
    }

    fn start(folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "resource-reaper"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A separate process group: Ctrl-C on the terminal must not end the cleanup.
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Kills `pid` when this process ends.
    ///
    /// # Errors
    /// If the helper shell has exited.
    pub fn track(&mut self, pid: u32) -> io::Result<()> {
        self.send_line(&pid.to_string())
    }

    /// The process has ended; its id may be reused by another.
    pub(crate) fn untrack(&mut self) -> io::Result<()> {
        self.send_line("")
    }

    fn send_line(&mut self, line: &str) -> io::Result<()> {
        let pipe = self.pipe.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(pipe, "{line}")
    }
}

impl Drop for ResourceReaper {
    fn drop(&mut self) {
        self.pipe = None;
        // The shell exits now; without this wait it would remain as a zombie.
        let _ended = self.shell.wait();
    }
}
