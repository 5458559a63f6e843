//! A deployment of the service: its executable, its settings and its database. Runs commands and starts the
//! service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{CommandOutput, ServiceProcess};
use super::timeouts::{DEFAULT_TIMEOUT, eventually_within};
use crate::machine_clock::MachineClock;

/// `SECRET_KEY` of deployments on MongoDB.
pub const SECRET_KEY: &str = "a secret key of the tests, longer than thirty-two bytes";
/// `AEGIS_MASTER_KEY` of deployments on MongoDB.
pub const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// An executable with its settings. Password hashing uses minimal cost.
pub struct Deployment {
    executable: PathBuf,
    environment: BTreeMap<String, String>,
    /// Timeout of commands and of the start of the service.
    timeout: Duration,
    /// The working directory: empty, so without a `.env`.
    folder: TempDir,
}

impl Deployment {
    /// A deployment on the embedded database in the folder `data`.
    #[must_use]
    pub fn embedded(executable: &str, data: &Path) -> Self {
        Self::of(executable).with("AEGIS_DATA_DIR", &data.display().to_string())
    }

    /// A deployment on MongoDB.
    #[must_use]
    pub fn on_mongodb(executable: &str, url: &str, database: &str) -> Self {
        Self::of(executable)
            .with("MONGODB_URL", url)
            .with("DATABASE_NAME", database)
            .with("SECRET_KEY", SECRET_KEY)
            .with("AEGIS_MASTER_KEY", MASTER_KEY)
    }

    fn of(executable: &str) -> Self {
        let settings = [
            ("AEGIS_LISTEN", "127.0.0.1:0"),
            ("AEGIS_ARGON2_MEMORY_KIB", "64"),
            ("AEGIS_ARGON2_ITERATIONS", "1"),
            ("AEGIS_LOG", "debug,hyper=info,mongodb=info"),
        ];
        let environment = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self {
            executable: executable.into(),
            environment,
            timeout: DEFAULT_TIMEOUT,
            folder: TempDir::new().unwrap(),
        }
    }

    /// With one more setting.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With the clock of another machine, which has to outlive the processes.
    #[must_use]
    pub fn with_clock(self, clock: &MachineClock) -> Self {
        clock.variables().iter().fold(self, |this, (name, value)| this.with(name, value))
    }

    /// With another timeout.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Without a setting.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Runs a command to completion.
    pub async fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.start(arguments).finish(self.timeout).await
    }

    /// Runs a command to completion, with this text on stdin.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> CommandOutput {
        let mut file = tempfile::tempfile().expect("a temporary file");
        std::io::Write::write_all(&mut file, input.as_bytes()).expect("the input is written");
        std::io::Seek::rewind(&mut file).expect("a file can be rewound");
        self.start_with_input(arguments, Stdio::from(file)).finish(self.timeout).await
    }

    /// Runs a command that must succeed.
    pub async fn run_ok(&self, arguments: &[&str]) -> CommandOutput {
        let finished = self.run(arguments).await;
        assert_eq!(finished.code, Some(0), "aegis {}: {finished:?}", arguments.join(" "));
        finished
    }

    /// Runs a command with `--json`; returns its output, one value per line.
    pub async fn json(&self, arguments: &[&str]) -> Vec<Value> {
        parse_json_lines(&self.run_ok(&[arguments, &["--json"]].concat()).await.stdout)
    }

    /// Starts the service and waits until it is ready.
    pub async fn serve(&self) -> ServiceProcess {
        let mut service = self.serve_listening().await;
        eventually_within(self.timeout, "readiness", async || {
            service.assert_running();
            // A service that is exiting does not answer; the next iteration reports why.
            let answer = service.client().get("/health/ready").try_send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        service
    }

    /// Starts the service and waits until it listens.
    pub async fn serve_listening(&self) -> ServiceProcess {
        let mut service = self.start(&["serve"]);
        service.wait_until_listening().await;
        service
    }

    /// Starts the binary without waiting.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> ServiceProcess {
        self.start_with_input(arguments, Stdio::null())
    }

    fn start_with_input(&self, arguments: &[&str], input: Stdio) -> ServiceProcess {
        let child = Command::new(&self.executable)
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.folder.path())
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        ServiceProcess::of(child)
    }
}

/// One JSON value per line.
#[track_caller]
fn parse_json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
