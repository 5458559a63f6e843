//! End-to-end tests of the real binary.

mod cli_beside_server;
mod crash;
mod end_to_end;
mod events_tail;
mod import;
mod metrics_listener;
mod projections;
mod startup_errors;
mod stop;
mod tampering;
mod verify;
mod webhooks;

use crate::support::{Client, PASSWORD, email_of, sign_up_request};

/// The first administrator of a deployment.
const ADMIN_EMAIL: &str = "root@example.com";
const ADMIN_PASSWORD: &str = "the first of all administrators";

/// Signs up; returns the id of the user.
async fn sign_up(client: &Client, name: &str) -> String {
    let answer = sign_up_request(client, name).send().await.expect(201);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Logs in; returns the token.
async fn token(client: &Client, email: &str, password: &str) -> String {
    let answer = client.log_in(email, password).await.expect(200).json();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Signs up and logs in; returns id and token.
async fn new_user(client: &Client, name: &str) -> (String, String) {
    (sign_up(client, name).await, token(client, &email_of(name), PASSWORD).await)
}
