//! A private `mongod` for one test, which can stop, kill, pause and restart it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::admin_connection::{AdminConnection, ServerRole};
use crate::error::Error;
use crate::machine_clock::MachineClock;
use crate::port::reserve_port;
use crate::resource_reaper::ResourceReaper;
use crate::{executable, or_fail};

/// The name of every replica set of the testkit.
pub(crate) const SET: &str = "rs0";

const MAX_PORT_ATTEMPTS: usize = 5;
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The shell waits for a line before it executes `mongod`, so that no server runs that the reaper does not
/// track.
const START_GATE_SCRIPT: &str = r#"read -r go && exec "$@" </dev/null"#;

/// A server on a loopback port with its own data folder. Both are removed when this is dropped or the process
/// ends. Test commands (fail points) are enabled.
#[derive(Debug)]
pub struct MongodServer {
    executable: PathBuf,
    folder: PathBuf,
    port: u16,
    kind: Kind,
    /// Whether clients have to authenticate.
    authenticates: bool,
    /// Further environment variables.
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
    reaper: ResourceReaper,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Standalone,
    OneNodeSet,
    /// Member of a larger set, which the caller initiates.
    MemberOfSet,
}

impl MongodServer {
    /// Starts a one-node replica set and waits until it accepts writes.
    ///
    /// # Panics
    /// If no `mongod` is found or it does not start; the message lists what was tried.
    pub async fn replica_set() -> Self {
        Self::on_any_port(Kind::OneNodeSet).await
    }

    /// Like [`MongodServer::replica_set`], on a port from [`reserve_port`] to which clients may already try
    /// to connect.
    ///
    /// # Panics
    /// As [`MongodServer::replica_set`], and if the port is taken.
    pub async fn replica_set_on(port: u16) -> Self {
        let executable = or_fail(executable::mongod().await);
        or_fail(Self::start(&executable, port, Kind::OneNodeSet).await)
    }

    /// Starts a server outside any replica set: no transactions, no change streams.
    ///
    /// # Panics
    /// As [`MongodServer::replica_set`].
    pub async fn standalone() -> Self {
        Self::on_any_port(Kind::Standalone).await
    }

    /// The connection URL without a database.
    #[must_use]
    pub fn url(&self) -> String {
        match self.kind {
            Kind::Standalone => format!("mongodb://{}/", self.address()),
            Kind::OneNodeSet | Kind::MemberOfSet => format!("mongodb://{}/?replicaSet={SET}", self.address()),
        }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.len().saturating_sub(15);
        lines.into_iter().skip(tail).collect::<Vec<_>>().join("\n")
    }

    /// Kills the server like a power failure (SIGKILL). Does nothing if it is not running.
    ///
    /// # Panics
    /// If the operating system returns an error.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        or_fail(child.kill().and_then(|()| child.wait()).and_then(|_| self.reaper.untrack()));
    }

    /// Gives the server the clock of another machine from its next start on.
    pub fn set_clock(&mut self, clock: &MachineClock) {
        self.environment = clock.variables().into();
    }

    /// Stops the server gracefully (SIGTERM, then SIGKILL after 30 s). Does nothing if it is not running.
    ///
    /// # Panics
    /// If the operating system returns an error.
    pub fn stop(&mut self) {
        if let Some(child) = &mut self.child {
            or_fail(terminate(child));
        }
        self.kill();
    }

    /// Pauses the server (SIGSTOP); its connections stay open. Does nothing if it is not running.
    ///
    /// # Panics
    /// If the operating system returns an error.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes the server after a pause (SIGCONT). Does nothing if it is not running.
    ///
    /// # Panics
    /// If the operating system returns an error.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Restarts the server on the same port and data, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn restart(&mut self) {
        self.kill();
        or_fail(self.spawn());
        or_fail(self.ready().await);
    }

    /// Restarts the server with authentication: clients need a user that was created before.
    ///
    /// # Panics
    /// If the key file cannot be written, or the server does not start.
    pub async fn require_authentication(&mut self) {
        let mut key = File::options();
        key.create_new(true).write(true).mode(0o600);
        or_fail(key.open(self.key_path()).and_then(|mut key| key.write_all(b"members of the test set")));
        self.authenticates = true;
        self.restart().await;
    }

    /// Starts `executable`. Returns errors, because the caller can try another source.
    pub(crate) async fn one_node_set_of(executable: &Path) -> Result<Self, Error> {
        Self::on_any_port_of(executable, Kind::OneNodeSet).await
    }

    pub(crate) async fn on_any_port(kind: Kind) -> Self {
        let executable = or_fail(executable::mongod().await);
        or_fail(Self::on_any_port_of(&executable, kind).await)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn on_any_port_of(executable: &Path, kind: Kind) -> Result<Self, Error> {
        let mut started = Self::start(executable, reserve_port(), kind).await;
        for _ in 1..MAX_PORT_ATTEMPTS {
            match started {
                Err(error) if error.is_taken_port() => {
                    started = Self::start(executable, reserve_port(), kind).await;
                }
                _ => break,
            }
        }
        started
    }

    async fn start(executable: &Path, port: u16, kind: Kind) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("aegis-test-mongod-")
            .tempdir()
            .map_err(Error::io("creating a data folder"))?
            .keep();
        let reaper =
            ResourceReaper::owning_folder(&folder).map_err(Error::io("starting the resource reaper (sh)"))?;
        let mut server = Self {
            executable: executable.to_owned(),
            folder,
            port,
            kind,
            authenticates: false,
            environment: Vec::new(),
            child: None,
            reaper,
        };
        server.spawn()?;
        server.ready().await?;
        Ok(server)
    }

    fn spawn(&mut self) -> Result<(), Error> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .map_err(Error::io("creating a log file"))?;
        let also_log = log.try_clone().map_err(Error::io("creating a log file"))?;
        let child = Command::new("sh")
            .args(["-c", START_GATE_SCRIPT, "mongod"])
            .arg(&self.executable)
            .arg("--dbpath")
            .arg(&self.folder)
            .args(["--port", &self.port.to_string(), "--bind_ip", "127.0.0.1", "--nounixsocket"])
            .args(["--wiredTigerCacheSizeGB", "0.5", "--setParameter", "enableTestCommands=1"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .args(if self.authenticates { &["--auth", "--keyFile"][..] } else { &[][..] })
            .args(self.authenticates.then(|| self.key_path()))
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .args(if self.kind == Kind::Standalone {
                &[][..]
            } else {
                &["--replSet", SET, "--oplogSize", "128"]
            })
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(also_log)
            .process_group(0)
            .spawn()
            .map_err(Error::io("starting mongod through sh"))?;
        let child = self.child.insert(child);
        self.reaper.track(child.id()).map_err(Error::io("registering with the resource reaper"))?;
        child
            .stdin
            .take()
            .map_or(Ok(()), |mut go| go.write_all(b"go\n"))
            .map_err(Error::io("starting mongod"))
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let mut admin = AdminConnection::new(self.address());
        match self.kind {
            Kind::Standalone => self.wait_until(&mut admin, |role| role == ServerRole::Standalone).await,
            Kind::MemberOfSet => self.wait_until(&mut admin, |_| true).await,
            // Its set was initiated before, which would now require a user.
            Kind::OneNodeSet if self.authenticates => {
                self.wait_until(&mut admin, |role| role == ServerRole::Primary).await
            }
            Kind::OneNodeSet => {
                if self.wait_until(&mut admin, |_| true).await? == ServerRole::Uninitiated {
                    let initiated = admin.initiate(SET, &[self.address()]).await;
                    initiated.map_err(|problem| self.refused(problem))?;
                }
                self.wait_until(&mut admin, |role| role == ServerRole::Primary).await
            }
        }
        .map(drop)
    }

    async fn wait_until(
        &mut self,
        admin: &mut AdminConnection,
        wanted: impl Fn(ServerRole) -> bool,
    ) -> Result<ServerRole, Error> {
        let Self { child, port, .. } = self;
        let (mut child, port) = (child.take(), *port);
        let gone = || {
            let status = child.as_mut()?.try_wait().ok()??;
            Some(Error::Exited { port, status: status.to_string(), log: self.log_tail() })
        };
        let reached = admin.wait_until(wanted, gone, || self.log_tail()).await;
        self.child = child;
        reached
    }

    fn refused(&self, problem: String) -> Error {
        Error::NotReady { address: self.address(), seconds: 0, last: problem, log: self.log_tail() }
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            or_fail(kill_process(Pid::from_child(child), signal));
        }
    }

    fn key_path(&self) -> PathBuf {
        self.folder.join("members.key")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("mongod.log")
    }
}

impl Drop for MongodServer {
    fn drop(&mut self) {
        // Like `kill`, but without panics; the reaper, dropped next, ends what is left.
        if let Some(mut child) = self.child.take()
            && child.kill().and_then(|()| child.wait()).is_ok()
        {
            let _sent = self.reaper.untrack();
        }
    }
}

fn terminate(child: &mut Child) -> std::io::Result<()> {
    let started = Instant::now();
    kill_process(Pid::from_child(child), Signal::TERM)?;
    while child.try_wait()?.is_none() && started.elapsed() < STOP_TIMEOUT {
        std::thread::sleep(STOP_POLL_INTERVAL);
    }
    Ok(())
}
