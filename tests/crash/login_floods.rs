//! Floods of logins from one address, with HTTP/1 and HTTP/2: the logins of a client at another address succeed, its
//! requests are answered, and memory stays bounded. Two seconds by default, twenty with `AEGIS_TEST_LONG=1`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use serde_json::json;
use tempfile::TempDir;
use testkit::service::{Client, run_test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::client_write::PASSWORD;
use crate::cluster::Cluster;
use crate::summary;
use crate::test_config::TestConfig;

/// HTTP/1 connections of the flood.
const HTTP1_CLIENTS: usize = 300;
/// HTTP/2 connections of the flood, and how many requests each has in progress.
const HTTP2_CLIENTS: usize = 4;
const HTTP2_STREAMS: usize = 180;
/// The pause of a client of the flood between two requests: together they send a few thousand per second, and leave
/// the service some of the machine.
const PAUSE: Duration = Duration::from_millis(200);
/// Another address of this machine.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const EMAIL: &str = "honest@example.com";
/// Time between two logins of the honest client, well below its limit, and between two other requests.
const LOGIN_INTERVAL: Duration = Duration::from_millis(250);
const REQUEST_INTERVAL: Duration = Duration::from_millis(10);
/// Logins of the honest client during the flood, at least.
const LOGINS: usize = 8;
/// What the service may use beside password hashing.
const MEMORY_KIB: u64 = 100 * 1024;
const HASH_MEMORY_KIB: u64 = 19_456;
const HASH_THREADS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_logins_succeed_during_a_flood_of_logins() {
    run_test(async {
        let (data, config) = (TempDir::new().unwrap(), TestConfig::from_env());
        let mut cluster = Cluster::embedded(data.path())
            .with("AEGIS_RATE_LIMITS", "on")
            .with("AEGIS_HASH_THREADS", &HASH_THREADS.to_string());
        if config.is_long {
            cluster = cluster.with("AEGIS_ARGON2_MEMORY_KIB", &HASH_MEMORY_KIB.to_string());
        }
        let duration = Duration::from_secs(if config.is_long { 20 } else { 2 });
        cluster.start_all(Duration::from_secs(30)).await;
        let honest = cluster.service(0).client().at_local_address(OTHER);
        let user = json!({ "email": EMAIL, "username": "honest", "password": PASSWORD });
        honest.post("/auth/signup").json(&user).send().await.expect(201);
        let token = honest.log_in(EMAIL, PASSWORD).await.expect(200).json();
        let token = token["access_token"].as_str().unwrap();

        let idle = Answers::collect(&honest, token, duration, 0).await;
        let answered = Arc::new(AtomicUsize::new(0));
        let flood = flood(honest.address(), &answered);
        let mut flooded = Answers::collect(&honest, token, duration, LOGINS).await;
        let memory = cluster.service(0).anonymous_memory_kib();
        let attacks = answered.load(Ordering::Relaxed);
        drop(flood);
        let (before, during) = (p99(idle.latencies), p99(std::mem::take(&mut flooded.latencies)));
        summary::print(&format!(
            "flood of logins: {attacks} answered, {} of {} honest logins succeeded, {} of {} other requests; p99 of \
             /users/me {:.1} ms, without the flood {:.1} ms; {memory} KiB",
            flooded.logins.1,
            flooded.logins.0,
            flooded.requests.1,
            flooded.requests.0,
            during.as_secs_f64() * 1000.0,
            before.as_secs_f64() * 1000.0,
        ));
        assert!(attacks > 0);
        for (sent, succeeded) in [flooded.logins, flooded.requests] {
            assert!(succeeded * 100 >= sent * 99, "{succeeded} of {sent} honest requests succeeded");
        }
        assert!(memory <= MEMORY_KIB + HASH_THREADS * HASH_MEMORY_KIB, "{memory} KiB");
        // A debug build beside other tests is no measure of latencies.
        let bound = (before * 5).max(Duration::from_millis(10));
        assert!(!config.is_long || during < bound, "p99 of /users/me is {during:?}, bound {bound:?}");
        cluster.assert_running();
    })
    .await;
}

/// What the honest client got: sent and successful logins and other requests.
#[derive(Default)]
struct Answers {
    logins: (usize, usize),
    requests: (usize, usize),
    latencies: Vec<Duration>,
}

impl Answers {
    /// Logs in and sends `GET /users/me` for this time, and until there were `logins`.
    async fn collect(client: &Client, token: &str, duration: Duration, logins: usize) -> Self {
        let mut found = Self::default();
        let end = Instant::now() + duration;
        let [mut next_login, mut next_request] = [LOGIN_INTERVAL, REQUEST_INTERVAL].map(|time| {
            let mut ticks = interval(time);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut pending = JoinSet::new();
        while Instant::now() < end || found.logins.0 < logins {
            tokio::select! {
                _ = next_login.tick() => {
                    let client = client.clone();
                    pending.spawn(async move { client.log_in(EMAIL, PASSWORD).await.status() });
                }
                _ = next_request.tick() => {
                    let sent = Instant::now();
                    let status = client.me(token).await.status();
                    found.latencies.push(sent.elapsed());
                    count(&mut found.requests, status);
                }
                Some(status) = pending.join_next() => count(&mut found.logins, status.unwrap()),
            }
        }
        while let Some(status) = pending.join_next().await {
            count(&mut found.logins, status.unwrap());
        }
        found
    }
}

fn count((sent, succeeded): &mut (usize, usize), status: u16) {
    *sent += 1;
    *succeeded += usize::from(status == 200);
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

/// Clients that log in with a wrong password until dropped. Counts the answers.
fn flood(address: &str, answered: &Arc<AtomicUsize>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 0..HTTP1_CLIENTS + HTTP2_CLIENTS {
        let (address, answered) = (address.to_owned(), Arc::clone(answered));
        clients.spawn(async move {
            loop {
                // The service closes some of so many connections.
                if let Ok(stream) = TcpStream::connect(&address).await {
                    if number < HTTP1_CLIENTS {
                        drop(log_in_with_http1(stream, number, &answered).await);
                    } else {
                        drop(log_in_with_http2(stream, number, &answered).await);
                    }
                }
                sleep(PAUSE).await;
            }
        });
    }
    clients
}

fn form(number: usize) -> String {
    format!("username=stranger{number}@example.com&password=wrong+password")
}

async fn log_in_with_http1(
    mut stream: TcpStream,
    number: usize,
    answered: &AtomicUsize,
) -> std::io::Result<()> {
    let form = form(number);
    let request = format!(
        "POST /api/v1/auth/login/access-token HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    let mut answer = [0; 4096];
    loop {
        stream.write_all(request.as_bytes()).await?;
        if stream.read(&mut answer).await? == 0 {
            return Ok(());
        }
        answered.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
}

async fn log_in_with_http2(
    stream: TcpStream,
    number: usize,
    answered: &AtomicUsize,
) -> Result<(), h2::Error> {
    let (requests, connection) = h2::client::handshake(stream).await?;
    let mut streams = JoinSet::new();
    let send = async {
        loop {
            let mut requests = requests.clone().ready().await?;
            let request = Request::post("http://a/api/v1/auth/login/access-token")
                .header("content-type", "application/x-www-form-urlencoded");
            let (response, mut body) = requests.send_request(request.body(()).unwrap(), false)?;
            body.send_data(Bytes::from(form(number)), true)?;
            streams.spawn(async move { response.await.is_ok() });
            while streams.len() >= HTTP2_STREAMS {
                let done = streams.join_next().await;
                answered.fetch_add(usize::from(done.is_some_and(|done| done.unwrap())), Ordering::Relaxed);
                sleep(PAUSE / u32::try_from(HTTP2_STREAMS).unwrap()).await;
            }
        }
    };
    tokio::select! {
        result = send => result,
        result = connection => result,
    }
}
