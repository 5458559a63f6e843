//! Ends a process when this one ends, however that comes about: a shell waits for the end of a pipe whose other side
//! only this process holds.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

const SCRIPT: &str = r#"read -r pid; read -r forgotten || kill -9 "$pid" 2>/dev/null"#;

/// Watches one process.
pub(crate) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// From now on `pid` ends with this process.
    pub(crate) fn over(pid: u32) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: Ctrl-C on the terminal ends the tests, not the one who cleans up after them.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut pipe = shell.stdin.take().unwrap();
        writeln!(pipe, "{pid}").unwrap();
        Self { shell, pipe: Some(pipe) }
    }

    /// The process has ended and its number may be given to another.
    pub(crate) fn forget(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _told = writeln!(pipe, "forget");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.pipe = None;
        let _ended = self.shell.wait();
    }
}
