//! `aegis bench`: machine-readable and printed figures, and cleanup however the run ends.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mongodb::Client;
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Deployment, Store, dump, eventually, on_both_stores, on_one_store};

on_both_stores! {
    bench_output_matches_the_contract_and_cleans_up
    interrupted_bench_run_cleans_up
}

mod throwaway {
    use super::{
        killed_bench_run_leaves_no_folder_and_no_server, missing_mongodb_is_reported_in_the_figures,
        named_mongodb_image_is_started_and_removed, on_one_store,
    };

    on_one_store! { mongo:
        named_mongodb_image_is_started_and_removed
        killed_bench_run_leaves_no_folder_and_no_server
        missing_mongodb_is_reported_in_the_figures
    }
}

/// A deployment with its own folder for temporary files.
fn deployment(store: Store) -> (Deployment, TempDir) {
    let folder = TempDir::new().unwrap();
    let deployment = Deployment::of(store).with("TMPDIR", folder.path().to_str().unwrap());
    (deployment.with_timeout(TIMEOUT), folder)
}

fn kind(store: &Store) -> &'static str {
    if store.mongo_address().is_some() { "mongodb" } else { "sqlite" }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

/// Waits until no benchmark database is left on the server. Concurrent tests may have some for a while.
async fn no_scratch_databases(store: &Store) {
    let Some((url, _)) = store.mongo_address() else { return };
    let client = Client::with_uri_str(url).await.unwrap();
    eventually("the removal of scratch databases", async || {
        let names = client.list_database_names().await.unwrap();
        names.iter().all(|name| !name.starts_with("aegis_bench")).then_some(())
    })
    .await;
}

/// All figures, with the shortest possible duration.
const QUICK: [&str; 8] = [
    "append_alone",
    "append_grouped",
    "hashing",
    "rebuild",
    "commit_to_visible",
    "verify",
    "proof",
    "export",
];

/// Limit for a run on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(90);

fn quick(store: &str) -> Vec<&str> {
    vec!["bench", "--store", store, "--seconds", "0.5"]
}

#[track_caller]
fn assert_measured(figures: &[Value], store: &str) {
    let names: Vec<_> = figures.iter().map(|figure| figure["name"].as_str().unwrap()).collect();
    assert_eq!(names, QUICK);
    for figure in figures {
        assert_eq!(figure["store"], store);
        let number = |name: &str| figure[name].as_f64().unwrap_or_else(|| panic!("no {name}: {figure}"));
        let [value, limit, ratio, target] = ["value", "limit", "ratio", "target"].map(number);
        assert!(value > 0.0 && limit > 0.0 && target > 0.0, "{figure}");
        assert!((ratio - value / limit).abs() <= 0.001 + ratio * 0.01, "{figure}");
        assert!(figure["pass"].is_boolean() && figure["rounds"] == 11, "{figure}");
    }
}

async fn bench_output_matches_the_contract_and_cleans_up(store: Store) {
    let (deployment, folder) = deployment(store.clone());
    let mut service = deployment.serve().await;
    assert!(service.terminate().await.success());
    let before = dump(&store).await;
    let kind = kind(&store);
    let json = deployment.json(&quick(kind)).await;
    assert_eq!(json.len(), 1, "one object: {json:?}");
    assert_measured(json[0]["figures"].as_array().unwrap(), kind);
    let shown =
        deployment.run_ok(&["bench", "--store", kind, "--seconds", "0.5", "--only", "append_alone"]).await;
    for word in ["FIGURE", "append_alone", "ratio <= 1.5", "11 rounds", "one registration after the other"] {
        assert!(shown.stdout.contains(word), "{word} is missing from {shown:?}");
    }
    assert!(!shown.stdout.contains("append_grouped"), "{shown:?}");
    assert!(is_empty(folder.path()), "the scratch folder is left");
    no_scratch_databases(&store).await;
    assert!(before == dump(&store).await, "the database was changed");
}

async fn interrupted_bench_run_cleans_up(store: Store) {
    let (deployment, folder) = deployment(store.clone());
    let mut run = deployment.start(&["bench", "--store", kind(&store), "--seconds", "3000"]);
    eventually("a scratch database", async || {
        has_scratch_database(&store, folder.path()).await.then_some(())
    })
    .await;
    let status = run.signal(Signal::INT).await;
    assert_eq!(status.code(), Some(1), "{}", run.output());
    assert!(run.output().contains("aegis: interrupted"), "{}", run.output());
    assert!(is_empty(folder.path()), "the scratch folder is left");
    no_scratch_databases(&store).await;
}

/// Whether the run has created its database.
async fn has_scratch_database(store: &Store, folder: &Path) -> bool {
    if let Some((url, _)) = store.mongo_address() {
        let names = Client::with_uri_str(url).await.unwrap().list_database_names().await.unwrap();
        names.iter().any(|name| name.starts_with("aegis_bench"))
    } else {
        let scratch = fs::read_dir(folder).unwrap().next();
        scratch.is_some_and(|scratch| scratch.unwrap().path().join("database_0/raw.db").exists())
    }
}

async fn killed_bench_run_leaves_no_folder_and_no_server() {
    let (deployment, folder) = deployment(Store::sqlite());
    let executable = testkit::mongod().await;
    let deployment = deployment.with("AEGIS_MONGOD", executable.to_str().unwrap());
    let run = deployment.start(&["bench", "--store", "mongodb", "--seconds", "3000"]);
    eventually("the measuring", async || run.output().contains("measuring").then_some(())).await;
    let scratch = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    // While running, its lock file names it.
    let server: i32 = fs::read_to_string(scratch.join("mongod/mongod.lock")).unwrap().trim().parse().unwrap();
    let runs = || test_kill_process(Pid::from_raw(server).unwrap()).is_ok();
    assert!(runs());
    run.kill();
    eventually("the end of the server", async || (!runs()).then_some(())).await;
    eventually("the removal of the folder", async || is_empty(folder.path()).then_some(())).await;
}

async fn named_mongodb_image_is_started_and_removed() {
    let (deployment, folder) = deployment(Store::sqlite());
    let executable = testkit::mongod().await;
    let deployment = deployment.with("AEGIS_MONGOD", executable.to_str().unwrap());
    let json = deployment.json(&quick("mongodb")).await;
    assert_measured(json[0]["figures"].as_array().unwrap(), "mongodb");
    assert!(is_empty(folder.path()), "the server's folder is left");
}

async fn missing_mongodb_is_reported_in_the_figures() {
    let (deployment, _folder) = deployment(Store::sqlite());
    let deployment = deployment.with("AEGIS_MONGOD", "/nowhere/mongod");
    let arguments = ["bench", "--seconds", "0.5", "--only", "append_alone"];
    let figures = deployment.json(&arguments).await[0]["figures"].clone();
    assert_eq!((&figures[0]["store"], figures[0]["pass"].is_boolean()), (&"sqlite".into(), true));
    let missing = &figures[1];
    assert_eq!(missing["store"], "mongodb");
    assert!(missing["value"].is_null() && missing["pass"].is_null(), "{missing}");
    let shown = deployment.run_ok(&[&arguments[..], &["--store", "mongodb"]].concat()).await.stdout;
    for text in [missing["note"].as_str().unwrap(), &shown] {
        for word in ["/nowhere/mongod", "MONGODB_URL", "AEGIS_MONGOD"] {
            assert!(text.contains(word), "{word} is missing from {text}");
        }
    }
    assert!(shown.contains("not measured"), "{shown}");
}
