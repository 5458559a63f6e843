//! The service as its operators run it: the release `aegis` beside this program, with `aegis serve`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::ResourceReaper;

use crate::error::BenchError;
use crate::load_generator::Connection;
use crate::mongod::free_port;
use crate::scratch::ScratchDatabase;
use crate::service::environment;

const READY: &[u8] = b"GET /api/v1/health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The executable; fails if it was not built.
pub(crate) fn executable() -> Result<PathBuf, BenchError> {
    let this = std::env::current_exe().map_err(BenchError::io("finding this executable"))?;
    let executable = this.with_file_name("aegis");
    if executable.exists() {
        return Ok(executable);
    }
    Err(BenchError::invalid(format!(
        "{} does not exist; `cargo build --release` makes it",
        executable.display()
    )))
}

/// Runs until it is dropped, or until this process ends.
pub(crate) struct ServeProcess {
    child: Child,
    /// Ends the process if this one is killed.
    _reaper: ResourceReaper,
    address: SocketAddr,
    /// From the start of the process until it was ready.
    start_up: Duration,
}

impl ServeProcess {
    /// Starts the service on the database, and waits until it is ready.
    pub(crate) async fn start(database: &ScratchDatabase) -> Result<Self, BenchError> {
        let port = free_port().map_err(BenchError::io("finding a free port"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut reaper =
            ResourceReaper::without_folder().map_err(BenchError::io("starting the reaper (sh)"))?;
        let begun = Instant::now();
        let child = Command::new(executable()?)
            .arg("serve")
            .env_clear()
            .envs(environment(database.settings()))
            .env("AEGIS_LISTEN", address.to_string())
            // Without a `.env`.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(BenchError::io("starting aegis"))?;
        reaper.track(child.id()).map_err(BenchError::io("registering aegis with the reaper"))?;
        let mut process = Self { child, _reaper: reaper, address, start_up: Duration::ZERO };
        process.until_ready(address, begun).await?;
        process.start_up = begun.elapsed();
        Ok(process)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn start_up(&self) -> Duration {
        self.start_up
    }

    /// Resident memory in MB (Linux `VmRSS`).
    pub(crate) fn resident_mb(&self) -> Result<f64, BenchError> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.map_err(BenchError::io("reading the memory of aegis"))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        let kib: Option<u32> = kib.and_then(|kib| kib.trim().parse().ok());
        kib.map(|kib| f64::from(kib) * 1024.0 / 1e6)
            .ok_or_else(|| BenchError::invalid("the memory of aegis is unknown"))
    }

    async fn until_ready(&mut self, address: SocketAddr, begun: Instant) -> Result<(), BenchError> {
        loop {
            if let Ok(mut connection) = Connection::open(address).await
                && connection.is_answered_with_success(READY).await.unwrap_or(false)
            {
                return Ok(());
            }
            if let Some(ended) = self.child.try_wait().ok().flatten() {
                return Err(BenchError::invalid(format!("aegis has ended, {ended}")));
            }
            if begun.elapsed() > START_TIMEOUT {
                return Err(BenchError::invalid("aegis does not become ready"));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for ServeProcess {
    fn drop(&mut self) {
        // If this fails, the reaper ends the process.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}
