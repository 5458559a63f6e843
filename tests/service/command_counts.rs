//! What a service costs its MongoDB, counted from `serverStatus`: commands and transactions, which do not depend
//! on how busy the machine is.

use std::collections::BTreeMap;
use std::time::Duration;

use aegis::command::{CommandContext, NewWebhook};
use domain::{UserId, WebhookUrl};
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use testkit::MongodServer;
use tokio::time::{Instant, sleep};

use crate::support::{Store, TestApp, eventually, on_one_store, sign_up_request};

on_one_store! { mongo:
    idle_node_sends_at_most_five_commands_per_second
    personal_export_reads_no_foreign_webhooks
    lone_sign_up_costs_at_most_two_transactions_and_fourteen_commands
}

/// Commands of the driver's own monitoring, and of this test.
const NOT_COUNTED: [&str; 9] = [
    "hello",
    "isMaster",
    "ping",
    "endSessions",
    "serverStatus",
    "saslStart",
    "saslContinue",
    "buildInfo",
    "replSetUpdatePosition",
];

/// How long the idle service is observed.
const WINDOW: Duration = Duration::from_secs(10);

/// What the server has executed so far.
#[derive(Clone, Debug, Default)]
struct Counts {
    commands: BTreeMap<String, i64>,
    transactions: i64,
}

impl Counts {
    fn since(&self, before: &Self) -> Self {
        let count = |(name, total): (&String, &i64)| {
            let more = total - before.commands.get(name).copied().unwrap_or_default();
            (more > 0).then(|| (name.clone(), more))
        };
        Self {
            commands: self.commands.iter().filter_map(count).collect(),
            transactions: self.transactions - before.transactions,
        }
    }

    fn total(&self) -> f64 {
        as_f64(self.commands.values().sum())
    }
}

fn as_f64(count: i64) -> f64 {
    f64::from(i32::try_from(count).unwrap())
}

fn number(value: Option<&Bson>) -> i64 {
    value.and_then(|value| value.as_i64().or_else(|| value.as_i32().map(i64::from))).unwrap_or_default()
}

async fn counts(server: &Client) -> Counts {
    let status = server.database("admin").run_command(doc! { "serverStatus": 1 }).await.unwrap();
    let commands = status.get_document("metrics").and_then(|metrics| metrics.get_document("commands"));
    let total = |(name, counter): (&String, &Bson)| {
        let total = number(counter.as_document()?.get("total"));
        (!NOT_COUNTED.contains(&name.as_str())).then(|| (name.clone(), total))
    };
    let transactions: &Document = status.get_document("transactions").unwrap();
    Counts {
        commands: commands.unwrap().iter().filter_map(total).collect(),
        transactions: number(transactions.get("totalCommitted")),
    }
}

/// Commands per second while nothing happens, once the service has settled.
async fn idle_rate(server: &Client) -> (f64, Counts) {
    let (before, started) = (counts(server).await, Instant::now());
    sleep(WINDOW).await;
    let idle = counts(server).await.since(&before);
    (idle.total() / started.elapsed().as_secs_f64(), idle)
}

async fn started() -> (MongodServer, Client, TestApp) {
    let server = MongodServer::replica_set().await;
    let app = TestApp::start(Store::at(&server.url())).await;
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
    const SIGN_UPS: i32 = 20;
    let (_server, client, app) = started().await;
    let (_, idle) = idle_rate(&client).await;
    let (before, started) = (counts(&client).await, Instant::now());
    for number in 0..SIGN_UPS {
        sign_up_request(&app, &format!("user{number}")).send().await.expect(201);
    }
    let elapsed = started.elapsed().as_secs_f64();
    let sent = counts(&client).await.since(&before);
    // Every sign-up sends the same whole number of commands of each kind. What is left of the background, which
    // does not arrive evenly, is a fraction of one per sign-up and kind, and is rounded off.
    let per_sign_up = |(name, count): (&String, &i64)| {
        let background = idle.commands.get(name).map_or(0.0, |count| as_f64(*count)) / WINDOW.as_secs_f64();
        ((as_f64(*count) - background * elapsed) / f64::from(SIGN_UPS)).round()
    };
    let commands: f64 = sent.commands.iter().map(per_sign_up).sum();
    assert!(commands <= 14.0, "{commands} commands per sign-up: {sent:?} in {elapsed:.1} s, idle {idle:?}");
    assert!(commands >= 5.0, "not even an append was counted: {sent:?}");
    assert!(sent.transactions <= i64::from(SIGN_UPS) * 2, "{sent:?}");
}

/// The documents that one export of a user's data reads do not depend on the webhooks of others.
async fn personal_export_reads_no_foreign_webhooks() {
    const EXPORTS: i64 = 10;
    const FOREIGN: i64 = 60;
    let (_server, client, app) = started().await;
    let (ada, bob) = (app.sign_up("bob").await, app.sign_up("eve").await);
    let read_per_export = async || {
        let before = documents_returned(&client).await;
        for _ in 0..EXPORTS {
            ada.get("/users/me/export").send().await.expect(200);
        }
        (documents_returned(&client).await - before) / EXPORTS
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

async fn documents_returned(server: &Client) -> i64 {
    let status = server.database("admin").run_command(doc! { "serverStatus": 1 }).await.unwrap();
    let metrics = status.get_document("metrics").unwrap();
    number(metrics.get_document("document").unwrap().get("returned"))
}
