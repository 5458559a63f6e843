//! Mass erasure: one in a hundred of the users that `populated_database` imports are erased while a service
//! runs. Afterwards no document, file or log line contains them, and the log and the read models still
//! verify.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clients::ClientContext;
use crate::populated_database::{PopulatedDatabase, user_count};
use crate::summary;

/// Limit for a command with 100,000 users on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(5);
/// One in this many users is erased.
const ERASE_EVERY: u64 = 100;
/// Concurrent requests.
const MAX_IN_FLIGHT: usize = 8;
/// The prefix of the e-mail addresses and usernames of all imported users.
const IMPORT_PREFIX: &[u8] = b"imported";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_holds_no_trace_of_erased_users() {
    assert_no_trace_of_erased_users("MongoDB", PopulatedDatabase::on_mongodb(user_count()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_database_holds_no_trace_of_erased_users() {
    assert_no_trace_of_erased_users("embedded", PopulatedDatabase::embedded(user_count()).await).await;
}

async fn assert_no_trace_of_erased_users(test: &str, populated: PopulatedDatabase) {
    let mut cluster = populated.cluster().with_timeout(TIMEOUT);
    let context = cluster.start_all(TIMEOUT).await;
    let listed = cluster.command_line().json(&["users", "list"]).await;
    let number = |email: &str| numbers(email.as_bytes()).next();
    let users: Vec<_> = listed
        .iter()
        .filter_map(|user| Some((number(user["email"].as_str()?)?, user["id"].as_str()?.to_owned())))
        .collect();
    assert_eq!(u64::try_from(users.len()).unwrap(), user_count());
    let erased: Vec<_> = users.into_iter().filter(|(number, _)| number % ERASE_EVERY == 42).collect();
    let began = Instant::now();
    erase(&context, erased.iter().map(|(_, id)| id.clone())).await;
    let took = began.elapsed();

    cluster.command_line().run_ok(&["events", "verify"]).await;
    let rebuilt = cluster.command_line().run_ok(&["projections", "rebuild", "users"]).await;
    assert!(rebuilt.stdout.contains("the same as before"), "{rebuilt:?}");
    cluster.verify_read_models().await;
    let output = cluster.service(0).output();
    cluster.stop(0).await;

    let erased: BTreeSet<_> = erased.into_iter().map(|(number, _)| number).collect();
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    populated
        .scan_stored_bytes(|location, content| {
            bytes += content.len();
            for number in numbers(content) {
                assert!(!erased.contains(&number), "user {number} was erased and is in {location}");
                seen.insert(number);
            }
        })
        .await;
    assert!(numbers(output.as_bytes()).next().is_none(), "the service has logged personal data of users");
    let remaining = user_count() - u64::try_from(erased.len()).unwrap();
    assert_eq!(u64::try_from(seen.len()).unwrap(), remaining, "users that were not erased are missing");
    summary::print(&format!(
        "erasure, {test}: {} of {} users erased in {:.1} s, none found in {} MiB; log and read models verify",
        erased.len(),
        user_count(),
        took.as_secs_f64(),
        bytes >> 20,
    ));
}

async fn erase(context: &ClientContext, ids: impl Iterator<Item = String>) {
    let (service, token) = (context.services[0].clone(), context.token.clone());
    let free = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let mut erasing = JoinSet::new();
    for id in ids {
        let permit = Arc::clone(&free).acquire_owned().await.unwrap();
        let request = service.post(&format!("/users/{id}/erase")).bearer(&token);
        erasing.spawn(async move {
            request.json(&json!({"reason": "policy"})).send().await.expect(204);
            drop(permit);
        });
    }
    while let Some(done) = erasing.join_next().await {
        done.unwrap();
    }
}

/// The numbers of the users whose usernames or e-mail addresses occur in these bytes.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let found = bytes
        .windows(IMPORT_PREFIX.len())
        .enumerate()
        .filter(|(_, window)| window.eq_ignore_ascii_case(IMPORT_PREFIX));
    found.filter_map(|(at, _)| {
        let rest = &bytes[at + IMPORT_PREFIX.len()..];
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        // Without such a delimiter the digits belong to a neighbouring value.
        matches!(rest[end], b'@' | b'.').then(|| String::from_utf8_lossy(&rest[..end]).parse().ok())?
    })
}
