//! What a service costs its MongoDB, counted from `serverStatus`: commands and transactions, which do not depend
//! on how busy the machine is.

use std::time::Duration;

use aegis::command::{CommandContext, NewWebhook};
use aegis::config::{LoginEventSetting, Settings};
use domain::{UserId, WebhookUrl};
use mongodb::Client;
use testkit::{MongodServer, ServerCounts};
use tokio::time::{Instant, sleep};

use crate::support::{Store, TestApp, eventually, on_one_store, sign_up_request};

on_one_store! { mongo:
    idle_node_sends_at_most_five_commands_per_second
    personal_export_reads_no_foreign_webhooks
    lone_login_costs_at_most_two_transactions_and_fourteen_commands
    lone_sign_up_costs_at_most_two_transactions_and_fourteen_commands
}

/// How long the idle service is observed.
const WINDOW: Duration = Duration::from_secs(10);

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
    sleep(Duration::from_secs(2)).await;
    (server, client, app)
}

async fn idle_node_sends_at_most_five_commands_per_second() {
    let (_server, client, _app) = started().await;
    let (rate, idle) = idle_rate(&client).await;
    assert!(rate <= 5.0, "{rate:.1} commands per second: {idle:?}");
    assert!(rate > 0.5, "nothing was counted: {idle:?}");
}

async fn lone_sign_up_costs_at_most_two_transactions_and_fourteen_commands() {
    let (_server, client, app) = started().await;
    let sign_up = async |number: i32| {
        sign_up_request(&app, &format!("user{number}")).send().await.expect(201);
    };
    assert_cost(&client, sign_up).await;
}

/// As much as a sign-up: the append of the event, and the projectors that count it.
async fn lone_login_costs_at_most_two_transactions_and_fourteen_commands() {
    let (_server, client, app) = started().await;
    let log_in = async |_: i32| drop(app.token_of("ada@example.com").await);
    assert_cost(&client, log_in).await;
}

/// Asserts what one request after the other costs.
async fn assert_cost(client: &Client, request: impl AsyncFn(i32)) {
    const REQUESTS: i32 = 20;
    let (_, idle) = idle_rate(client).await;
    let (before, started) = (counts(client).await, Instant::now());
    for number in 0..REQUESTS {
        request(number).await;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let sent = counts(client).await.since(&before);
    // Every request sends the same whole number of commands of each kind. What is left of the background, which
    // does not arrive evenly, is a fraction of one per request and kind, and is rounded off.
    let per_request = |(name, count): (&String, &i64)| {
        let background = idle.commands.get(name).map_or(0.0, |count| as_f64(*count)) / WINDOW.as_secs_f64();
        ((as_f64(*count) - background * elapsed) / f64::from(REQUESTS)).round()
    };
    let commands: f64 = sent.commands.iter().map(per_request).sum();
    assert!(commands <= 14.0, "{commands} commands per request: {sent:?} in {elapsed:.1} s, idle {idle:?}");
    assert!(commands >= 5.0, "not even an append was counted: {sent:?}");
    assert!(sent.transactions <= i64::from(REQUESTS) * 2, "{sent:?}");
    assert!(sent.transactions >= i64::from(REQUESTS), "{sent:?}");
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
        let new =
            NewWebhook { owner, url, types: vec!["UserErased".to_owned()], description: None, after: 0 };
        app.services().webhooks.register(&context, new).await.unwrap();
    }
    let with = read_per_export().await;
    assert!(with < without + FOREIGN / 2, "{with} documents per export, before {without}");
}
