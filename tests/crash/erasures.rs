//! Many people are erased while a service runs. Afterwards nobody finds them: not in a document or a file, nor in what the
//! service has logged; and the log and the read models are still proved. One of a hundred of the users that
//! `population` imports.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::population::{Town, users};
use crate::summary;
use crate::swarm::Desk;

/// What the command line may take with 100,000 users on a slow machine.
const PATIENCE: Duration = Duration::from_mins(5);
/// Of so many users one is erased.
const ONE_OF: u64 = 100;
/// Requests under way at a time.
const UNDER_WAY: usize = 8;
/// What the e-mail addresses and the names of all users begin with.
const MARK: &[u8] = b"imported";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mongodb_nobody_finds_those_who_were_erased() {
    nobody_finds_those_who_were_erased("MongoDB", Town::on_mongodb(users()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_embedded_database_nobody_finds_those_who_were_erased() {
    nobody_finds_those_who_were_erased("embedded", Town::embedded(users()).await).await;
}

async fn nobody_finds_those_who_were_erased(test: &str, town: Town) {
    let mut fleet = town.fleet().patient(PATIENCE);
    let desk = fleet.open(PATIENCE).await;
    let listed = fleet.command_line().json(&["users", "list"]).await;
    let number = |email: &str| numbers(email.as_bytes()).next();
    let everybody: Vec<_> = listed
        .iter()
        .filter_map(|user| Some((number(user["email"].as_str()?)?, user["id"].as_str()?.to_owned())))
        .collect();
    assert_eq!(u64::try_from(everybody.len()).unwrap(), users());
    let gone: Vec<_> = everybody.into_iter().filter(|(number, _)| number % ONE_OF == 42).collect();
    let began = Instant::now();
    erase(&desk, gone.iter().map(|(_, id)| id.clone())).await;
    let took = began.elapsed();

    fleet.command_line().done(&["events", "verify"]).await;
    let rebuilt = fleet.command_line().done(&["projections", "rebuild", "users"]).await;
    assert!(rebuilt.stdout.contains("the same as before"), "{rebuilt:?}");
    fleet.verify_read_models().await;
    let said = fleet.service(0).said();
    fleet.stop(0).await;

    let gone: BTreeSet<_> = gone.into_iter().map(|(number, _)| number).collect();
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    town.look_into(|place, piece| {
        bytes += piece.len();
        for number in numbers(piece) {
            assert!(!gone.contains(&number), "user {number} was erased and is in {place}");
            seen.insert(number);
        }
    })
    .await;
    assert!(numbers(said.as_bytes()).next().is_none(), "users are in the log of the service");
    let stays = users() - u64::try_from(gone.len()).unwrap();
    assert_eq!(u64::try_from(seen.len()).unwrap(), stays, "whoever was not erased is still there");
    summary::say(&format!(
        "erasure, {test}: {} of {} users erased in {:.1} s, none found in {} MiB; log and read models verify",
        gone.len(),
        users(),
        took.as_secs_f64(),
        bytes >> 20,
    ));
}

async fn erase(desk: &Desk, ids: impl Iterator<Item = String>) {
    let (service, token) = (desk.services[0].clone(), desk.token.clone());
    let free = Arc::new(Semaphore::new(UNDER_WAY));
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

/// The numbers of the users whose names or e-mail addresses are in there.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let found = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| window.eq_ignore_ascii_case(MARK));
    found.filter_map(|(at, _)| {
        let rest = &bytes[at + MARK.len()..];
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        // Otherwise it is what is stored beside it that goes on.
        matches!(rest[end], b'@' | b'.').then(|| String::from_utf8_lossy(&rest[..end]).parse().ok())?
    })
}
