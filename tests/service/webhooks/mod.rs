//! `/webhooks`: management and deliveries.

mod batches;
mod costs;
mod egress_policy;
mod endpoints;
mod failures;
mod held_up;
mod owners;
mod replays;
mod signatures;
mod slow_owners;
mod spread;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Request, TestApp, User, WebhookReceiver, credentials};

/// A registered webhook.
struct Webhook<'a> {
    owner: &'a User,
    id: String,
    secret: String,
}

impl<'a> Webhook<'a> {
    /// Registers a webhook for all events after `after`.
    async fn register(owner: &'a User, receiver: &WebhookReceiver, after: u64) -> Self {
        Self::of(owner, &json!({"url": receiver.url("127.0.0.1"), "after": after})).await
    }

    async fn of(owner: &'a User, body: &Value) -> Self {
        let made = owner.post("/webhooks").json(body).send().await.expect(201).json();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Self { owner, id: text("id"), secret: text("secret") }
    }

    /// A webhook of that owner, registered before; its secret is not known.
    fn existing(owner: &'a User, id: &str) -> Self {
        Self { owner, id: id.to_owned(), secret: String::new() }
    }

    fn post(&self, what: &str) -> Request {
        self.owner.post(&format!("/webhooks/{}/{what}", self.id))
    }

    async fn show(&self) -> Value {
        self.owner.get(&format!("/webhooks/{}", self.id)).send().await.expect(200).json()
    }

    /// The attempts, oldest first.
    async fn attempts(&self) -> Vec<Value> {
        let path = format!("/webhooks/{}/deliveries", self.id);
        let found = self.owner.get(&path).send().await.expect(200).json();
        let mut attempts = found["deliveries"].as_array().unwrap().clone();
        attempts.reverse();
        attempts
    }

    fn delete(&self) -> Request {
        self.owner.request(Method::DELETE, &format!("/webhooks/{}", self.id))
    }
}

/// Signs up `count` users; returns the position of the last.
async fn sign_ups(app: &TestApp, name: &str, count: usize) -> u64 {
    let mut last = 0;
    for number in 0..count {
        let body = credentials(&format!("{name}{number}"));
        last = app.post("/auth/signup").json(&body).send().await.expect(201).position();
    }
    last
}
