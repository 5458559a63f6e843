//! Graceful shutdown.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PASSWORD, Store, TestApp, credentials, email_of, on_both_stores};

on_both_stores! {
    in_flight_sign_up_is_completed
    new_connections_are_refused_while_stopping
    idle_connections_do_not_delay_shutdown
}

async fn read_until(stream: &mut TcpStream, mark: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(mark) {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "closed before {mark:?}: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&some[..count]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Sends the head of a sign-up and waits until the service asks for the body: the request is in flight.
async fn begin_sign_up(app: &TestApp, name: &str) -> (TcpStream, String) {
    let body = credentials(name).to_string();
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    let head = format!(
        "POST /api/v1/auth/signup HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "100 Continue\r\n\r\n").await;
    (stream, body)
}

async fn in_flight_sign_up_is_completed(store: Store) {
    let app = TestApp::start(store.clone()).await;
    let (mut stream, body) = begin_sign_up(&app, "ada").await;
    app.stop();
    // The shutdown has started and the request is incomplete.
    tokio::task::yield_now().await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    app.stopped().await;
    let again = TestApp::start(store).await;
    again.log_in(&email_of("ada"), PASSWORD).await.expect(200);
}

async fn new_connections_are_refused_while_stopping(store: Store) {
    let app = TestApp::start(store).await;
    let address = app.address().to_owned();
    app.get("/health").send().await.expect(200);
    app.stopped().await;
    assert!(TcpStream::connect(&address).await.is_err(), "it still listens");
}

async fn idle_connections_do_not_delay_shutdown(store: Store) {
    let app = TestApp::start(store).await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        app.get("/health").send().await.expect(200);
        idle.push(TcpStream::connect(app.address()).await.unwrap());
    }
    let started = Instant::now();
    app.stopped().await;
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
}
