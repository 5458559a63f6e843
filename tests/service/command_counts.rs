//! What a service costs its MongoDB, counted from `serverStatus`: commands and transactions, which do not depend
//! on how busy the machine is.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::Duration;

use aegis::command::{CommandContext, NewWebhook};
use aegis::config::{LoginEventSetting, Settings};
use domain::{UserId, WebhookUrl};
use mongodb::Client;
use testkit::{MongodServer, ServerCounts};
use tokio::time::{Instant, sleep};

use crate::support::{PASSWORD, Store, TestApp, eventually, on_one_store, sign_up_request};

on_one_store! { mongo:
    idle_node_sends_at_most_five_commands_per_second
    personal_export_reads_no_foreign_webhooks
    lone_login_costs_at_most_two_transactions_and_fourteen_commands
    lone_sign_up_costs_at_most_two_transactions_and_fourteen_commands
    session_is_opened_refreshed_and_ended_by_few_commands
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
    let sign_up = async |number: usize| {
        sign_up_request(&app, &format!("user{number}")).send().await.expect(201);
    };
    assert_cost(&client, &idle_rate(&client).await.1, EVENT, sign_up).await;
}

/// As much as a sign-up: the append of the event, and the projectors that count it.
async fn lone_login_costs_at_most_two_transactions_and_fourteen_commands() {
    let (_server, client, app) = started().await;
    let log_in = async |_: usize| drop(app.token_of("ada@example.com").await);
    assert_cost(&client, &idle_rate(&client).await.1, EVENT, log_in).await;
}

/// A login also adds the session, in a transaction that reads whether the user was erased. A refresh writes nothing but
/// the session, and a logout as much as any other event.
async fn session_is_opened_refreshed_and_ended_by_few_commands() {
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
    assert_cost(&client, &idle, Cost { transactions: 3..=3, commands: 5.0..=19.0 }, open).await;
    let opened = opened.into_inner().unwrap();
    let text = |number: usize, field: &str| opened[number][field].as_str().unwrap().to_owned();
    let refresh = async |number: usize| {
        let token = text(number, "refresh_token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
        app.post("/auth/token").form(&form).send().await.expect(200);
    };
    assert_cost(&client, &idle, Cost { transactions: 0..=0, commands: 2.0..=6.0 }, refresh).await;
    let log_out = async |number: usize| {
        app.post("/auth/logout").bearer(&text(number, "access_token")).send().await.expect(204);
    };
    assert_cost(&client, &idle, Cost { transactions: 1..=2, commands: 5.0..=19.0 }, log_out).await;
}

/// What one request costs.
struct Cost {
    transactions: RangeInclusive<i64>,
    commands: RangeInclusive<f64>,
}

/// The append of an event, and the projectors that count it.
const EVENT: Cost = Cost { transactions: 1..=2, commands: 5.0..=14.0 };

/// Asserts what one request after the other costs.
async fn assert_cost(client: &Client, idle: &ServerCounts, cost: Cost, request: impl AsyncFn(usize)) {
    const REQUESTS: i32 = 20;
    let (before, started) = (counts(client).await, Instant::now());
    for number in (0..).take(usize::try_from(REQUESTS).unwrap()) {
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
    let counted = format!("{sent:?} in {elapsed:.1} s, idle {idle:?}");
    assert!(cost.commands.contains(&commands), "{commands} commands per request: {counted}");
    let (least, most) = cost.transactions.into_inner();
    let requests = i64::from(REQUESTS);
    assert!((requests * least..=requests * most).contains(&sent.transactions), "{counted}");
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
