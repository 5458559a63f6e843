//! The real binary, in an environment of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::settings::{MASTER_KEY, SECRET_KEY};
use super::watchdog::Watchdog;
use super::{Client, Store, until};

/// What an operator has set up: a database, and an environment to run the binary in.
pub(crate) struct Installation {
    environment: BTreeMap<String, String>,
    /// The working folder: nothing is in it, no `.env` either.
    folder: TempDir,
    store: Store,
}

impl Installation {
    pub(crate) fn of(store: Store) -> Self {
        let mut all = BTreeMap::from([
            ("AEGIS_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("AEGIS_ARGON2_MEMORY_KIB".to_owned(), "64".to_owned()),
            ("AEGIS_ARGON2_ITERATIONS".to_owned(), "1".to_owned()),
            ("AEGIS_LOG".to_owned(), "debug,hyper=info,mongodb=info".to_owned()),
        ]);
        all.extend(store.environment().into_iter().map(|(name, value)| (name.to_owned(), value)));
        if store.mongo_address().is_some() {
            all.insert("SECRET_KEY".to_owned(), SECRET_KEY.to_owned());
            all.insert("AEGIS_MASTER_KEY".to_owned(), MASTER_KEY.to_owned());
        }
        Self { environment: all, folder: TempDir::new().unwrap(), store }
    }

    /// With one more setting.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Without a setting.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// The database, for looking into it.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Runs a command of the command line to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        let mut service = self.spawn(arguments);
        let status = service.ended().await;
        Finished { code: status.code(), stdout: service.stdout.text(), stderr: service.stderr.text() }
    }

    /// Runs a command that must succeed.
    pub(crate) async fn done(&self, arguments: &[&str]) -> Finished {
        let finished = self.run(arguments).await;
        assert_eq!(finished.code, Some(0), "aegis {}: {finished:?}", arguments.join(" "));
        finished
    }

    /// What a command prints, one JSON object per line.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Vec<Value> {
        lines_of_json(&self.done(&[arguments, &["--json"]].concat()).await.stdout)
    }

    /// Starts the service and waits until it is ready.
    pub(crate) async fn serve(&self) -> Service {
        let mut service = self.serve_unready().await;
        until("readiness", async || {
            assert_eq!(service.child.try_wait().unwrap(), None, "{}", service.said());
            Some(service.client().readiness().await).filter(|answer| answer.status() == 200)
        })
        .await;
        service
    }

    /// Starts the service and waits until it listens.
    pub(crate) async fn serve_unready(&self) -> Service {
        let mut service = self.spawn(&["serve"]);
        let address = until("the address in the log", async || {
            assert_eq!(service.child.try_wait().unwrap(), None, "{}", service.said());
            address_in(&service.said())
        })
        .await;
        service.client = Some(Client::new(address));
        service
    }

    /// Starts a command that takes its time.
    pub(crate) fn start(&self, arguments: &[&str]) -> Service {
        self.spawn(arguments)
    }

    fn spawn(&self, arguments: &[&str]) -> Service {
        let mut child = Command::new(env!("CARGO_BIN_EXE_aegis"))
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let watchdog = Watchdog::over(child.id());
        let (stdout, stderr) =
            (Said::of(child.stdout.take().unwrap()), Said::of(child.stderr.take().unwrap()));
        Service { child, watchdog, stdout, stderr, client: None }
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running process; it dies with the test.
pub(crate) struct Service {
    child: Child,
    watchdog: Watchdog,
    stdout: Said,
    stderr: Said,
    client: Option<Client>,
}

impl Service {
    /// Speaks to it.
    pub(crate) fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Everything it has printed so far, on both ways.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// SIGKILL: nothing can be finished.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.watchdog.forget();
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM).await
    }

    /// Any signal that ends it, and how it ended.
    pub(crate) async fn signal(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.ended().await
    }

    async fn ended(&mut self) -> ExitStatus {
        let status = until("the end of the process", async || self.child.try_wait().unwrap()).await;
        self.watchdog.forget();
        self.stdout.finish();
        self.stderr.finish();
        status
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        self.watchdog.forget();
    }
}

/// What a process prints on one way, collected while it runs.
struct Said {
    text: Arc<Mutex<String>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Said {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&text);
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut text = collected.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits for the last line.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

/// The address that a line about listening names.
fn address_in(said: &str) -> Option<String> {
    let lines = said.lines().filter(|line| line.contains("listening"));
    lines.filter_map(|line| line.split("127.0.0.1:").nth(1)).find_map(|rest| {
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        port.parse::<u16>().ok().filter(|port| *port != 0).map(|port| format!("127.0.0.1:{port}"))
    })
}

/// One JSON value per line.
#[track_caller]
fn lines_of_json(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}
