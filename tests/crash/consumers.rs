//! Runs the consumer programs of `docs/subscribe.md` verbatim. They are killed and restarted at random
//! moments while events are appended and the service is killed as well. In the end each has recorded
//! positions 1, 2, 3 … N once and in order. A few kills by default; with `AEGIS_TEST_LONG=1` fifty, and ten
//! of the service.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testkit::service::{Client, eventually_within};

use crate::clients::{ClientContext, Clients};
use crate::cluster::{Cluster, await_writes};
use crate::summary;
use crate::test_config::TestConfig;

pub(crate) const DOCUMENT: &str = include_str!("../../docs/subscribe.md");
const RUST: &str = include_str!("../../examples/subscriber.rs");
/// The longest time before a consumer is killed.
const MAX_LIFETIME: Duration = Duration::from_millis(700);
/// Limit for the final catch-up on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_killed_consumer_sees_every_event_exactly_once() {
    let database = testkit::shared_mongodb().await.database();
    consume("MongoDB", Cluster::on_mongodb(1, database.url(), database.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_killed_consumer_sees_every_event_exactly_once() {
    let data = TempDir::new().unwrap();
    consume("embedded", Cluster::embedded(data.path())).await;
}

async fn consume(test: &str, mut cluster: Cluster) {
    let mut rng = TestConfig::rng("consumers");
    let (kills, kills_of_service) = if TestConfig::from_env().is_long { (50, 10) } else { (3, 1) };
    let context = cluster.start_all(Duration::from_secs(10)).await;
    let folder = TempDir::new().unwrap();
    for language in ["python", "typescript", "rust"] {
        let consumer = Consumer::new(language, folder.path(), &context);
        let clients = Clients::start(&context, &mut rng);
        for kill in 0..kills {
            let child = consumer.start();
            tokio::time::sleep(rng.duration_between(Duration::ZERO, MAX_LIFETIME)).await;
            if kill % (kills / kills_of_service) == 0 {
                let since = context.journal.now();
                cluster.kill(0);
                cluster.start(0).await;
                await_writes(&context, 1, since).await;
            }
            drop(child);
        }
        clients.stop().await;
        let log = whole_log(&context.services[0], &context.token).await;
        let last = consumer.start();
        eventually_within(TIMEOUT, "the consumer to receive every event", async || {
            (consumer.lines().len() >= log.len()).then_some(())
        })
        .await;
        drop(last);
        let lines = consumer.lines();
        assert!(lines == log, "{language}: {}", difference(&lines, &log));
        summary::print(&format!(
            "{test}: {language} consumer killed {kills} times, service {kills_of_service} times: has 1 to {}",
            log.len()
        ));
    }
}

/// Position and id of an event.
pub(crate) type EventRef = (u64, String);

/// Every event of the log.
pub(crate) async fn whole_log(service: &Client, token: &str) -> Vec<EventRef> {
    let mut log = Vec::new();
    loop {
        let path = format!("/events?after={}&limit=1000", log.len());
        let page = service.get(&path).bearer(token).send().await.expect(200).json();
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            return log;
        }
        log.extend(events.iter().map(position_and_id));
    }
}

fn position_and_id(event: &Value) -> EventRef {
    (event["position"].as_u64().unwrap(), event["id"].as_str().unwrap().to_owned())
}

/// A consumer program of the document.
struct Consumer {
    program: PathBuf,
    arguments: Vec<PathBuf>,
    file: PathBuf,
    address: String,
    token: String,
}

impl Consumer {
    fn new(language: &str, folder: &Path, context: &ClientContext) -> Self {
        let source = folder.join(format!("consumer.{language}"));
        let (program, arguments) = match language {
            "python" => ("python3".into(), vec![source.clone()]),
            // Node.js derives the language from the file extension.
            "typescript" => (testkit::node(), vec![folder.join("consumer.mts")]),
            _ => (build_example(), Vec::new()),
        };
        if let Some(source) = arguments.first() {
            std::fs::write(source, code_block(language)).unwrap();
        }
        let file = folder.join(format!("{language}.jsonl"));
        let address = format!("http://{}", context.services[0].address());
        let token = context.token.clone();
        Self { program, arguments, file, address, token }
    }

    fn start(&self) -> ChildGuard {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(&self.address).arg(&self.file).env("AEGIS_TOKEN", &self.token);
        ChildGuard(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// The events that it has recorded so far.
    fn lines(&self) -> Vec<EventRef> {
        read_events(&self.file)
    }
}

/// The events of a file, one per line; an incomplete last line is ignored.
pub(crate) fn read_events(file: &Path) -> Vec<EventRef> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().map(|line| position_and_id(&serde_json::from_str(line).unwrap())).collect()
}

/// Describes where the recorded events differ from the log.
pub(crate) fn difference(seen: &[EventRef], log: &[EventRef]) -> String {
    let at = seen.iter().zip(log).position(|(seen, logged)| seen != logged);
    format!("{} lines of {}, the first difference at {at:?}", seen.len(), log.len())
}

/// A child process that is killed on drop.
pub(crate) struct ChildGuard(pub(crate) Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The program in that language, from the document.
fn code_block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let (_, after) = DOCUMENT.split_once(&begin).unwrap();
    after.split_once("```\n").unwrap().0
}

/// The program in Rust, built as an example of this package.
fn build_example() -> PathBuf {
    let (_, program) = RUST.split_once(")]\n").unwrap();
    assert_eq!(
        code_block("rust"),
        program,
        "docs/subscribe.md shows another program than examples/subscriber.rs"
    );
    let mut cargo = Command::new(env!("CARGO"));
    let done = cargo.args(["build", "--quiet", "--locked", "--example", "subscriber"]).status().unwrap();
    assert!(done.success(), "examples/subscriber.rs failed to build");
    Path::new(env!("CARGO_BIN_EXE_aegis")).parent().unwrap().join("examples/subscriber")
}
