//! Background load at a fixed rate: sign-ups, logins and `GET /users/me`. Open loop: a request is sent when
//! it is due, whether or not earlier requests were answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use testkit::service::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client_write::PASSWORD;
use crate::test_config::TestConfig;

/// Requests per second in a long run, which needs a release build. Short runs use a tenth.
const SIGN_UPS: u32 = 10;
const LOGINS: u32 = 10;
const ME_REQUESTS: u32 = 500;
/// The number of users that send `GET /users/me`.
const USERS: usize = 50;

/// The result of a load.
#[derive(Default)]
pub(crate) struct LoadResult {
    /// Answered requests.
    pub(crate) answered: usize,
    /// Requests with an unexpected answer.
    pub(crate) failures: Vec<String>,
    me_latencies: Vec<Duration>,
}

impl LoadResult {
    /// The 99th percentile of the latency of `GET /users/me`.
    pub(crate) fn p99(&mut self) -> Duration {
        self.me_latencies.sort_unstable();
        self.me_latencies.get(self.me_latencies.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// Registered users with tokens.
#[derive(Clone)]
pub(crate) struct LoadUsers {
    service: Client,
    tokens: Arc<Vec<String>>,
    next: Arc<AtomicUsize>,
}

/// A running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<LoadResult>>,
    pacing: JoinSet<()>,
}

impl LoadUsers {
    pub(crate) async fn sign_up(service: &Client) -> Self {
        let next = Arc::new(AtomicUsize::new(0));
        let mut people = Self { service: service.clone(), tokens: Arc::default(), next };
        let mut tokens = Vec::new();
        for _ in 0..USERS {
            let number = people.next.fetch_add(1, Ordering::Relaxed);
            let answer = people.new_user(number).await.unwrap();
            assert_eq!(answer, 201);
            let answer = service.log_in(&email(number), PASSWORD).await.expect(200).json();
            tokens.push(answer["access_token"].as_str().unwrap().to_owned());
        }
        people.tokens = Arc::new(tokens);
        people
    }

    /// Starts the load.
    pub(crate) fn load(&self) -> Load {
        let mut load = Load { stop: Arc::default(), seen: Arc::default(), pacing: JoinSet::new() };
        let people = self.clone();
        load.pace(SIGN_UPS, move || {
            let people = people.clone();
            async move {
                let number = people.next.fetch_add(1, Ordering::Relaxed);
                (201, people.new_user(number).await, false)
            }
        });
        let people = self.clone();
        load.pace(LOGINS, move || {
            let people = people.clone();
            async move { (200, people.log_in().await, false) }
        });
        let people = self.clone();
        load.pace(ME_REQUESTS, move || {
            let people = people.clone();
            async move { (200, people.get_me().await, true) }
        });
        load
    }

    async fn new_user(&self, number: usize) -> Result<u16, String> {
        let (email, username) = (email(number), format!("person {number}"));
        let body = json!({ "email": email, "username": username, "password": PASSWORD });
        status_of(self.service.post("/auth/signup").json(&body).try_send().await)
    }

    async fn log_in(&self) -> Result<u16, String> {
        let email = email(self.next.load(Ordering::Relaxed) % USERS);
        let form = [("username", email.as_str()), ("password", PASSWORD)];
        status_of(self.service.post("/auth/login/access-token").form(&form).try_send().await)
    }

    async fn get_me(&self) -> Result<u16, String> {
        let token = &self.tokens[self.next.load(Ordering::Relaxed) % USERS];
        status_of(self.service.get("/users/me").bearer(token).try_send().await)
    }
}

impl Load {
    /// Stops the load and returns its result.
    pub(crate) async fn stop(mut self) -> LoadResult {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.pacing.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    fn pace<F>(&mut self, per_second: u32, request: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = (u16, Result<u16, String>, bool)> + Send + 'static,
    {
        let (stop, seen) = (Arc::clone(&self.stop), Arc::clone(&self.seen));
        self.pacing.spawn(async move {
            let is_long = TestConfig::from_env().is_long;
            let between = Duration::from_secs(1) / per_second;
            let mut pace = interval(if is_long { between } else { between * 10 });
            pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut under_way = JoinSet::new();
            while !stop.load(Ordering::Relaxed) {
                let due = pace.tick().await;
                let (request, seen) = (request(), Arc::clone(&seen));
                under_way.spawn(async move { record(due, request.await, &seen) });
                while under_way.try_join_next().is_some() {}
            }
            under_way.join_all().await;
        });
    }
}

fn record(
    due: Instant,
    (expected, actual, is_me_request): (u16, Result<u16, String>, bool),
    seen: &Mutex<LoadResult>,
) {
    let mut seen = seen.lock().unwrap();
    seen.answered += 1;
    if actual != Ok(expected) {
        seen.failures.push(format!("{actual:?} instead of {expected}"));
    } else if is_me_request {
        seen.me_latencies.push(due.elapsed());
    }
}

fn status_of(answer: Result<testkit::service::Response, impl std::fmt::Display>) -> Result<u16, String> {
    answer.map(|answer| answer.status()).map_err(|error| error.to_string())
}

fn email(number: usize) -> String {
    format!("person{number}@example.com")
}
