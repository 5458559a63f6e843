//! A load generator for HTTP/1.1. Throughput is measured in a closed loop, in which each connection sends a request as
//! soon as the answer to the last one has come; latency in an open loop, in which requests are due at a fixed rate
//! whether earlier ones were answered or not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::error::BenchError;
use crate::load_thread;
use crate::target::per_second;
use crate::time_slice::TimeSlice;

/// Requests in progress.
const CONNECTIONS: usize = 64;
const BUFFER_BYTES: usize = 4096;

/// The request of that number.
pub(crate) type Requests = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// Closed loop: sends requests with ascending numbers until the slice is over, at least one on each connection; returns
/// how many were answered with success per second.
pub(crate) async fn requests_per_second(
    address: SocketAddr,
    requests: &Requests,
    slice: &TimeSlice,
) -> Result<f64, BenchError> {
    let (requests, slice) = (Arc::clone(requests), slice.clone());
    load_thread::run(move || closed_loop(address, requests, slice)).await
}

async fn closed_loop(address: SocketAddr, requests: Requests, slice: TimeSlice) -> Result<f64, BenchError> {
    let (mut connections, next) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        let (requests, next, slice) = (Arc::clone(&requests), Arc::clone(&next), slice.clone());
        connections.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut answered = 0;
            while answered == 0 || !slice.is_over() {
                slice.check()?;
                let request = requests(next.fetch_add(1, Ordering::Relaxed));
                answered += u64::from(connection.is_answered_with_success(&request).await?);
            }
            Ok::<_, BenchError>(answered)
        });
    }
    let mut answered = 0;
    while let Some(done) = connections.join_next().await {
        answered += done.map_err(BenchError::invalid)??;
    }
    Ok(per_second(answered, begun.elapsed()))
}

/// Open loop: sends `rate` requests a second until `is_done`, and at least one; returns how long after each was due it
/// was answered. Fails if one is not answered with success.
pub(crate) async fn latencies(
    address: SocketAddr,
    requests: &Requests,
    rate: u32,
    is_done: impl Fn() -> bool + Clone + Send + 'static,
) -> Result<Vec<Duration>, BenchError> {
    let requests = Arc::clone(requests);
    load_thread::run(move || open_loop(address, requests, rate, is_done)).await
}

async fn open_loop(
    address: SocketAddr,
    requests: Requests,
    rate: u32,
    is_done: impl Fn() -> bool + Clone + Send + 'static,
) -> Result<Vec<Duration>, BenchError> {
    let mut opened = Vec::new();
    for _ in 0..CONNECTIONS {
        opened.push(Connection::open(address).await?);
    }
    let (mut connections, next) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    for mut connection in opened {
        let (requests, next, is_done) = (Arc::clone(&requests), Arc::clone(&next), is_done.clone());
        connections.spawn(async move {
            let mut took = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = begun + Duration::from_secs_f64(as_f64(number) / f64::from(rate));
                sleep_until(due).await;
                if is_done() && number > 0 {
                    return Ok::<_, BenchError>(took);
                }
                if !connection.is_answered_with_success(&requests(number)).await? {
                    return Err(BenchError::invalid("the service was overloaded (503)"));
                }
                took.push(due.elapsed());
            }
        });
    }
    let mut took = Vec::new();
    while let Some(done) = connections.join_next().await {
        took.extend(done.map_err(BenchError::invalid)??);
    }
    Ok(took)
}

fn as_f64(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

pub(crate) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, BenchError> {
        let connected = TcpStream::connect(address).await;
        let stream = connected.map_err(BenchError::io("connecting to the service"))?;
        stream.set_nodelay(true).map_err(BenchError::io("connecting to the service"))?;
        Ok(Self { stream, answer: Vec::with_capacity(BUFFER_BYTES) })
    }

    pub(crate) async fn is_answered_with_success(&mut self, request: &[u8]) -> Result<bool, BenchError> {
        self.stream.write_all(request).await.map_err(BenchError::io("sending a request"))?;
        self.answer.clear();
        loop {
            if let Some(is_success) = complete_answer(&self.answer)? {
                return Ok(is_success);
            }
            let read = self.stream.read_buf(&mut self.answer).await;
            if read.map_err(BenchError::io("reading an answer"))? == 0 {
                return Err(BenchError::invalid("the service closed the connection"));
            }
        }
    }
}

/// Whether the answer is a success; `None` until all of it has come. An overloaded service answers 503, which does not
/// count.
fn complete_answer(answer: &[u8]) -> Result<Option<bool>, BenchError> {
    const END: &[u8] = b"\r\n\r\n";
    const LENGTH: &str = "content-length: ";
    let Some(head) = answer.windows(END.len()).position(|window| window == END) else { return Ok(None) };
    let head = str::from_utf8(answer.get(..head).unwrap_or_default()).map_err(BenchError::invalid)?;
    let is_success = head.starts_with("HTTP/1.1 20");
    if !is_success && !head.starts_with("HTTP/1.1 503 ") {
        return Err(BenchError::invalid(format!("an answer is no success: {head}")));
    }
    let length = head.lines().find_map(|line| line.strip_prefix(LENGTH)?.parse::<usize>().ok());
    let length = length.ok_or_else(|| BenchError::invalid(format!("an answer has no length: {head}")))?;
    Ok((answer.len() >= head.len() + END.len() + length).then_some(is_success))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_complete_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        for length in 0..answer.len() {
            assert_eq!(complete_answer(&answer[..length]).unwrap(), None, "{length}");
        }
        assert_eq!(complete_answer(answer).unwrap(), Some(true));
        let unavailable = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(complete_answer(unavailable).unwrap(), Some(false));
        assert!(complete_answer(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(complete_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
