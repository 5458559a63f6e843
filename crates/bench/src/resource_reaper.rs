//! Ends the temporary server, and removes the scratch folder, when this process ends: by returning, panicking
//! or a kill.
//!
//! A shell waits for the end of a pipe whose other end only this process holds. The system closes that end
//! however the process ends.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Each line of input is the id of the process to end. A killed server may still be closing files.
const SCRIPT: &str = r#"
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -9 "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
fi
rm -rf -- "$1"
"#;

/// Owns a folder, and at most one process.
#[derive(Debug)]
pub(crate) struct ResourceReaper {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl ResourceReaper {
    /// Removes `folder` when dropped, or when this process ends.
    pub(crate) fn over(folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "reaper"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A process group of its own: Ctrl-C on the terminal must not end the clean-up.
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// From now on that process ends with this one.
    pub(crate) fn watch(&mut self, pid: u32) -> io::Result<()> {
        let pipe = self.pipe.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(pipe, "{pid}")
    }
}

impl Drop for ResourceReaper {
    fn drop(&mut self) {
        self.pipe = None;
        // The shell ends now; without reaping it would remain a zombie.
        drop(self.shell.wait());
    }
}
