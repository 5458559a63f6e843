//! A webhook receiver with programmable replies.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::timeouts::eventually;

/// How the receiver replies to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status and keeps the connection open, but closes it when the next request arrives.
    StatusThenClose(u16),
    /// Answers 503 with `Retry-After` in seconds.
    RetryAfter(u64),
    /// Answers 302 with this `Location`.
    Redirect(String),
    /// Never answers.
    Hang,
    /// Answers with this status once [`WebhookReceiver::release`] is called.
    Held(u16),
    /// Closes the connection without an answer.
    Close,
    /// Closes the connection in the middle of a 200 response.
    CloseHalfway,
}

/// A received webhook request.
#[derive(Clone, Debug)]
pub struct ReceivedDelivery {
    /// The headers, with names in lower case.
    pub headers: HashMap<String, String>,
    /// The body as sent.
    pub body: String,
    /// The reply it got.
    pub reply: Reply,
}

impl ReceivedDelivery {
    /// Whether the reply was 2xx.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self.reply, Reply::Status(200..300) | Reply::StatusThenClose(200..300))
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The position of its event.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.json()["position"].as_u64().unwrap()
    }
}

/// A receiver that listens on a free port until it is dropped.
pub struct WebhookReceiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    always: Reply,
    next: VecDeque<Reply>,
    deliveries: Vec<ReceivedDelivery>,
    connections: usize,
    released: Arc<Semaphore>,
}

impl WebhookReceiver {
    /// Starts a receiver that accepts every request (204).
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            always: Reply::Status(204),
            next: VecDeque::new(),
            deliveries: Vec::new(),
            connections: 0,
            released: Arc::new(Semaphore::new(0)),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                lock(&shared).connections += 1;
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state, task }
    }

    /// The URL with this host name or address.
    #[must_use]
    pub fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/events?token=hush", self.address.port())
    }

    /// Queues replies; after them the default reply applies again.
    pub fn queue_replies(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.state).next.extend(replies);
    }

    /// Sets the default reply.
    pub fn set_default_reply(&self, reply: Reply) {
        lock(&self.state).always = reply;
    }

    /// Answers the oldest, or the next, request that is [held](Reply::Held).
    pub fn release(&self) {
        lock(&self.state).released.add_permits(1);
    }

    /// All received requests.
    #[must_use]
    pub fn deliveries(&self) -> Vec<ReceivedDelivery> {
        lock(&self.state).deliveries.clone()
    }

    /// The number of connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// Waits for at least `count` accepted requests and returns them.
    pub async fn wait_for_accepted(&self, count: usize) -> Vec<ReceivedDelivery> {
        eventually("deliveries", async || {
            let accepted: Vec<_> =
                self.deliveries().into_iter().filter(ReceivedDelivery::is_accepted).collect();
            (accepted.len() >= count).then_some(accepted)
        })
        .await
    }

    /// Waits for at least `count` requests and returns them.
    pub async fn wait_for_deliveries(&self, count: usize) -> Vec<ReceivedDelivery> {
        eventually("deliveries", async || Some(self.deliveries()).filter(|received| received.len() >= count))
            .await
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Some((headers, body)) = read(&mut stream).await {
        let reply = {
            let mut state = lock(&state);
            let reply = state.next.pop_front().unwrap_or_else(|| state.always.clone());
            state.deliveries.push(ReceivedDelivery { headers, body, reply: reply.clone() });
            reply
        };
        let answer = match &reply {
            Reply::Status(status) | Reply::StatusThenClose(status) => {
                format!("HTTP/1.1 {status} Reply\r\ncontent-length: 0\r\n\r\n")
            }
            Reply::RetryAfter(seconds) => {
                format!("HTTP/1.1 503 Busy\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n")
            }
            Reply::Redirect(to) => {
                format!("HTTP/1.1 302 There\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
            }
            Reply::Held(status) => {
                let released = Arc::clone(&lock(&state).released);
                released.acquire().await.unwrap().forget();
                format!("HTTP/1.1 {status} Reply\r\ncontent-length: 0\r\n\r\n")
            }
            Reply::Hang => std::future::pending().await,
            Reply::Close => return,
            Reply::CloseHalfway => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || reply == Reply::CloseHalfway {
            return;
        }
        if let Reply::StatusThenClose(_) = reply {
            read(&mut stream).await;
            return;
        }
    }
}

/// Reads the next request of a connection; `None` at its end.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<(HashMap<String, String>, String)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some((headers, String::from_utf8(body).unwrap()))
}
