//! A receiver of webhooks that answers as it is told.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::timeouts::eventually;

/// What a receiver does with a request that it has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Answers with this status.
    Status(u16),
    /// Answers 503 and asks for so many seconds.
    RetryAfter(u64),
    /// Answers 302 with that address.
    Redirect(String),
    /// Never answers.
    Hang,
    /// Ends the connection instead of answering.
    Close,
    /// Ends the connection in the middle of an answer that begins well.
    CloseHalfway,
}

/// A request that has arrived.
#[derive(Clone, Debug)]
pub struct ReceivedDelivery {
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// As it was sent.
    pub body: String,
    /// What was done with it.
    pub reply: Reply,
}

impl ReceivedDelivery {
    /// Whether its sender was told that it has arrived.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self.reply, Reply::Status(200..300))
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The position of the event in it.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.json()["position"].as_u64().unwrap()
    }
}

/// A receiver that listens on a port of its own, until it is dropped.
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
}

impl WebhookReceiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            always: Reply::Status(204),
            next: VecDeque::new(),
            deliveries: Vec::new(),
            connections: 0,
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

    /// Its address, with a name in it or not.
    #[must_use]
    pub fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/events?token=hush", self.address.port())
    }

    /// Does these next, in order, and what it always does afterwards.
    pub fn queue_replies(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.state).next.extend(replies);
    }

    /// Does this from now on.
    pub fn set_default_reply(&self, reply: Reply) {
        lock(&self.state).always = reply;
    }

    /// All that has arrived.
    #[must_use]
    pub fn deliveries(&self) -> Vec<ReceivedDelivery> {
        lock(&self.state).deliveries.clone()
    }

    /// How many connections were ever made.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// What was accepted, once it is at least so many.
    pub async fn wait_for_accepted(&self, count: usize) -> Vec<ReceivedDelivery> {
        eventually("deliveries", async || {
            let accepted: Vec<_> =
                self.deliveries().into_iter().filter(ReceivedDelivery::is_accepted).collect();
            (accepted.len() >= count).then_some(accepted)
        })
        .await
    }

    /// All that has arrived, once it is at least so much.
    pub async fn wait_for_deliveries(&self, count: usize) -> Vec<ReceivedDelivery> {
        eventually("deliveries", async || Some(self.deliveries()).filter(|arrived| arrived.len() >= count))
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
            Reply::Status(status) => format!("HTTP/1.1 {status} Told\r\ncontent-length: 0\r\n\r\n"),
            Reply::RetryAfter(seconds) => {
                format!("HTTP/1.1 503 Busy\r\nretry-after: {seconds}\r\ncontent-length: 0\r\n\r\n")
            }
            Reply::Redirect(to) => {
                format!("HTTP/1.1 302 There\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
            }
            Reply::Hang => std::future::pending().await,
            Reply::Close => return,
            Reply::CloseHalfway => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || reply == Reply::CloseHalfway {
            return;
        }
    }
}

/// The next request of a connection; none at its end.
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
