//! The wall clock of one process, which a test sets wrong while the process runs: a small preloaded library that
//! shifts what the C library returns.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::error::Error;
use crate::or_fail;

const SOURCE: &str = include_str!("machine_clock.c");
const LIBRARY: &str = "machine_clock.so";
const FILE: &str = "seconds_ahead";

/// A clock for processes that are started with its [variables](MachineClock::variables).
#[derive(Debug)]
pub struct MachineClock {
    folder: TempDir,
}

impl MachineClock {
    /// A clock that is ahead by this many seconds, or behind if they are negative.
    ///
    /// # Panics
    /// If the library cannot be compiled (`cc`).
    #[must_use]
    pub fn ahead_by(seconds: i64) -> Self {
        let clock = or_fail(Self::compile());
        clock.set_ahead_by(seconds);
        clock
    }

    /// Sets the clock.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn set_ahead_by(&self, seconds: i64) {
        // Overwritten in place: the processes have mapped the file.
        let file = fs::File::options().write(true).create(true).truncate(false).open(self.path(FILE));
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, &seconds.to_ne_bytes()));
        or_fail(written.map_err(Error::io("writing the clock of a process")));
    }

    /// The environment variables of a process with this clock.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", LIBRARY), ("AEGIS_TEST_CLOCK_FILE", FILE)]
            .map(|(name, file)| (name, self.path(file).display().to_string()))
    }

    fn compile() -> Result<Self, Error> {
        let folder = TempDir::new().map_err(Error::io("creating a folder for a clock"))?;
        let source = folder.path().join("machine_clock.c");
        fs::write(&source, SOURCE).map_err(Error::io("writing the source of a clock"))?;
        let mut cc = Command::new("cc");
        let cc = cc
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(folder.path().join(LIBRARY))
            .arg(&source)
            .arg("-ldl");
        let output = cc.output().map_err(Error::io("running cc"))?;
        if output.status.success() {
            Ok(Self { folder })
        } else {
            Err(Error::Compiler(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}
