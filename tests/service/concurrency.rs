//! Concurrent requests: one of the conflicting ones wins, and every acknowledged write is visible to the next
//! read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aegis::config::Settings;
use domain::{Role, UserCommand, UserId};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    Client, PASSWORD, Response, Store, TestApp, User, assert_no_gap, credentials, email_of, on_both_stores,
    on_one_store,
};

on_both_stores! {
    concurrent_identical_sign_ups_one_wins
    concurrent_mutual_admin_removal_one_wins
    sign_up_then_login_reads_its_own_write
    concurrent_writers_leave_no_gap_in_positions
}

mod on_two_nodes {
    use super::on_one_store;
    use super::{
        concurrent_identical_sign_ups_on_two_nodes_one_wins,
        concurrent_mutual_admin_removal_on_two_nodes_one_wins,
        sign_up_then_login_on_another_node_reads_the_write,
    };

    on_one_store! { mongo:
        concurrent_identical_sign_ups_on_two_nodes_one_wins
        sign_up_then_login_on_another_node_reads_the_write
        concurrent_mutual_admin_removal_on_two_nodes_one_wins
    }
}

/// Sends all requests at once; the responses are in no particular order.
async fn at_once<F: Future<Output = Response> + Send + 'static>(
    requests: impl IntoIterator<Item = F>,
) -> Vec<Response> {
    let tasks: Vec<_> = requests.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

async fn assert_one_winner(app: &TestApp, nodes: &[&Client]) {
    let sign_up =
        |number: usize| nodes[number % nodes.len()].post("/auth/signup").json(&credentials("ada")).send();
    let answers = at_once((0..50).map(sign_up)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 201);
    assert_eq!(won.len(), 1, "{:?}", answers.iter().map(Response::status).collect::<Vec<_>>());
    for answer in lost {
        assert_eq!(answer.code(400), "email_taken");
    }
    let log = app.admin().await.whole_log().await;
    let registered = log.iter().filter(|event| event["data"]["email"] == email_of("ada").as_str());
    assert_eq!(registered.count(), 1);
    assert_eq!((&log[0]["subject"], &log[0]["position"]), (&won[0].json()["id"], &json!(1)));
    // One event of the race, then those of the administrator who reads the log.
    assert_eq!(log[1]["data"]["username"], "admin", "{log:?}");
    let users = app.services().user_rows.page(None, 100).await.unwrap();
    assert_eq!(users.iter().filter(|row| row.email.as_str() == email_of("ada")).count(), 1);
}

async fn concurrent_identical_sign_ups_one_wins(store: Store) {
    let app = TestApp::start(store).await;
    assert_one_winner(&app, &[&app]).await;
}

async fn concurrent_identical_sign_ups_on_two_nodes_one_wins() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.start_second_node().await;
    assert_one_winner(&app, &[&app, &other]).await;
}

/// Twenty rounds in which two administrators revoke each other's role or deactivate each other.
async fn remove_each_other(app: &TestApp, other: &TestApp) {
    let mut winner: Option<String> = None;
    for round in 0..20 {
        let pair = [app.sign_up(&format!("a{round}")).await, app.sign_up(&format!("b{round}")).await];
        for user in &pair {
            app.grant(user, Role::Admin).await;
        }
        // The winner of the previous round resigns, so these two are the only administrators.
        if let Some(winner) = winner.take() {
            app.command(&winner, UserCommand::RevokeRole { role: Role::Admin }).await;
        }
        let [first, second] = [pair[0].clone(), pair[1].at(other)];
        let attack = |by: &User, on: &User| {
            let role = format!("/users/{}/roles/admin", on.id);
            if round % 2 == 0 { by.request(Method::DELETE, &role) } else { by.deactivate(&on.id) }
        };
        let position = app.head().await.to_string();
        let attacks = [attack(&first, &second), attack(&second, &first)];
        let answers =
            at_once(attacks.map(|attack| attack.header("Aegis-Min-Position", &position).send())).await;
        let won = answers.iter().filter(|answer| [200, 204].contains(&answer.status())).count();
        assert_eq!(won, 1, "round {round}: {answers:?}");
        // The loser was the last administrator, or no longer one when the request was authorized.
        for answer in answers.iter().filter(|answer| answer.status() >= 400) {
            assert!([401, 403, 409].contains(&answer.status()), "round {round}: {}", answer.text());
        }
        let mut left = Vec::new();
        for user in &pair {
            let row = app.services().users.state(UserId::parse(&user.id).unwrap()).await.unwrap().unwrap();
            if row.account.is_active && row.account.roles.contains(&Role::Admin) {
                left.push(user.id.clone());
            }
        }
        assert_eq!(left.len(), 1, "round {round}: one administrator is left");
        assert!(app.services().users.has_administrator().await.unwrap());
        winner = left.pop();
    }
}

async fn concurrent_mutual_admin_removal_one_wins(store: Store) {
    let app = TestApp::start(store).await;
    remove_each_other(&app, &app).await;
}

async fn concurrent_mutual_admin_removal_on_two_nodes_one_wins() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.start_second_node().await;
    remove_each_other(&app, &other).await;
}

/// All users have the same address.
fn without_limits(settings: &mut Settings) {
    settings.rate_limits = false;
}

/// 500 users over 16 connections: each signs up on one node and logs in on the other directly afterwards.
async fn assert_all_log_in_at_once(signing_up: &Client, logging_in: &Client) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..16).map(|_| {
        let (next, signing_up, logging_in) = (Arc::clone(&next), signing_up.clone(), logging_in.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= 500 {
                    return;
                }
                let name = format!("user{number}");
                signing_up.post("/auth/signup").json(&credentials(&name)).send().await.expect(201);
                let login = logging_in.log_in(&email_of(&name), PASSWORD).await.expect(200).json();
                logging_in.me(login["access_token"].as_str().unwrap()).await.expect(200);
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

async fn sign_up_then_login_reads_its_own_write(store: Store) {
    let app = TestApp::start_with(store, without_limits).await;
    assert_all_log_in_at_once(&app, &app).await;
}

async fn sign_up_then_login_on_another_node_reads_the_write() {
    let app = TestApp::start_with(Store::mongo().await, without_limits).await;
    let other = app.start_second_node().await;
    assert_all_log_in_at_once(&app, &other).await;
}

async fn concurrent_writers_leave_no_gap_in_positions(store: Store) {
    let app = TestApp::start(store).await;
    let other = app.start_second_node().await;
    let nodes = [&*app, &*other];
    let sign_up = |number: usize| {
        nodes[number % 2].post("/auth/signup").json(&credentials(&format!("user{number}"))).send()
    };
    for answer in at_once((0..100).map(sign_up)).await {
        answer.expect(201);
    }
    let log = app.admin().await.whole_log().await;
    assert_no_gap(&log);
    assert!(log.windows(2).all(|two| two[0]["time"].as_str() <= two[1]["time"].as_str()), "times fall");
}
