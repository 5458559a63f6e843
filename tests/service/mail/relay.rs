//! A real SMTP relay, `aiosmtpd`, with TLS and authentication.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::eventually;

const REQUIREMENTS: &str = "aiosmtpd==1.4.6 cryptography==46.0.3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service/mail/relay.py");
pub(super) const USER: &str = "aegis";
pub(super) const PASSWORD: &str = "relay-pass/word";

#[derive(Clone, Copy)]
pub(super) enum Encryption {
    None,
    StartTls,
    Implicit,
}

pub(super) struct Relay {
    encryption: Encryption,
    port: u16,
    folder: TempDir,
    steps: Arc<Mutex<Vec<Value>>>,
    process: Child,
    /// The relay ends when this is closed.
    _stdin: ChildStdin,
}

impl Relay {
    /// A relay that requires authentication.
    pub(super) async fn start(encryption: Encryption) -> Self {
        let folder = TempDir::new().unwrap();
        let kind = match encryption {
            Encryption::None => "none",
            Encryption::StartTls => "starttls",
            Encryption::Implicit => "implicit",
        };
        let mut python = testkit::python_with(REQUIREMENTS);
        python.arg(SCRIPT).arg(folder.path()).args([kind, USER, PASSWORD]);
        let mut process = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let steps = Arc::<Mutex<Vec<Value>>>::default();
        let collected = Arc::clone(&steps);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                collected.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        let mut relay = Self { encryption, port: 0, folder, steps, process, _stdin: stdin };
        let listening = relay.wait_for("the relay listens", |step| step["step"] == "listening").await;
        relay.port = listening["port"].as_u64().unwrap().try_into().unwrap();
        relay
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn encryption(&self) -> Encryption {
        self.encryption
    }

    /// Its URL, with the right password.
    pub(super) fn url(&self) -> String {
        self.url_with(PASSWORD)
    }

    pub(super) fn url_with(&self, password: &str) -> String {
        let scheme = match self.encryption {
            Encryption::None | Encryption::StartTls => "smtp",
            Encryption::Implicit => "smtps",
        };
        let password = password.replace('/', "%2F");
        format!("{scheme}://{USER}:{password}@localhost:{}", self.port)
    }

    /// The certificate of its authority; `None` without TLS.
    pub(super) fn ca(&self) -> Option<std::path::PathBuf> {
        match self.encryption {
            Encryption::None => None,
            Encryption::StartTls | Encryption::Implicit => Some(self.folder.path().join("ca.pem")),
        }
    }

    fn steps(&self) -> Vec<Value> {
        self.steps.lock().unwrap().clone()
    }

    pub(super) async fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || self.steps().into_iter().find(|step| wanted(step))).await
    }

    /// The mails to an address so far.
    pub(super) fn received(&self, to: &str) -> Vec<Value> {
        let is_mail = |step: &Value| step["step"] == "received" && step["to"][0] == to;
        self.steps().into_iter().filter(is_mail).collect()
    }

    /// All mails so far.
    pub(super) fn all_received(&self) -> Vec<Value> {
        self.steps().into_iter().filter(|step| step["step"] == "received").collect()
    }

    /// How many mails have arrived completely, whether they were accepted yet or not.
    pub(super) fn in_hand(&self) -> usize {
        self.steps().iter().filter(|step| step["step"] == "in hand").count()
    }

    /// The attempts at an address so far.
    pub(super) fn attempts(&self, to: &str) -> usize {
        self.steps().iter().filter(|step| step["step"] == "recipient" && step["to"] == to).count()
    }

    /// The first mail to an address.
    pub(super) async fn mail_to(&self, to: &str) -> Value {
        eventually(&format!("a mail to {to}"), async || self.received(to).into_iter().next()).await
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The link in a mail, as text.
pub(super) fn link(mail: &Value) -> String {
    let text = mail["text"].as_str().unwrap();
    text.split_whitespace().find(|word| word.contains("#token=")).expect("a link").to_owned()
}
