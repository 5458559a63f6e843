//! What is revoked or changed through one service, raced against requests to all of them, while their change
//! streams are cut at times: no service accepts a token after its revocation was acknowledged, and none answers with
//! a user as they were before an acknowledged change, although each keeps users and verified tokens in memory.
//!
//! A few seconds by default, ten minutes with `AEGIS_TEST_LONG=1`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use mongodb::bson::doc;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::service::{Client, Request, run_test_with_timeout};
use testkit::{FailPoint, FailPointMode, MongodServer};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client_write::{PASSWORD, sign_up};
use crate::clients::ClientContext;
use crate::cluster::Cluster;
use crate::seeded_rng::SeededRng;
use crate::summary;
use crate::test_config::TestConfig;

const TIMEOUT: Duration = Duration::from_secs(12);
const NEW_PASSWORD: &str = "another battery staple, horse";
/// Users at a time.
const USERS: usize = 8;
/// The longest time before a change.
const MAX_PAUSE: Duration = Duration::from_millis(150);
/// How long a token is presented after the change was acknowledged.
const PRESENTED_AFTER: Duration = Duration::from_millis(400);
/// How long the change streams are cut, and how long they are not.
const CUT: Duration = Duration::from_millis(2_500);
const UNCUT: Duration = Duration::from_millis(1_500);

/// What happens to a user, or to one of their sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Deactivate,
    SetPassword,
    EndSession,
    LogOutEverywhere,
    Erase,
    /// Revokes nothing, but shows in every answer.
    Rename,
}

impl Change {
    const ALL: [Self; 6] = [
        Self::Deactivate,
        Self::SetPassword,
        Self::EndSession,
        Self::LogOutEverywhere,
        Self::Erase,
        Self::Rename,
    ];
}

#[derive(Default)]
struct Results {
    changes: BTreeMap<Change, usize>,
    /// Answers to requests that were sent after the acknowledgement.
    answers_after: usize,
    answers_before: usize,
    unavailable: usize,
    violations: Vec<String>,
}

/// How long the races take.
fn duration() -> Duration {
    if TestConfig::from_env().is_long { Duration::from_mins(10) } else { Duration::from_secs(8) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_on_mongodb_answer_nothing_obsolete() {
    run_test_with_timeout(TestConfig::timeout(10), async {
        let server = MongodServer::replica_set().await;
        let mut cluster = Cluster::on_mongodb(2, &server.url(), "aegis");
        race("cached reads, MongoDB, two services", &mut cluster, Some(&server)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_service_answers_nothing_obsolete() {
    run_test_with_timeout(TestConfig::timeout(10), async {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = Cluster::embedded(Path::new(folder.path()));
        race("cached reads, embedded", &mut cluster, None).await;
    })
    .await;
}

async fn race(test: &str, cluster: &mut Cluster, server: Option<&MongodServer>) {
    let mut rng = TestConfig::rng(test);
    let context = cluster.start_all(TIMEOUT).await;
    let (results, end) = (Arc::<Mutex<Results>>::default(), Instant::now() + duration());
    let mut users = JoinSet::new();
    for number in 0..USERS {
        let (context, results) = (context.clone(), Arc::clone(&results));
        let mut user = RacingUser { context, number, rng: rng.fork(), results };
        users.spawn(async move {
            for round in 0.. {
                if Instant::now() > end {
                    return;
                }
                let change = Change::ALL[(number + round) % Change::ALL.len()];
                if user.race(round, change).await.is_none() {
                    sleep(MAX_PAUSE).await;
                }
            }
        });
    }
    let cuts = cut_change_streams(server, end).await;
    while let Some(ended) = users.join_next().await {
        ended.unwrap();
    }
    cluster.assert_running();
    let Results { changes, answers_after, answers_before, unavailable, violations } =
        std::mem::take(&mut *results.lock().unwrap());
    summary::print(&format!(
        "{test}: {changes:?}, {answers_before} answers before and {answers_after} after the acknowledgement, \
         {unavailable} times 503, change streams cut {cuts} times, {} violations",
        violations.len()
    ));
    assert!(violations.is_empty(), "{}: {:#?}", violations.len(), &violations[..violations.len().min(20)]);
    for change in Change::ALL {
        assert!(changes.contains_key(&change), "{change:?} was never acknowledged: {changes:?}");
    }
    assert!(answers_after > 100 && answers_before > 100, "{answers_before} and {answers_after} answers");
    cluster.verify_read_models().await;
}

/// Cuts the change streams of all services now and then; returns how often.
async fn cut_change_streams(server: Option<&MongodServer>, end: Instant) -> usize {
    let Some(server) = server else { return 0 };
    let mut cuts = 0;
    while Instant::now() + UNCUT + CUT < end {
        sleep(UNCUT).await;
        let commands = ["aggregate", "getMore", "find", "listCollections"];
        let cut = doc! { "failCommands": &commands[..], "appName": "aegis-watch", "errorCode": 13 };
        let cut = FailPoint::command(server, FailPointMode::Always, cut).await;
        cut.wait_for_hits(2).await;
        sleep(CUT).await;
        cut.clear().await;
        cuts += 1;
    }
    cuts
}

struct RacingUser {
    context: ClientContext,
    number: usize,
    rng: SeededRng,
    results: Arc<Mutex<Results>>,
}

/// What is known of a change.
#[derive(Clone, Copy)]
enum Outcome {
    Pending,
    Acknowledged(Instant),
    Unknown,
}

/// A logged-in user.
struct Credentials {
    id: String,
    name: String,
    token: String,
}

impl RacingUser {
    /// Signs a user up, and presents their token to every service before, during and after a change. `None` if a step
    /// failed.
    async fn race(&mut self, round: usize, change: Change) -> Option<()> {
        let name = format!("racer{}-{round}", self.number);
        let credentials = self.log_in(&name).await?;
        let (pause, service) = (self.rng.duration_between(Duration::ZERO, MAX_PAUSE), self.service());
        let outcome = Mutex::new(Outcome::Pending);
        let (context, results) = (&self.context, &self.results);
        let changing = async {
            sleep(pause).await;
            let request = request(context, &service, &credentials, change).timeout(context.timeout);
            let is_acknowledged =
                request.try_send().await.is_ok_and(|answer| matches!(answer.status(), 200 | 204));
            if is_acknowledged {
                *outcome.lock().unwrap() = Outcome::Acknowledged(Instant::now());
                *results.lock().unwrap().changes.entry(change).or_default() += 1;
            } else {
                *outcome.lock().unwrap() = Outcome::Unknown;
            }
        };
        let presenting = context.services.iter().enumerate().map(|(index, service)| {
            present(index, service, (context, results), &credentials, change, &outcome)
        });
        tokio::join!(changing, join_all(presenting));
        Some(())
    }

    async fn log_in(&mut self, name: &str) -> Option<Credentials> {
        let timeout = self.context.timeout;
        let signed_up = sign_up(&self.service(), name).timeout(timeout).try_send().await.ok()?;
        let id = (signed_up.status() == 201).then(|| signed_up.json()["id"].as_str().unwrap().to_owned())?;
        let email = format!("{name}@example.com");
        let form = [("username", email.as_str()), ("password", PASSWORD), ("scope", "offline_access")];
        let logged_in = self.service().post("/auth/login/access-token").form(&form).timeout(timeout);
        let logged_in = logged_in.try_send().await.ok().filter(|answer| answer.status() == 200)?;
        let token = logged_in.json()["access_token"].as_str().unwrap().to_owned();
        Some(Credentials { id, name: name.to_owned(), token })
    }

    fn service(&mut self) -> Client {
        self.context.services[self.rng.below(self.context.services.len())].clone()
    }
}

fn request(context: &ClientContext, service: &Client, user: &Credentials, change: Change) -> Request {
    let Credentials { id, name, token } = user;
    match change {
        Change::Deactivate => {
            service.post(&format!("/users/{id}/deactivate")).bearer(&context.token).json(&json!({}))
        }
        Change::SetPassword => {
            let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
            service.post("/users/me/password").bearer(token).json(&body)
        }
        Change::EndSession => service.post("/auth/logout").bearer(token),
        Change::LogOutEverywhere => service.post("/auth/logout-all").bearer(token),
        Change::Erase => {
            let body = json!({"reason": "request"});
            service.post(&format!("/users/{id}/erase")).bearer(&context.token).json(&body)
        }
        Change::Rename => service
            .request(Method::PATCH, "/users/me")
            .bearer(token)
            .json(&json!({"username": format!("{name} renamed")})),
    }
}

/// Presents a token to a service until some time after the change.
async fn present(
    index: usize,
    service: &Client,
    (context, results): (&ClientContext, &Mutex<Results>),
    user: &Credentials,
    change: Change,
    outcome: &Mutex<Outcome>,
) {
    loop {
        // Known before the request is sent.
        let known = match *outcome.lock().unwrap() {
            Outcome::Pending => None,
            Outcome::Acknowledged(at) if at.elapsed() < PRESENTED_AFTER => Some(at),
            Outcome::Acknowledged(_) | Outcome::Unknown => return,
        };
        let request = service.get("/users/me").bearer(&user.token).timeout(context.timeout);
        let Ok(answer) = request.try_send().await else { continue };
        let status = answer.status();
        let mut results = results.lock().unwrap();
        let Some(known) = known else {
            results.answers_before += 1;
            continue;
        };
        if status == 503 {
            results.unavailable += 1;
            continue;
        }
        results.answers_after += 1;
        let is_right = match change {
            Change::Rename => {
                let renamed = Value::String(format!("{} renamed", user.name));
                status == 200 && answer.json()["username"] == renamed
            }
            Change::Erase => status == 404,
            Change::Deactivate | Change::SetPassword | Change::EndSession | Change::LogOutEverywhere => {
                status == 403
            }
        };
        if !is_right {
            let elapsed = known.elapsed();
            let answer = answer.text();
            results
                .violations
                .push(format!("service {index}, {change:?}, {elapsed:?} after it: {status} {answer}"));
        }
    }
}
