//! A load generator for HTTP/1.1 (closed loop): each connection sends a request as soon as the answer to the last one
//! has come. It runs in one thread, so that it takes no more than half of two cores, and says how busy that was.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::target::per_second;
use crate::time_slice::TimeSlice;

/// Requests in progress.
const CONNECTIONS: usize = 64;
/// Above this share of its core, the generator would limit what is measured.
const MAX_BUSY: f64 = 0.97;
/// In a shorter time, opening the connections keeps it busy.
const LEAST_JUDGED: Duration = Duration::from_millis(200);
const BUFFER_BYTES: usize = 4096;

/// The request of that number.
pub(crate) type Requests = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// Sends requests with ascending numbers until the slice is over, at least one on each connection; returns how many
/// were answered with success per second.
pub(crate) async fn requests_per_second(
    address: SocketAddr,
    requests: &Requests,
    slice: &TimeSlice,
) -> Result<f64, BenchError> {
    let (done, result) = oneshot::channel();
    let (requests, slice) = (Arc::clone(requests), slice.clone());
    let generator = thread::Builder::new().name("load".to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(BenchError::io("starting the load generator"));
        // The receiver is gone if the benchmark was interrupted.
        let _sent =
            done.send(runtime.and_then(|runtime| runtime.block_on(generate(address, requests, slice))));
    });
    drop(generator.map_err(BenchError::io("starting the load generator"))?);
    result.await.map_err(BenchError::invalid)?
}

async fn generate(address: SocketAddr, requests: Requests, slice: TimeSlice) -> Result<f64, BenchError> {
    let (mut connections, next) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    let (begun, busy_before) = (Instant::now(), thread_time());
    for _ in 0..CONNECTIONS {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        connections.spawn(send_in_turn(
            address,
            move || requests(next.fetch_add(1, Ordering::Relaxed)),
            slice.clone(),
        ));
    }
    let mut answered = 0;
    while let Some(done) = connections.join_next().await {
        answered += done.map_err(BenchError::invalid)??;
    }
    let took = begun.elapsed();
    let busy = thread_time().saturating_sub(busy_before).as_secs_f64() / took.as_secs_f64();
    if busy > MAX_BUSY && took > LEAST_JUDGED {
        return Err(BenchError::invalid(format!(
            "the load generator was busy for {:.0} % of the time",
            busy * 100.0
        )));
    }
    Ok(per_second(answered, took))
}

async fn send_in_turn(
    address: SocketAddr,
    next_request: impl Fn() -> Vec<u8>,
    slice: TimeSlice,
) -> Result<u64, BenchError> {
    let connected = TcpStream::connect(address).await.map_err(BenchError::io("connecting to the service"))?;
    connected.set_nodelay(true).map_err(BenchError::io("connecting to the service"))?;
    let (mut stream, mut answer, mut answered) = (connected, Vec::with_capacity(BUFFER_BYTES), 0);
    loop {
        slice.check()?;
        stream.write_all(&next_request()).await.map_err(BenchError::io("sending a request"))?;
        answer.clear();
        let is_success = loop {
            if let Some(is_success) = complete_answer(&answer)? {
                break is_success;
            }
            let read = stream.read_buf(&mut answer).await.map_err(BenchError::io("reading an answer"))?;
            if read == 0 {
                return Err(BenchError::invalid("the service closed the connection"));
            }
        };
        answered += u64::from(is_success);
        if slice.is_over() && answered > 0 {
            return Ok(answered);
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

/// How long this thread has run.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
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
