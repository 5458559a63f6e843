//! Many concurrent subscribers of the event stream: each receives every event once and in order. First all
//! are idle, then a few events go to all of them, then many events to some. A tenth by default; the full
//! amount (`AEGIS_TEST_LONG=1`) needs a release build. Throughput is printed, not asserted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tempfile::TempDir;
use testkit::service::{Client, eventually, eventually_within};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::client_write::PASSWORD;
use crate::clients::ClientContext;
use crate::cluster::Cluster;
use crate::summary;
use crate::test_config::TestConfig;

/// Streams opened per user, below the limit of the service.
const STREAMS_PER_USER: usize = 90;
/// Streams opened at once.
const OPENED_AT_ONCE: usize = 10;
/// Each subscriber measures the delay of one in this many events.
const SAMPLE_EVERY: u64 = 10;
/// Limit until the last event has reached every subscriber on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Memory limit of an idle subscriber.
const MAX_BYTES_PER_SUBSCRIBER: u64 = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb_every_subscriber_receives_every_event_in_order() {
    let database = testkit::shared_mongodb().await.database();
    measure_subscribers("MongoDB", Cluster::on_mongodb(1, database.url(), database.name())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_every_subscriber_receives_every_event_in_order() {
    let data = TempDir::new().unwrap();
    measure_subscribers("embedded", Cluster::embedded(data.path())).await;
}

async fn measure_subscribers(test: &str, mut cluster: Cluster) {
    let is_long = TestConfig::from_env().is_long;
    let (many, rate, seconds) = if is_long { (1_000_usize, 1_000, 30) } else { (100, 100, 3) };
    let context = cluster.start_all(Duration::from_secs(10)).await;
    let tokens = subscribers(&context, many.div_ceil(STREAMS_PER_USER)).await;
    let writer = Writer::of(&context).await;

    let before = cluster.service(0).rss_kib();
    let mut subscribers = Subscribers::follow(&context, &tokens, many).await;
    let each = (cluster.service(0).rss_kib().saturating_sub(before)) * 1024 / u64::try_from(many).unwrap();
    summary::print(&format!("{test}: {many} idle subscribers use {each} bytes each"));
    assert!(!is_long || each < MAX_BYTES_PER_SUBSCRIBER, "an idle subscriber uses {each} bytes");

    let few = subscribers.receive(&writer, rate / 10, seconds).await;
    drop(subscribers);
    let mut subscribers = Subscribers::follow(&context, &tokens, many / 10).await;
    let fast = subscribers.receive(&writer, rate, seconds).await;
    for (count, seen) in [(many, few), (many / 10, fast)] {
        summary::print(&format!("{test}: {count} subscribers: {seen}"));
    }
}

/// Signs up subscribers; returns their tokens.
async fn subscribers(context: &ClientContext, count: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for number in 0..count {
        let id = sign_up(context, &format!("subscriber{number}")).await;
        let path = format!("/users/{id}/roles/subscriber");
        context.services[0]
            .request(reqwest::Method::PUT, &path)
            .bearer(&context.token)
            .send()
            .await
            .expect(204);
        let email = format!("subscriber{number}@example.com");
        let answer = context.services[0].log_in(&email, PASSWORD).await.expect(200).json();
        tokens.push(answer["access_token"].as_str().unwrap().to_owned());
    }
    tokens
}

/// Signs a user up; returns the id.
async fn sign_up(context: &ClientContext, name: &str) -> String {
    let body = json!({"email": format!("{name}@example.com"), "username": name, "password": PASSWORD});
    let answer = context.services[0].post("/auth/signup").json(&body).send().await.expect(201).json();
    answer["id"].as_str().unwrap().to_owned()
}

/// Appends events at a fixed rate by granting and revoking roles.
struct Writer {
    service: Client,
    token: String,
    users: Arc<Vec<String>>,
    next: Arc<AtomicUsize>,
}

impl Writer {
    async fn of(context: &ClientContext) -> Self {
        let mut users = Vec::new();
        for number in 0..1_000 {
            users.push(sign_up(context, &format!("changed{number}")).await);
        }
        let (service, token) = (context.services[0].clone(), context.token.clone());
        Self { service, token, users: Arc::new(users), next: Arc::default() }
    }

    /// Appends `rate` events per second for `seconds`; returns their number.
    async fn write(&self, rate: u32, seconds: u64) -> u64 {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut writing = JoinSet::new();
        let wanted = u64::from(rate) * seconds;
        for _ in 0..wanted {
            ticks.tick().await;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (round, user) = (number / self.users.len(), &self.users[number % self.users.len()]);
            let method = if round.is_multiple_of(2) { reqwest::Method::PUT } else { reqwest::Method::DELETE };
            let (service, token) = (self.service.clone(), self.token.clone());
            let path = format!("/users/{user}/roles/operator");
            writing.spawn(async move {
                // On a busy machine the read model may lag behind, and the write is refused. The test has a time limit.
                loop {
                    let answer = service.request(method.clone(), &path).bearer(&token).send().await;
                    if answer.status() != 503 {
                        return answer.expect(204);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
            while writing.try_join_next().is_some_and(|written| written.is_ok()) {}
        }
        while let Some(written) = writing.join_next().await {
            written.unwrap();
        }
        wanted
    }

    async fn head(&self) -> u64 {
        let answer = self.service.get("/events?limit=1").bearer(&self.token).send().await.expect(200).json();
        answer["head"].as_u64().unwrap()
    }
}

/// Figures of all subscribers.
struct SubscriberStats {
    open: AtomicUsize,
    /// The position of each subscriber.
    at: Vec<AtomicU64>,
    is_over: AtomicBool,
    delays: std::sync::Mutex<Vec<u64>>,
}

/// Running subscribers.
struct Subscribers {
    stats: Arc<SubscriberStats>,
    from: u64,
    following: JoinSet<()>,
}

impl Subscribers {
    async fn follow(context: &ClientContext, tokens: &[String], count: usize) -> Self {
        let answer =
            context.services[0].get("/events?limit=1").bearer(&context.token).send().await.expect(200);
        let from = answer.json()["head"].as_u64().unwrap();
        let at = (0..count).map(|_| AtomicU64::new(from)).collect();
        let (open, is_over, delays) = Default::default();
        let stats = Arc::new(SubscriberStats { open, at, is_over, delays });
        let mut following = JoinSet::new();
        for number in 0..count {
            let address = context.services[0].address().trim_start_matches("http://").to_owned();
            let (token, of_one) = (tokens[number % tokens.len()].clone(), Arc::clone(&stats));
            following.spawn(async move { follow(&address, &token, &of_one.at[number], &of_one).await });
            // A burst of requests would distort the memory use of idle subscribers.
            if number % OPENED_AT_ONCE == 0 || number + 1 == count {
                eventually("the streams to be open", async || {
                    (stats.open.load(Ordering::Relaxed) > number).then_some(())
                })
                .await;
            }
        }
        Self { stats, from, following }
    }

    /// Appends events at this rate and waits until every subscriber has received all of them.
    async fn receive(&mut self, writer: &Writer, rate: u32, seconds: u64) -> String {
        let begun = Instant::now();
        writer.write(rate, seconds).await;
        let head = writer.head().await;
        let at = || self.stats.at.iter().map(|at| at.load(Ordering::Relaxed));
        eventually_within(TIMEOUT, "every subscriber to receive every event", async || {
            at().all(|at| at == head).then_some(())
        })
        .await;
        let took = begun.elapsed().as_secs_f64();
        self.stats.is_over.store(true, Ordering::Relaxed);
        assert!(self.following.try_join_next().is_none(), "a subscriber's stream has ended");
        let delivered: u64 = at().map(|at| at - self.from).sum();
        let mut delays = self.stats.delays.lock().unwrap();
        delays.sort_unstable();
        let delay = |of: usize| delays.get(delays.len() * of / 100).copied().unwrap_or_default();
        format!(
            "{} events in {took:.1} s, {:.0} deliveries a second, none missing, double or out of order; delay p50 {} ms, \
             p99 {} ms",
            head - self.from,
            f64::from(u32::try_from(delivered).unwrap()) / took,
            delay(50),
            delay(99),
        )
    }
}

/// Follows the stream with little overhead: HTTP/1.0 has no chunked encoding.
async fn follow(address: &str, token: &str, place: &AtomicU64, stats: &SubscriberStats) {
    let mut at = place.load(Ordering::Relaxed);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /api/v1/events/stream?after={at} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::with_capacity(4096, stream);
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line).await.unwrap();
    assert!(line.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&line));
    stats.open.fetch_add(1, Ordering::Relaxed);
    let mut id = None;
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).await.unwrap() == 0 {
            assert!(stats.is_over.load(Ordering::Relaxed), "the stream of a subscriber ended at {at}");
            return;
        }
        if let Some(number) = line.strip_prefix(b"id: ") {
            id = Some(str::from_utf8(number).unwrap().trim().parse::<u64>().unwrap());
        } else if let Some(data) = line.strip_prefix(b"data: ") {
            let position = id.take().unwrap();
            assert_eq!(position, at + 1, "after {at}");
            at = position;
            place.store(at, Ordering::Relaxed);
            if position.is_multiple_of(SAMPLE_EVERY) {
                stats.delays.lock().unwrap().push(delay(data));
            }
        }
    }
}

/// The milliseconds since an event was committed.
#[expect(clippy::disallowed_methods, reason = "the service goes by this clock")]
fn delay(data: &[u8]) -> u64 {
    let event: serde_json::Value = serde_json::from_slice(data).unwrap();
    let at: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap().saturating_sub(u64::try_from(at.as_millisecond()).unwrap())
}
