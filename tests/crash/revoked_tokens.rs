//! Tokens that are revoked while services and databases fail: no service accepts one after its revocation was
//! acknowledged by any of them, also not after the user was reactivated.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use testkit::service::{Client, eventually};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client_write::{PASSWORD, sign_up};
use crate::clients::ClientContext;
use crate::seeded_rng::SeededRng;

/// How long a token is presented to every service, from shortly before its revocation.
const PRESENTED: Duration = Duration::from_secs(4);
/// The longest time before the revocation, and before the reactivation after it.
const MAX_PAUSE: Duration = Duration::from_millis(300);
/// The pause of a client between two requests.
const REQUEST_PAUSE: Duration = Duration::from_millis(15);

/// What happened to revoked tokens.
#[derive(Debug, Default)]
pub(crate) struct TokenResults {
    pub(crate) revoked: usize,
    /// Answers to requests with a revoked token.
    pub(crate) refused: usize,
    /// Answers 503 to any request with a token.
    pub(crate) unavailable: usize,
    /// A description of each answer that accepted a revoked token.
    pub(crate) accepted: Vec<String>,
}

/// Revokes tokens and presents them, one task per service.
pub(crate) struct TokenWatch {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    results: Arc<Mutex<TokenResults>>,
}

impl TokenWatch {
    pub(crate) fn start(context: &ClientContext, rng: &mut SeededRng) -> Self {
        let (stop, results) = (Arc::<AtomicBool>::default(), Arc::<Mutex<TokenResults>>::default());
        let mut tasks = JoinSet::new();
        for home in 0..context.services.len() {
            let (stop, results) = (Arc::clone(&stop), Arc::clone(&results));
            let mut user = TokenUser { context: context.clone(), home, rng: rng.fork(), results };
            tasks.spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if user.revoke_a_token(number).await.is_none() {
                        sleep(MAX_PAUSE).await;
                    }
                }
            });
        }
        Self { stop, tasks, results }
    }

    /// Waits until a token was revoked, and every task has finished with its current one. All services must be
    /// healthy.
    pub(crate) async fn stop(mut self) -> TokenResults {
        eventually("a token to be revoked and refused", async || {
            let results = self.results.lock().unwrap();
            (results.revoked > 0 && results.refused > 0).then_some(())
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *self.results.lock().unwrap())
    }
}

struct TokenUser {
    context: ClientContext,
    home: usize,
    rng: SeededRng,
    results: Arc<Mutex<TokenResults>>,
}

impl TokenUser {
    /// Signs a user up, and presents their token to every service while it is revoked. `None` if a step failed.
    async fn revoke_a_token(&mut self, number: usize) -> Option<()> {
        let timeout = self.context.timeout;
        let name = format!("token{}-{number}", self.home);
        let email = format!("{name}@example.com");
        let home = self.context.services[self.home].clone();
        let signed_up = sign_up(&home, &name).timeout(timeout).try_send().await.ok()?;
        let id = (signed_up.status() == 201).then(|| signed_up.json()["id"].as_str().unwrap().to_owned())?;
        let form = [("username", email.as_str()), ("password", PASSWORD)];
        let logged_in = self.service().post("/auth/login/access-token").form(&form).timeout(timeout);
        let logged_in = logged_in.try_send().await.ok()?;
        let token = logged_in.status() == 200;
        let token = token.then(|| logged_in.json()["access_token"].as_str().unwrap().to_owned())?;
        let (pause, other_pause) = (self.pause(), self.pause());
        let (first, second) = (self.service(), self.service());
        let revoked = Mutex::new(None);
        let revoking = async {
            sleep(pause).await;
            if self.command(&first, &id, "deactivate").await {
                *revoked.lock().unwrap() = Some(Instant::now());
                self.results.lock().unwrap().revoked += 1;
                sleep(other_pause).await;
                self.command(&second, &id, "reactivate").await;
            }
        };
        let presenting = self.context.services.iter().enumerate();
        let presenting =
            join_all(presenting.map(|(index, service)| self.present(index, service, &token, &revoked)));
        tokio::join!(revoking, presenting);
        Some(())
    }

    /// Presents a token to a service.
    async fn present(&self, index: usize, service: &Client, token: &str, revoked: &Mutex<Option<Instant>>) {
        let begun = Instant::now();
        while begun.elapsed() < PRESENTED {
            sleep(REQUEST_PAUSE).await;
            // Known before the request is sent.
            let known = *revoked.lock().unwrap();
            let request = service.get("/users/me").bearer(token).timeout(self.context.timeout);
            let Ok(answer) = request.try_send().await else { continue };
            let mut results = self.results.lock().unwrap();
            match (answer.status(), known) {
                (503, _) => results.unavailable += 1,
                (200, Some(revoked)) => {
                    let elapsed = revoked.elapsed();
                    results.accepted.push(format!("service {index}, {elapsed:?} after the acknowledgement"));
                }
                (_, Some(_)) => results.refused += 1,
                (_, None) => {}
            }
        }
    }

    /// Whether the command was acknowledged.
    async fn command(&self, service: &Client, id: &str, what: &str) -> bool {
        let request = service.post(&format!("/users/{id}/{what}")).bearer(&self.context.token);
        let answer = request.json(&json!({})).timeout(self.context.timeout).try_send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    fn service(&mut self) -> Client {
        self.context.services[self.rng.below(self.context.services.len())].clone()
    }

    fn pause(&mut self) -> Duration {
        self.rng.duration_between(Duration::ZERO, MAX_PAUSE)
    }
}
