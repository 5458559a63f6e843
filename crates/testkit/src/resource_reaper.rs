//! Ends a server, and removes its data, when this process ends: returning, panicking or killed.
//!
//! A shell waits for the end of a pipe whose other side only this process holds. The system closes that side
//! whatever becomes of us, so nothing here depends on our last words.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Each line names the process to end, an empty one that there is none. A killed server may still be closing files.
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

/// Watches over at most one process at a time, and owns a folder if it was given one.
#[derive(Debug)]
pub(crate) struct ResourceReaper {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl ResourceReaper {
    /// Removes `folder` when dropped, or when this process ends.
    pub(crate) fn owning_folder(folder: &Path) -> io::Result<Self> {
        Self::start(folder)
    }

    /// Removes nothing.
    pub(crate) fn without_folder() -> io::Result<Self> {
        Self::start(Path::new(""))
    }

    fn start(folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: Ctrl-C on the terminal ends the tests, not the one who cleans up after them.
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// From now on `pid` ends with this process.
    pub(crate) fn track(&mut self, pid: u32) -> io::Result<()> {
        self.send_line(&pid.to_string())
    }

    /// The process has ended and its number may be given to another.
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
        // It has nothing left to wait for; not reaping it would leave a zombie.
        let _ended = self.shell.wait();
    }
}
