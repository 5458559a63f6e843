//! A temporary MongoDB: a replica set of one, on a loopback port, with its own folder.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, ServerAddress};
use testkit::ResourceReaper;

use crate::error::BenchError;

const REPLICA_SET: &str = "rs0";
/// Generous: a loaded machine may be slow, and the wait ends as soon as the server is ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The process waits for a line of input before it becomes `mongod`, so that the reaper knows every server
/// that runs.
const WAIT_THEN_EXEC: &str = r#"read -r go && exec "$@" </dev/null"#;

/// Runs until it is dropped.
pub(crate) struct Mongod {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Mongod {
    /// Starts `executable` with its data in `folder`, and waits until it is primary.
    pub(crate) async fn start(
        executable: &Path,
        folder: &Path,
        reaper: &mut ResourceReaper,
    ) -> Result<Self, BenchError> {
        check_executable(executable)?;
        let data = folder.join("mongod");
        std::fs::create_dir(&data).map_err(BenchError::io("creating a folder for mongod"))?;
        let port = free_port().map_err(BenchError::io("finding a free port"))?;
        let log = data.join("mongod.log");
        let mut child = spawn(executable, &data, &log, port).map_err(BenchError::io("starting mongod"))?;
        reaper.track(child.id()).map_err(BenchError::io("registering mongod with the reaper"))?;
        let go = child.stdin.take().map_or(Ok(()), |mut go| go.write_all(b"go\n"));
        go.map_err(BenchError::io("starting mongod"))?;
        let mut server = Self { child, port, log };
        server.until_primary().await?;
        Ok(server)
    }

    /// The connection string.
    pub(crate) fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?replicaSet={REPLICA_SET}", self.port)
    }

    async fn until_primary(&mut self) -> Result<(), BenchError> {
        let options = ClientOptions::builder()
            .hosts(vec![ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: Some(self.port) }])
            .direct_connection(true)
            .server_selection_timeout(Duration::from_secs(1))
            .build();
        let admin = Client::with_options(options)?.database("admin");
        let begun = Instant::now();
        loop {
            if let Ok(hello) = admin.run_command(doc! { "hello": 1 }).await {
                if hello.get_bool("isWritablePrimary").unwrap_or(false) {
                    return Ok(());
                }
                if hello.get_bool("isreplicaset").unwrap_or(false) {
                    // Retried if it fails: a server that has just begun to listen may not be ready for it.
                    drop(admin.run_command(doc! { "replSetInitiate": self.configuration() }).await);
                }
            }
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || begun.elapsed() > START_TIMEOUT {
                let state =
                    ended.map_or("does not become primary".to_owned(), |how| format!("has ended, {how}"));
                return Err(BenchError::MongodUnavailable(format!(
                    "mongod {state}; its log ends: {}",
                    self.log_tail()
                )));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn configuration(&self) -> Document {
        doc! { "_id": REPLICA_SET, "members": [{ "_id": 0, "host": format!("127.0.0.1:{}", self.port) }] }
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().next_back().unwrap_or("(empty)").to_owned()
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        // If this fails, the reaper ends the process.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// Checks that the executable runs: a missing library fails here, instead of as a server that never answers.
fn check_executable(executable: &Path) -> Result<(), BenchError> {
    let name = executable.display();
    match Command::new(executable).arg("--version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Err(BenchError::MongodUnavailable(format!("{name} does not run: {said}")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(BenchError::MongodUnavailable(format!("{name} does not exist")))
        }
        Err(error) => Err(BenchError::MongodUnavailable(format!("{name} does not run: {error}"))),
    }
}

fn spawn(executable: &Path, data: &Path, log: &Path, port: u16) -> std::io::Result<Child> {
    let log = File::create(log)?;
    Command::new("sh")
        .args(["-c", WAIT_THEN_EXEC, "mongod"])
        .arg(executable)
        .arg("--dbpath")
        .arg(data)
        .args([
            "--replSet",
            REPLICA_SET,
            "--port",
            &port.to_string(),
            "--bind_ip",
            "127.0.0.1",
            "--nounixsocket",
        ])
        .args(["--wiredTigerCacheSizeGB", "1", "--oplogSize", "1024"])
        .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// A port that is not in use at this moment.
pub(crate) fn free_port() -> std::io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}
