//! Floods of connections and requests from one address: the service keeps its memory bounded, and serves
//! clients at other addresses. Two seconds by default, twenty with `AEGIS_TEST_LONG=1`.
//!
//! Each kind of client holds as much of the service as it can: connections, heads and bodies that it does not
//! finish, answers that it does not read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use testkit::service::{DEFAULT_TIMEOUT, run_test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::summary;
use crate::test_config::TestConfig;

/// What the service may use beside password hashing, which this test does not use.
const MEMORY_KIB: u64 = 100 * 1024;
/// Requests of another client during the flood, at least.
const PROBES: usize = 5;
/// Another address of this machine.
const OTHER: [u8; 4] = [127, 0, 0, 2];

#[derive(Clone, Copy, Debug)]
enum Hostile {
    /// Sends the first part of a head.
    HalfHead,
    /// Requests a large file and reads nothing.
    SlowReader,
    /// As many requests for large answers as possible, with HTTP/2, none of which is read.
    UnreadStreams,
    /// As many incomplete bodies as possible, with HTTP/2.
    HalfBodies,
    /// Sends nothing.
    Silent,
}

/// How many of each, in total more than one address may have.
const CLIENTS: [(Hostile, usize); 5] = [
    (Hostile::UnreadStreams, 40),
    (Hostile::HalfBodies, 40),
    (Hostile::SlowReader, 200),
    (Hostile::HalfHead, 1200),
    (Hostile::Silent, 1300),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_from_one_address_is_bounded_and_others_are_served() {
    run_test(async {
        let data = TempDir::new().unwrap();
        let mut cluster = Cluster::embedded(data.path());
        cluster.start_all(Duration::from_secs(30)).await;
        let address: SocketAddr = cluster.service(0).client().address().parse().unwrap();
        let before = cluster.service(0).anonymous_memory_kib();
        let duration = Duration::from_secs(if TestConfig::from_env().is_long { 20 } else { 2 });
        raise_file_limit();
        let connected = Arc::new(AtomicUsize::new(0));
        let flood = flood(address, &connected);
        let expected: usize = CLIENTS.iter().map(|(_, count)| count).sum();
        let end = Instant::now() + duration;
        let (mut most, mut probes) = (0, 0);
        while Instant::now() < end || probes < PROBES || connected.load(Ordering::Relaxed) < expected {
            probe(address).await;
            probes += 1;
            most = most.max(cluster.service(0).anonymous_memory_kib());
            sleep(Duration::from_millis(20)).await;
        }
        drop(flood);
        summary::print(&format!("floods: {before} KiB before, at most {most} KiB; {probes} probes"));
        assert!(most <= MEMORY_KIB, "{most} KiB, before the flood {before} KiB");
        cluster.assert_running();
        // The address is served again.
        let client = cluster.service(0).client();
        client.get("/health").send().await.expect(200);
    })
    .await;
}

/// The clients need as many open files as the service.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Clients that connect again whenever they are disconnected, until dropped. Counts those that have connected
/// once.
fn flood(address: SocketAddr, connected: &Arc<AtomicUsize>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    let kinds = CLIENTS.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count));
    for kind in kinds {
        let connected = Arc::clone(connected);
        clients.spawn(async move {
            let mut is_first = true;
            loop {
                if let Ok(stream) = TcpStream::connect(address).await {
                    connected.fetch_add(usize::from(is_first), Ordering::Relaxed);
                    is_first = false;
                    kind.hold(stream).await;
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
    clients
}

impl Hostile {
    /// Holds a connection until the service closes it.
    async fn hold(self, mut stream: TcpStream) {
        match self {
            Self::Silent => {}
            Self::HalfHead => {
                let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(60_000));
                drop(stream.write_all(head.as_bytes()).await);
            }
            Self::SlowReader => {
                drop(stream.write_all(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n").await);
                return stuck(stream).await;
            }
            Self::UnreadStreams | Self::HalfBodies => return drop(self.hold_streams(stream).await),
        }
        drop(stream.read(&mut [0; 16]).await);
    }

    async fn hold_streams(self, stream: TcpStream) -> Result<(), h2::Error> {
        const STREAMS: usize = 190;
        let mut builder = h2::client::Builder::new();
        let handshake = builder.initial_window_size(0).initial_max_send_streams(STREAMS).handshake(stream);
        let (mut requests, connection) = handshake.await?;
        let mut held = Vec::new();
        let send = async {
            for number in 0..STREAMS {
                requests = requests.ready().await?;
                let paths = ["/docs/swagger-ui-bundle.js", "/api/v1/openapi.json", "/docs/swagger-ui.css"];
                let path = paths[number % paths.len()];
                let is_body = matches!(self, Self::HalfBodies);
                let (method, path) = if is_body { ("POST", "/api/v1/auth/signup") } else { ("GET", path) };
                let request = Request::builder().method(method).uri(format!("http://a{path}"));
                let request = request.header("content-type", "application/json").body(()).unwrap();
                let (response, mut body) = requests.send_request(request, !is_body)?;
                if is_body {
                    body.send_data(Bytes::from(vec![b'['; 60_000]), false)?;
                }
                held.push((response, body));
            }
            std::future::pending().await
        };
        tokio::select! {
            result = send => result,
            result = connection => result,
        }
    }
}

/// Until the service closes the connection, whose data is not read.
async fn stuck(mut stream: TcpStream) {
    loop {
        sleep(Duration::from_millis(200)).await;
        // A closed connection refuses further bytes.
        if stream.write_all(b"\r\n").await.is_err() {
            return;
        }
    }
}

/// A client at another address is served, whatever the flood.
async fn probe(address: SocketAddr) {
    let answer = timeout(DEFAULT_TIMEOUT, async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((OTHER, 0))).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let request = b"GET /api/v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let answer = answer.await.unwrap_or_else(|_| panic!("a client at another address is not served"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
