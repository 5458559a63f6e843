//! A running process of the binary.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::client::Client;
use super::timeouts::{DEFAULT_TIMEOUT, eventually, eventually_within};
use crate::resource_reaper::ResourceReaper;

/// A running process, which ends with the test.
pub struct ServiceProcess {
    child: Child,
    reaper: ResourceReaper,
    stdout: OutputCollector,
    stderr: OutputCollector,
    client: Option<Client>,
}

impl ServiceProcess {
    /// Takes over a new process whose output is piped.
    pub(super) fn of(mut child: Child) -> Self {
        let mut reaper = ResourceReaper::without_folder().unwrap();
        reaper.track(child.id()).unwrap();
        let (stdout, stderr) = (
            OutputCollector::of(child.stdout.take().unwrap()),
            OutputCollector::of(child.stderr.take().unwrap()),
        );
        Self { child, reaper, stdout, stderr, client: None }
    }

    /// Waits until the process listens.
    pub(super) async fn wait_until_listening(&mut self) {
        let address = eventually("the address in the log", async || {
            self.assert_running();
            address_in(&self.output())
        })
        .await;
        self.client = Some(Client::new(address));
    }

    /// A client of this service.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The peak resident memory in KiB (Linux `VmHWM`).
    #[must_use]
    pub fn peak_rss_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The resident memory in KiB (Linux `VmRSS`).
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The resident memory in KiB that is not backed by files (Linux `RssAnon`): heap and stacks.
    #[must_use]
    pub fn anonymous_memory_kib(&self) -> u64 {
        self.status("RssAnon:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Everything printed so far to stdout and stderr.
    #[must_use]
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// Asserts that the process has not ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.output());
    }

    /// Kills the process (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reaper.untrack().unwrap();
    }

    /// Sends SIGTERM and waits for the exit.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM).await
    }

    /// Sends a signal and waits for the exit.
    pub async fn signal(&mut self, signal: Signal) -> ExitStatus {
        self.send(signal);
        self.wait_for_exit(DEFAULT_TIMEOUT).await
    }

    /// Pauses the process (SIGSTOP); its connections stay open.
    pub fn pause(&self) {
        self.send(Signal::STOP);
    }

    /// Resumes the process (SIGCONT).
    pub fn resume(&self) {
        self.send(Signal::CONT);
    }

    fn send(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the exit and returns the output.
    pub(super) async fn finish(mut self, timeout: Duration) -> CommandOutput {
        let status = self.wait_for_exit(timeout).await;
        CommandOutput { code: status.code(), stdout: self.stdout.text(), stderr: self.stderr.text() }
    }

    async fn wait_for_exit(&mut self, timeout: Duration) -> ExitStatus {
        let status =
            eventually_within(timeout, "the end of the process", async || self.child.try_wait().unwrap())
                .await;
        self.reaper.untrack().unwrap();
        self.stdout.finish();
        self.stderr.finish();
        status
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
        let _sent = self.reaper.untrack();
    }
}

/// The exit code and output of a command.
#[derive(Debug)]
pub struct CommandOutput {
    /// The exit code; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Collects the output of one pipe while the process runs.
struct OutputCollector {
    text: Arc<Mutex<String>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl OutputCollector {
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

    /// Waits for the end of the output.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

/// The address in the log line about listening.
fn address_in(said: &str) -> Option<String> {
    let lines = said.lines().filter(|line| line.contains("listening"));
    lines.filter_map(|line| line.split("127.0.0.1:").nth(1)).find_map(|rest| {
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        port.parse::<u16>().ok().filter(|port| *port != 0).map(|port| format!("127.0.0.1:{port}"))
    })
}
