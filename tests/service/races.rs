//! Many at once: what only one may have, one gets; what was answered, everybody sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::{Command, Role, UserId};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    Answer, Client, PASSWORD, Store, TestApp, User, assert_no_gap, credentials, email_of, on_both_stores,
    on_one_store,
};

on_both_stores! {
    of_fifty_identical_sign_ups_exactly_one_succeeds
    of_two_administrators_who_remove_each_other_exactly_one_succeeds
    whoever_has_signed_up_can_log_in_at_once
    events_of_many_writers_have_no_gap
}

mod on_two_nodes {
    use super::on_one_store;
    use super::{
        of_fifty_identical_sign_ups_on_two_nodes_exactly_one_succeeds,
        of_two_administrators_on_two_nodes_who_remove_each_other_exactly_one_succeeds,
        whoever_has_signed_up_on_one_node_can_log_in_on_the_other,
    };

    on_one_store! { mongo:
        of_fifty_identical_sign_ups_on_two_nodes_exactly_one_succeeds
        whoever_has_signed_up_on_one_node_can_log_in_on_the_other
        of_two_administrators_on_two_nodes_who_remove_each_other_exactly_one_succeeds
    }
}

/// Sends all requests at once; the answers in no particular order.
async fn at_once<F: Future<Output = Answer> + Send + 'static>(
    requests: impl IntoIterator<Item = F>,
) -> Vec<Answer> {
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
    assert_eq!(won.len(), 1, "{:?}", answers.iter().map(Answer::status).collect::<Vec<_>>());
    for answer in lost {
        assert_eq!(answer.code(400), "email_taken");
    }
    let log = app.admin().await.whole_log().await;
    let registered = log.iter().filter(|event| event["data"]["email"] == email_of("ada").as_str());
    assert_eq!(registered.count(), 1);
    assert_eq!((&log[0]["subject"], &log[0]["position"]), (&won[0].json()["id"], &json!(1)));
    // One event of the race, and then those that made the administrator who looks.
    assert_eq!(log[1]["data"]["username"], "admin", "{log:?}");
    let users = app.node().user_rows.page(None, 100).await.unwrap();
    assert_eq!(users.iter().filter(|row| row.email.as_str() == email_of("ada")).count(), 1);
}

async fn of_fifty_identical_sign_ups_exactly_one_succeeds(store: Store) {
    let app = TestApp::start(store).await;
    assert_one_winner(&app, &[&app]).await;
}

async fn of_fifty_identical_sign_ups_on_two_nodes_exactly_one_succeeds() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.second_node().await;
    assert_one_winner(&app, &[&app, &other]).await;
}

/// Twenty rounds in which two administrators take the role from each other, or deactivate each other.
async fn let_them_fight(app: &TestApp, other: &TestApp) {
    let mut winner: Option<String> = None;
    for round in 0..20 {
        let pair = [app.sign_up(&format!("a{round}")).await, app.sign_up(&format!("b{round}")).await];
        for user in &pair {
            app.grant(user, Role::Admin).await;
        }
        // The winner of the round before steps down: these two are the only ones.
        if let Some(winner) = winner.take() {
            app.command(&winner, Command::RevokeRole { role: Role::Admin }).await;
        }
        let [first, second] = [pair[0].clone(), pair[1].at(other)];
        let attack = |by: &User, on: &User| {
            let role = format!("/users/{}/roles/admin", on.id);
            if round % 2 == 0 { by.request(Method::DELETE, &role) } else { by.deactivate(&on.id) }
        };
        let position = app.node().store.head().await.unwrap().position.to_string();
        let attacks = [attack(&first, &second), attack(&second, &first)];
        let answers =
            at_once(attacks.map(|attack| attack.header("Aegis-Min-Position", &position).send())).await;
        let won = answers.iter().filter(|answer| [200, 204].contains(&answer.status())).count();
        assert_eq!(won, 1, "round {round}: {answers:?}");
        // Whoever lost was the last, or no administrator any more by the time they were heard.
        for answer in answers.iter().filter(|answer| answer.status() >= 400) {
            assert!([401, 403, 409].contains(&answer.status()), "round {round}: {}", answer.text());
        }
        let mut left = Vec::new();
        for user in &pair {
            let row = app.node().users.state(UserId::parse(&user.id).unwrap()).await.unwrap().unwrap();
            if row.account.is_active && row.account.roles.contains(&Role::Admin) {
                left.push(user.id.clone());
            }
        }
        assert_eq!(left.len(), 1, "round {round}: one administrator is left");
        assert!(app.node().users.has_administrator().await.unwrap());
        winner = left.pop();
    }
}

async fn of_two_administrators_who_remove_each_other_exactly_one_succeeds(store: Store) {
    let app = TestApp::start(store).await;
    let_them_fight(&app, &app).await;
}

async fn of_two_administrators_on_two_nodes_who_remove_each_other_exactly_one_succeeds() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.second_node().await;
    let_them_fight(&app, &other).await;
}

/// Five hundred people over sixteen connections: each signs up at one place and logs in at the other right after.
async fn assert_everybody_gets_in(signing_up: &Client, logging_in: &Client) {
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

async fn whoever_has_signed_up_can_log_in_at_once(store: Store) {
    let app = TestApp::start(store).await;
    assert_everybody_gets_in(&app, &app).await;
}

async fn whoever_has_signed_up_on_one_node_can_log_in_on_the_other() {
    let app = TestApp::start(Store::mongo().await).await;
    let other = app.second_node().await;
    assert_everybody_gets_in(&app, &other).await;
}

async fn events_of_many_writers_have_no_gap(store: Store) {
    let app = TestApp::start(store).await;
    let other = app.second_node().await;
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
