//! Sessions: opened by a login, renewed by refresh tokens, ended; and what each kind of end revokes.

mod ending;
mod opening;
mod records;
mod refreshing;
mod revocation;

use serde_json::{Value, json};
use testkit::service::Client;

use crate::support::{PASSWORD, Request, Response, User};

const NEW_PASSWORD: &str = "a much longer way to say it";

/// The tokens of a session.
#[derive(Clone)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(answer: &Value) -> Self {
        let text =
            |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{name} in {answer}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

async fn log_in(client: &Client, email: &str, password: &str) -> Response {
    let form = [
        ("grant_type", "password"),
        ("username", email),
        ("password", password),
        ("scope", "profile offline_access"),
    ];
    client.post("/auth/token").form(&form).send().await
}

async fn open(client: &Client, email: &str) -> Tokens {
    Tokens::of(&log_in(client, email, PASSWORD).await.expect(200).json())
}

fn refresh_request(client: &Client, token: &str) -> Request {
    client.post("/auth/token").form(&[("grant_type", "refresh_token"), ("refresh_token", token)])
}

async fn refresh(client: &Client, token: &str) -> Response {
    refresh_request(client, token).send().await
}

async fn refreshed(client: &Client, tokens: &Tokens) -> Tokens {
    Tokens::of(&refresh(client, &tokens.refresh).await.expect(200).json())
}

/// The refresh token and the access token are refused.
async fn assert_ended(client: &Client, tokens: &Tokens, what: &str) {
    let me = client.me(&tokens.access).await;
    assert!([403, 404].contains(&me.status()), "{what}: {} {}", me.status(), me.text());
    let answer = refresh(client, &tokens.refresh).await;
    assert_eq!(
        (answer.code(400), answer.json()["error"].clone()),
        ("invalid_grant".to_owned(), json!("invalid_grant")),
        "{what}"
    );
}

async fn assert_open(client: &Client, tokens: &Tokens, what: &str) {
    assert_eq!(client.me(&tokens.access).await.status(), 200, "{what}");
}

fn user_of(user: &User, tokens: &Tokens) -> User {
    user.with_token(&tokens.access)
}

/// The types of the events in the stream of a user, and the reasons of ended sessions.
async fn events_of(admin: &User, user: &User) -> Vec<(String, Value)> {
    let log = admin.whole_log().await.into_iter();
    let mine = log.filter(|event| event["subject"] == user.id.as_str());
    mine.map(|event| (event["type"].as_str().unwrap().to_owned(), event["data"]["reason"].clone())).collect()
}

fn stream(user: &User) -> store::StreamId {
    store::StreamId::new(format!("user-{}", user.id)).unwrap()
}
