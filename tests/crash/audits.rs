//! What auditors do with a long log: prove it all, prove one event, take it elsewhere. A few thousand events by default;
//! `AEGIS_TEST_USERS` says otherwise. How long each takes is told, and asserted nowhere.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use testkit::service::{Installation, until};

use crate::population::{Town, users};
use crate::summary;

/// What the command line may take with a million events on a slow machine.
const PATIENCE: Duration = Duration::from_mins(10);
/// How many single events are proved.
const PROOFS: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mongodb_a_long_log_is_proved() {
    audit("MongoDB", Town::on_mongodb(users()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_embedded_database_a_long_log_is_proved() {
    audit("embedded", Town::embedded(users()).await).await;
}

async fn audit(test: &str, town: Town) {
    let mut fleet = town.fleet().patient(PATIENCE);
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let desk = fleet.open(PATIENCE).await;
    let get = |what: String| desk.services[0].get(&what).bearer(&desk.token).send();
    for name in ["key", "checkpoint"] {
        std::fs::write(path(name), get(format!("/log/{name}")).await.expect(200).bytes()).unwrap();
    }
    let mut proved = Vec::new();
    for number in 0..PROOFS {
        let position = 1 + number * (users() / PROOFS);
        let begun = Instant::now();
        get(format!("/log/proof/{position}")).await.expect(200);
        proved.push(begun.elapsed());
    }
    proved.sort_unstable();
    fleet.stop(0).await;
    let command_line = fleet.command_line();
    let whole = exported_in_spite_of_a_kill(command_line, folder.path()).await;
    let [export, checkpoint, key] = ["log.jsonl", "checkpoint", "key"].map(path);
    let mut took = Vec::new();
    for arguments in [
        &["events", "verify", "--since", &checkpoint][..],
        &["events", "export", "--out", &export],
        &["events", "verify", "--export", &export, "--checkpoint", &checkpoint, "--key", &key],
    ] {
        let begun = Instant::now();
        command_line.done(arguments).await;
        took.push(begun.elapsed().as_secs_f64());
    }
    assert!(whole == std::fs::read(&export).unwrap(), "the export that was killed differs");
    let milliseconds = |place: usize| proved[place].as_secs_f64() * 1000.0;
    let [verified, exported, offline] = took[..] else { panic!("{took:?}") };
    summary::say(&format!(
        "audit, {test}: {} events verified in {verified:.1} s, exported in {exported:.1} s, that proved in {offline:.1} s; \
         a proof takes {:.1} ms, of {PROOFS} the slowest {:.1} ms",
        users(),
        milliseconds(proved.len() / 2),
        milliseconds(proved.len() - 1),
    ));
}

/// An export is killed, and done again with the same words; gives the file.
async fn exported_in_spite_of_a_kill(command_line: &Installation, folder: &Path) -> Vec<u8> {
    let file = folder.join("killed.jsonl");
    let arguments = ["events", "export", "--out", file.to_str().unwrap(), "--force"];
    let exporting = command_line.start(&arguments);
    // A short export is over before it has noted anything.
    let noted = || {
        let state = std::fs::read(folder.join("killed.jsonl.part.json")).ok()?;
        serde_json::from_slice::<Value>(&state).ok()?["position"].as_u64()
    };
    let enough = if users() < 500_000 { 0 } else { users() / 2 };
    let at = until("the export to have got somewhere", async || {
        let far = noted().filter(|at| *at >= enough);
        far.or_else(|| file.exists().then_some(users()))
    })
    .await;
    let memory = if enough > 0 { exporting.peak_memory() / 1024 } else { 0 };
    exporting.kill();
    let before = noted();
    command_line.done(&arguments).await;
    summary::say(&format!(
        "export killed at {at} (noted {before:?}) with {memory} MiB (if measured), and done again"
    ));
    std::fs::read(file).unwrap()
}
