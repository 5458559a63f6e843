//! Audits of a long log: verifying it, inclusion proofs of single events, export and offline verification. A
//! few thousand events by default, `AEGIS_TEST_USERS` otherwise. Durations are printed, not asserted.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use testkit::service::{Deployment, eventually};

use crate::populated_database::{PopulatedDatabase, user_count};
use crate::summary;

/// Limit for a command with a million events on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(10);
/// The number of inclusion proofs.
const PROOFS: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_long_log_is_verified_and_exported() {
    audit("MongoDB", PopulatedDatabase::on_mongodb(user_count()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_long_log_is_verified_and_exported() {
    audit("embedded", PopulatedDatabase::embedded(user_count()).await).await;
}

async fn audit(test: &str, populated: PopulatedDatabase) {
    let mut cluster = populated.cluster().with_timeout(TIMEOUT);
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let context = cluster.start_all(TIMEOUT).await;
    let get = |what: String| context.services[0].get(&what).bearer(&context.token).send();
    for name in ["key", "checkpoint"] {
        std::fs::write(path(name), get(format!("/log/{name}")).await.expect(200).bytes()).unwrap();
    }
    let mut latencies = Vec::new();
    for number in 0..PROOFS {
        let position = 1 + number * (user_count() / PROOFS);
        let begun = Instant::now();
        get(format!("/log/proof/{position}")).await.expect(200);
        latencies.push(begun.elapsed());
    }
    latencies.sort_unstable();
    cluster.stop(0).await;
    let command_line = cluster.command_line();
    let whole = export_resumed_after_a_kill(command_line, folder.path()).await;
    let [export, checkpoint, key] = ["log.jsonl", "checkpoint", "key"].map(path);
    let mut took = Vec::new();
    for arguments in [
        &["events", "verify", "--since", &checkpoint][..],
        &["events", "export", "--out", &export],
        &["events", "verify", "--export", &export, "--checkpoint", &checkpoint, "--key", &key],
    ] {
        let begun = Instant::now();
        command_line.run_ok(arguments).await;
        took.push(begun.elapsed().as_secs_f64());
    }
    assert!(whole == std::fs::read(&export).unwrap(), "the resumed export differs");
    let milliseconds = |index: usize| latencies[index].as_secs_f64() * 1000.0;
    let [verified, exported, offline] = took[..] else { panic!("{took:?}") };
    summary::print(&format!(
        "audit, {test}: {} events verified in {verified:.1} s, exported in {exported:.1} s, verified offline in \
         {offline:.1} s; a proof takes {:.1} ms, of {PROOFS} the slowest {:.1} ms",
        user_count(),
        milliseconds(latencies.len() / 2),
        milliseconds(latencies.len() - 1),
    ));
}

/// Kills an export and resumes it with the same arguments; returns the file.
async fn export_resumed_after_a_kill(command_line: &Deployment, folder: &Path) -> Vec<u8> {
    let file = folder.join("killed.jsonl");
    let arguments = ["events", "export", "--out", file.to_str().unwrap(), "--force"];
    let exporting = command_line.start(&arguments);
    // A short export ends before it records its progress.
    let recorded = || {
        let state = std::fs::read(folder.join("killed.jsonl.part.json")).ok()?;
        serde_json::from_slice::<Value>(&state).ok()?["position"].as_u64()
    };
    let enough = if user_count() < 500_000 { 0 } else { user_count() / 2 };
    let at = eventually("the export to make progress", async || {
        let reached = recorded().filter(|at| *at >= enough);
        reached.or_else(|| file.exists().then_some(user_count()))
    })
    .await;
    let memory = if enough > 0 { exporting.peak_rss_kib() / 1024 } else { 0 };
    exporting.kill();
    let before = recorded();
    command_line.run_ok(&arguments).await;
    summary::print(&format!(
        "export killed at {at} (recorded {before:?}) with {memory} MiB (if measured), and resumed"
    ));
    std::fs::read(file).unwrap()
}
