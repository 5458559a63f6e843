//! The import of users is killed and started again until it is done: no user is missing or twice in the log. A few
//! thousand users by default, `AEGIS_TEST_USERS` otherwise.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use testkit::service::{eventually_within, run_test_with_timeout};
use tokio::time::sleep;

use crate::clients::ClientContext;
use crate::cluster::Cluster;
use crate::populated_database::user_count;
use crate::summary;
use crate::test_config::TestConfig;

/// Kills of the import.
const KILLS: usize = 3;
const TIMEOUT: Duration = Duration::from_mins(5);
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBhIGhhc2ghIQ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_import_into_mongodb_resumes() {
    let database = testkit::shared_mongodb().await.database();
    let cluster = Cluster::on_mongodb(1, database.url(), database.name());
    run_test_with_timeout(TIMEOUT, import_is_killed("import, MongoDB", cluster)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_embedded_import_resumes() {
    let data = TempDir::new().unwrap();
    run_test_with_timeout(TIMEOUT, import_is_killed("import, embedded", Cluster::embedded(data.path())))
        .await;
}

async fn import_is_killed(test: &str, cluster: Cluster) {
    let mut rng = TestConfig::rng(test);
    let mut cluster = cluster.with_timeout(TIMEOUT);
    let context = cluster.start_all(Duration::from_secs(10)).await;
    let folder = TempDir::new().unwrap();
    let file = write_users(&folder);
    let command = ["users", "import", file.to_str().unwrap()];
    let mut last = head(&context).await;
    // Each user is one event.
    let (complete, mut partial) = (last + user_count(), 0);
    for _ in 0..KILLS {
        let import = cluster.command_line().start(&command);
        eventually_within(TIMEOUT, "the import to continue", async || {
            let now = head(&context).await;
            (now > last || now >= complete).then_some(())
        })
        .await;
        sleep(rng.duration_between(Duration::ZERO, Duration::from_millis(50))).await;
        import.kill();
        last = head(&context).await;
        partial += usize::from(last < complete);
    }
    let finished = cluster.command_line().run_ok(&[&command[..], &["--strict"]].concat()).await;
    assert!(finished.stdout.contains(" 0 refused"), "{finished:?}");
    let subjects = imported(&cluster).await;
    assert_eq!(subjects.len(), expected().len(), "users are missing or imported twice");
    assert_eq!(subjects.into_iter().collect::<BTreeSet<_>>(), expected());
    cluster.command_line().run_ok(&["events", "verify"]).await;
    cluster.verify_read_models().await;
    cluster.assert_running();
    assert!(partial > 0, "no kill interrupted the import: set AEGIS_TEST_USERS to a larger number");
    summary::print(&format!(
        "{test}: {} users, {KILLS} kills, {partial} of them before the end",
        user_count()
    ));
}

fn user_id(number: u64) -> String {
    format!("65a1b2c3{number:016x}")
}

fn expected() -> BTreeSet<String> {
    (0..user_count()).map(user_id).collect()
}

/// A file of users, of which every hundredth has the username of the one before.
fn write_users(folder: &TempDir) -> PathBuf {
    let mut lines = String::new();
    for number in 0..user_count() {
        let name = if number % 100 == 99 { number - 1 } else { number };
        let user = json!({
            "id": user_id(number), "email": format!("imported{number}@example.com"),
            "username": format!("imported {name}."), "password_hash": HASH,
        });
        writeln!(lines, "{user}").unwrap();
    }
    let path = folder.path().join("users.jsonl");
    std::fs::write(&path, lines).unwrap();
    path
}

/// The users of all imports in the log.
async fn imported(cluster: &Cluster) -> Vec<String> {
    let events = cluster.command_line().json(&["events", "list", "--type", "UserImported"]).await;
    events.into_iter().map(|event| event["subject"].as_str().unwrap().to_owned()).collect()
}

/// The head of the log, as the running service knows it.
async fn head(context: &ClientContext) -> u64 {
    let answer = context.services[0].get("/events?limit=1").bearer(&context.token).send().await.expect(200);
    answer.json()["head"].as_u64().unwrap()
}
