//! What a service costs its MongoDB, counted from `serverStatus`: commands and transactions, which do not depend
//! on how busy the machine is. They are compared with the committed baseline, `tests/service/command_counts.json`;
//! `AEGIS_TEST_RENEW_COUNTS=1` writes it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aegis::command::{CommandContext, NewWebhook};
use aegis::config::{LoginEventSetting, Settings};
use domain::{Role, UserId, WebhookUrl};
use mongodb::Client;
use serde::{Deserialize, Serialize};
use testkit::{MongodServer, ServerCounts};
use tokio::time::{Instant, sleep};

use crate::support::{PASSWORD, Store, TestApp, eventually, on_one_store, sign_up_request};

on_one_store! { mongo:
    idle_node_sends_at_most_five_commands_per_second
    personal_export_reads_no_foreign_webhooks
    lone_login_costs_what_the_baseline_says
    lone_sign_up_costs_what_the_baseline_says
    session_costs_what_the_baseline_says
    own_account_costs_what_the_baseline_says
}

/// How long the idle service is observed.
const WINDOW: Duration = Duration::from_secs(10);
/// After which nothing but the background is left.
const SETTLING: Duration = Duration::from_secs(2);

fn as_f64(count: i64) -> f64 {
    f64::from(i32::try_from(count).unwrap())
}

async fn counts(server: &Client) -> ServerCounts {
    ServerCounts::read(server).await.unwrap()
}

/// Commands per second while nothing happens, once the service has settled.
async fn idle_rate(server: &Client) -> (f64, ServerCounts) {
    let (before, started) = (counts(server).await, Instant::now());
    sleep(WINDOW).await;
    let idle = counts(server).await.since(&before);
    (as_f64(idle.total()) / started.elapsed().as_secs_f64(), idle)
}

async fn started() -> (MongodServer, Client, TestApp) {
    let server = MongodServer::replica_set().await;
    let with_logins = |settings: &mut Settings| settings.login_events = LoginEventSetting::All;
    let app = TestApp::start_with(Store::at(&server.url()), with_logins).await;
    app.sign_up("ada").await;
    eventually("readiness", async || Some(app.readiness().await).filter(|ready| ready.status() == 200)).await;
    let client = Client::with_uri_str(server.url()).await.unwrap();
    // The driver connects with its first command.
    counts(&client).await;
    sleep(SETTLING).await;
    (server, client, app)
}

async fn idle_node_sends_at_most_five_commands_per_second() {
    let (_server, client, _app) = started().await;
    let (rate, idle) = idle_rate(&client).await;
    assert!(rate <= 5.0, "{rate:.1} commands per second: {idle:?}");
    assert!(rate > 0.5, "nothing was counted: {idle:?}");
}

async fn lone_sign_up_costs_what_the_baseline_says() {
    let (_server, client, app) = started().await;
    let sign_up = async |number: usize| {
        sign_up_request(&app, &format!("user{number}")).send().await.expect(201);
    };
    let counted = cost(&client, &idle_rate(&client).await.1, sign_up).await;
    compare("sign_up", counted, PROJECTED);
}

/// As much as a sign-up: the append of the event, and the projectors that count it.
async fn lone_login_costs_what_the_baseline_says() {
    let (_server, client, app) = started().await;
    let log_in = async |_: usize| drop(app.token_of("ada@example.com").await);
    let counted = cost(&client, &idle_rate(&client).await.1, log_in).await;
    compare("login", counted, PROJECTED);
}

/// A login also adds the session, in a transaction that reads whether the user was erased. A refresh writes nothing but
/// the session, and a logout as much as any other event.
async fn session_costs_what_the_baseline_says() {
    let (_server, client, app) = started().await;
    let idle = idle_rate(&client).await.1;
    let opened = Mutex::new(Vec::new());
    let open = async |_: usize| {
        let form = [
            ("grant_type", "password"),
            ("username", "ada@example.com"),
            ("password", PASSWORD),
            ("scope", "offline_access"),
        ];
        let answer = app.post("/auth/token").form(&form).send().await.expect(200).json();
        opened.lock().unwrap().push(answer);
    };
    compare("session_login", cost(&client, &idle, open).await, PROJECTED);
    let opened = opened.into_inner().unwrap();
    let text = |number: usize, field: &str| opened[number][field].as_str().unwrap().to_owned();
    let refresh = async |number: usize| {
        let token = text(number, "refresh_token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
        app.post("/auth/token").form(&form).send().await.expect(200);
    };
    compare("session_refresh", cost(&client, &idle, refresh).await, ALONE);
    let log_out = async |number: usize| {
        app.post("/auth/logout").bearer(&text(number, "access_token")).send().await.expect(204);
    };
    compare("session_logout", cost(&client, &idle, log_out).await, PROJECTED);
}

/// The first request of each user after a change, and the next one.
async fn own_account_costs_what_the_baseline_says() {
    let (_server, client, app) = started().await;
    let mut users = Vec::new();
    for number in 0..REQUESTS {
        users.push(app.sign_up(&format!("user{number}")).await);
    }
    for user in &users {
        app.grant(user, Role::Subscriber).await;
    }
    sleep(SETTLING).await;
    let idle = idle_rate(&client).await.1;
    let show = async |number: usize| drop(users[number].get("/users/me").send().await.expect(200));
    compare("users_me_first", cost(&client, &idle, show).await, ALONE);
    compare("users_me_again", cost(&client, &idle, show).await, ALONE);
}

const REQUESTS: usize = 20;

/// What one request costs.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Cost {
    commands: f64,
    transactions: f64,
}

/// Nothing that a request causes can be shared with another one.
const ALONE: Cost = Cost { commands: 0.0, transactions: 0.0 };
/// Projectors apply the events of one request, or of two that follow each other closely, in one transaction, and reads
/// that find rows behind the log read again: a busy machine decides how often.
const PROJECTED: Cost = Cost { commands: 3.0, transactions: 0.5 };

/// Sends one request after the other, and counts; also returns the details, for messages.
async fn cost(client: &Client, idle: &ServerCounts, request: impl AsyncFn(usize)) -> (Cost, String) {
    let (before, started) = (counts(client).await, Instant::now());
    for number in 0..REQUESTS {
        request(number).await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let sent = counts(client).await.since(&before);
    let requests = as_f64(i64::try_from(REQUESTS).unwrap());
    // Every request sends the same whole number of commands of each kind. What is left of the background, which
    // does not arrive evenly, is a fraction of one per request and kind, and is rounded off.
    let per_request = |(name, count): (&String, &i64)| {
        let background = idle.commands.get(name).map_or(0.0, |count| as_f64(*count)) / WINDOW.as_secs_f64();
        ((as_f64(*count) - background * elapsed) / requests).round()
    };
    // No negative zero, which the background can leave.
    let commands = sent.commands.iter().map(per_request).sum::<f64>().max(0.0) + 0.0;
    let transactions = (as_f64(sent.transactions) / requests * 10.0).round() / 10.0;
    let details = format!("{sent:?} in {elapsed:.1} s, idle {idle:?}");
    (Cost { commands, transactions }, details)
}

/// Compares with the committed baseline. A lower cost fails too: the baseline would hide that it rises again.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the variable is for this test only")]
fn compare(name: &str, (counted, details): (Cost, String), tolerance: Cost) {
    static FILE: Mutex<()> = Mutex::new(());
    let _guard = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service/command_counts.json");
    let mut baseline: BTreeMap<String, Cost> =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    if std::env::var_os("AEGIS_TEST_RENEW_COUNTS").is_some() {
        baseline.insert(name.to_owned(), counted);
        return fs::write(path, serde_json::to_string_pretty(&baseline).unwrap() + "\n").unwrap();
    }
    let expected = *baseline.get(name).unwrap_or_else(|| panic!("the baseline lacks {name}: {counted:?}"));
    for (what, counted, expected, tolerance) in [
        ("commands", counted.commands, expected.commands, tolerance.commands),
        ("transactions", counted.transactions, expected.transactions, tolerance.transactions),
    ] {
        assert!(counted <= expected + tolerance, "{name}: {counted} {what}, more than {expected}: {details}");
        let renew = "renew the baseline with AEGIS_TEST_RENEW_COUNTS=1";
        assert!(
            counted >= expected - tolerance,
            "{name}: {counted} {what}, fewer than {expected}; {renew}: {details}"
        );
    }
}

/// The documents that one export of a user's data reads do not depend on the webhooks of others.
async fn personal_export_reads_no_foreign_webhooks() {
    const EXPORTS: i64 = 10;
    const FOREIGN: i64 = 60;
    let (_server, client, app) = started().await;
    let (ada, bob) = (app.sign_up("bob").await, app.sign_up("eve").await);
    let read_per_export = async || {
        let before = counts(&client).await.documents_returned;
        for _ in 0..EXPORTS {
            ada.get("/users/me/export").send().await.expect(200);
        }
        (counts(&client).await.documents_returned - before) / EXPORTS
    };
    let without = read_per_export().await;
    let owner = UserId::parse(&bob.id).unwrap();
    let context = CommandContext::new("operator:test", "r");
    for _ in 0..FOREIGN {
        let url = WebhookUrl::parse("https://example.com/").unwrap();
        let new = NewWebhook {
            owner,
            url,
            types: vec!["UserErased".to_owned()],
            description: None,
            after: 0,
            batch: None,
        };
        app.services().webhooks.register(&context, new).await.unwrap();
    }
    let with = read_per_export().await;
    assert!(with < without + FOREIGN / 2, "{with} documents per export, before {without}");
}
