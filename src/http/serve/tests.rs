use std::convert::Infallible;
use std::net::IpAddr;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use h2::client::SendRequest;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::http::connections::connection::{HEAD_TIMEOUT, IDLE_TIMEOUT, STALL_TIMEOUT, STREAM_STALL_TIMEOUT};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const LARGE: usize = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// A server with this many connections, which are checked every second.
fn server(max: usize) -> Arc<Connections> {
    let limits = ConnectionLimits::new(max);
    let all = Arc::new(Connections::new(limits, Vec::new(), ConnectionMetrics::default()));
    let checked = Arc::downgrade(&all);
    tokio::spawn(async move {
        while let Some(all) = checked.upgrade() {
            all.check(Instant::now());
            drop(all);
            sleep(CHECK_INTERVAL).await;
        }
    });
    all
}

/// The client end of a served connection.
fn connect(all: &Arc<Connections>) -> DuplexStream {
    let (client, server) = duplex(4096);
    let open = OpenConnection { connection: all.admit(PEER).unwrap(), all: Arc::clone(all) };
    tokio::spawn(async move {
        let service = service_fn(answer);
        serve_connection(server, Arc::clone(&open.connection), &open.all, Peer(PEER), service).await;
    });
    client
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let body = match request.uri().path() {
        "/large" => Body::from(Bytes::from(vec![b'x'; LARGE])),
        "/small" => Body::from("small"),
        "/never" => std::future::pending().await,
        _ => Body::empty(),
    };
    Ok(Response::new(body))
}

async fn is_answered(client: &mut DuplexStream) -> bool {
    let mut answer = [0; 15];
    client.write_all(REQUEST).await.is_ok()
        && client.read_exact(&mut answer).await.is_ok()
        && answer == *b"HTTP/1.1 200 OK"
}

/// Reads the rest of the answer.
async fn skip(client: &mut DuplexStream) {
    let mut last = [0; 4];
    while last != *b"\r\n\r\n" {
        last.rotate_left(1);
        last[3] = client.read_u8().await.unwrap();
    }
}

#[track_caller]
fn assert_took(started: Instant, expected: Duration) {
    let took = started.elapsed();
    assert!(took >= expected && took <= expected + 2 * SECOND, "{took:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_those_of_proxies_and_then_closes() {
    let mut client = connect(&server(16));
    assert!(is_answered(&mut client).await);
    skip(&mut client).await;
    sleep(Duration::from_secs(70)).await;
    assert!(is_answered(&mut client).await);
    skip(&mut client).await;
    let started = Instant::now();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_took(started, IDLE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_after_ten_seconds() {
    let started = Instant::now();
    for begun in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
        let mut client = connect(&server(16));
        client.write_all(begun).await.unwrap();
        let started = Instant::now();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        assert_took(started, Duration::from_secs(10));
    }
    assert_took(started, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_head_has_to_be_complete_ten_seconds_after_its_first_byte() {
    let all = server(16);
    for is_used in [false, true] {
        let mut client = connect(&all);
        if is_used {
            assert!(is_answered(&mut client).await);
            skip(&mut client).await;
            sleep(IDLE_TIMEOUT.saturating_sub(5 * SECOND)).await;
        }
        let started = Instant::now();
        let (mut read, mut write) = tokio::io::split(client);
        let trickle = async {
            for byte in REQUEST {
                drop(write.write_all(&[*byte]).await);
                sleep(4 * SECOND).await;
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            () = trickle => panic!("the connection is still open"),
            end = read.read_to_end(&mut answer) => drop(end),
        }
        assert_took(started, HEAD_TIMEOUT);
    }
    all.closed().await;
}

/// An HTTP/2 client that takes this many bytes of each answer. It answers pings until it is closed.
async fn http2(client: DuplexStream, window: u32) -> (SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let handshake = h2::client::Builder::new().initial_window_size(window).handshake(client);
    let (requests, connection) = handshake.await.unwrap();
    let driver = tokio::spawn(async move { drop(connection.await) });
    (requests, driver)
}

async fn get(requests: &SendRequest<Bytes>, path: &str) -> Result<h2::RecvStream, h2::Error> {
    let request = Request::get(format!("http://a{path}")).body(()).unwrap();
    let (response, _) = requests.clone().ready().await?.send_request(request, true)?;
    let response = response.await?;
    assert_eq!(response.status(), StatusCode::OK);
    Ok(response.into_body())
}

/// All of a body.
async fn read(mut body: h2::RecvStream) -> Result<usize, h2::Error> {
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        length += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(length)
}

#[tokio::test(start_paused = true)]
async fn http2_answers_arrive_complete() {
    let (requests, _driver) = http2(connect(&server(16)), 65_535).await;
    for (path, length) in [("/", 0), ("/small", 5), ("/large", LARGE)] {
        assert_eq!(read(get(&requests, path).await.unwrap()).await.unwrap(), length, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_without_streams_is_closed_when_idle() {
    let all = server(16);
    let (requests, driver) = http2(connect(&all), 65_535).await;
    let never = tokio::spawn({
        let requests = requests.clone();
        async move { get(&requests, "/never").await.map(drop) }
    });
    sleep(IDLE_TIMEOUT * 2).await;
    assert!(!driver.is_finished(), "a stream is open");
    never.abort();
    drop(never.await);
    let started = Instant::now();
    driver.await.unwrap();
    assert_took(started, IDLE_TIMEOUT);
    drop(requests);
    all.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_progress_is_reset_and_the_others_go_on() {
    let all = server(16);
    let (requests, driver) = http2(connect(&all), 1000).await;
    let stalled = get(&requests, "/large").await.unwrap();
    let started = Instant::now();
    let others = async {
        while started.elapsed() < STREAM_STALL_TIMEOUT * 2 {
            assert_eq!(read(get(&requests, "/small").await.unwrap()).await.unwrap(), 5);
            sleep(SECOND).await;
        }
    };
    let stalled = async {
        let mut body = stalled;
        while let Some(data) = body.data().await {
            // Nothing is released.
            if let Err(error) = data {
                assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
                return assert_took(started, STREAM_STALL_TIMEOUT);
            }
        }
        panic!("the answer is complete");
    };
    tokio::join!(others, stalled);
    assert!(!driver.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_none_of_its_answers_is_closed() {
    let all = server(16);
    // As soon as it may send one byte, the library holds so small an answer without a task for its stream.
    let (requests, driver) = http2(connect(&all), 1).await;
    let _unread = get(&requests, "/small").await.unwrap();
    let started = Instant::now();
    driver.await.unwrap();
    assert_took(started, STREAM_STALL_TIMEOUT);
    all.closed().await;
}

#[tokio::test(start_paused = true)]
async fn an_http1_client_that_does_not_read_is_closed() {
    let all = server(16);
    let mut client = connect(&all);
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let started = Instant::now();
    all.closed().await;
    assert_took(started, STALL_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_requests_of_an_address_are_refused_and_can_be_sent_again() {
    let all = server(16);
    let (requests, _driver) = http2(connect(&all), 65_535).await;
    let mut pending = Vec::new();
    for _ in 0..4 {
        let requests = requests.clone();
        pending.push(tokio::spawn(async move { get(&requests, "/never").await.map(drop) }));
    }
    tokio::task::yield_now().await;
    sleep(SECOND).await;
    let error = get(&requests, "/").await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    pending.pop().unwrap().abort();
    sleep(SECOND).await;
    drop(get(&requests, "/").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn stalled_and_idle_connections_do_not_hold_a_stop() {
    let all = server(64);
    let (requests, _driver) = http2(connect(&all), 0).await;
    let _unread = (get(&requests, "/large").await.unwrap(), get(&requests, "/small").await.unwrap());
    let mut unread = connect(&all);
    unread.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut half = connect(&all);
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let silent = connect(&all);
    let (idle, _idle_driver) = http2(connect(&all), 65_535).await;
    sleep(SECOND).await;
    let started = Instant::now();
    drain(&all).await;
    assert!(started.elapsed() < 4 * SECOND, "{:?}", started.elapsed());
    drop((silent, idle));
}

#[tokio::test(start_paused = true)]
async fn a_request_in_progress_is_completed_by_a_stop() {
    let all = server(16);
    let (requests, _driver) = http2(connect(&all), 65_535).await;
    let body = get(&requests, "/large").await.unwrap();
    let (length, ()) = tokio::join!(
        async {
            sleep(SECOND / 2).await;
            read(body).await
        },
        drain(&all)
    );
    assert_eq!(length.unwrap(), LARGE);
}

#[test]
fn the_answer_to_a_refused_connection_is_valid() {
    let (head, body) = str::from_utf8(REFUSED).unwrap().split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{} bytes", body.len());
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "busy");
}
