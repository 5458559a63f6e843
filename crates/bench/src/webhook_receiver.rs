//! A receiver of webhooks in a thread of its own, which accepts every delivery.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::BenchError;
use crate::load_thread::{self, CpuUsage};

const ACCEPTED: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// How often its share of the CPU is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// A delivery: the position of its event, and when it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) position: u64,
    pub(crate) at: Instant,
}

/// Runs until it is dropped.
pub(crate) struct WebhookReceiver {
    address: SocketAddr,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// Why the receiver has ended, if it has.
    failure: Arc<Mutex<Option<BenchError>>>,
    stop: CancellationToken,
}

impl WebhookReceiver {
    pub(crate) async fn start() -> Result<Self, BenchError> {
        let (started, address) = oneshot::channel();
        let (sender, deliveries) = mpsc::unbounded_channel();
        let (stop, failure) = (CancellationToken::new(), Arc::new(Mutex::new(None)));
        let (stopped, reported) = (stop.clone(), Arc::clone(&failure));
        tokio::spawn(async move {
            let done = load_thread::run(move || receive(started, sender, stopped)).await;
            *reported.lock().unwrap_or_else(PoisonError::into_inner) = done.err();
        });
        let address = address.await.map_err(|_| BenchError::invalid("no receiver of webhooks"))?;
        Ok(Self { address, deliveries, failure, stop })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// The next delivery, or why there is none within that time.
    pub(crate) async fn next(&mut self, within: Duration) -> Result<Delivery, BenchError> {
        match tokio::time::timeout(within, self.deliveries.recv()).await {
            Ok(Some(delivery)) => Ok(delivery),
            Ok(None) => {
                let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(failure.unwrap_or_else(|| BenchError::invalid("the receiver of webhooks has ended")))
            }
            Err(_) => Err(BenchError::invalid(format!("a webhook was not delivered within {within:?}"))),
        }
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn receive(
    started: oneshot::Sender<SocketAddr>,
    deliveries: mpsc::UnboundedSender<Delivery>,
    stop: CancellationToken,
) -> Result<(), BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(BenchError::io("listening"))?;
    let _sent = started.send(listener.local_addr().map_err(BenchError::io("listening"))?);
    let (mut connections, mut usage) = (JoinSet::new(), CpuUsage::start());
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.map_err(BenchError::io("accepting webhooks"))?;
                connections.spawn(serve(stream, deliveries.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = check.tick() => {
                usage.check()?;
                usage = CpuUsage::start();
            }
            () = stop.cancelled() => return Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct EventPosition {
    position: u64,
}

/// Ends with the connection; the sender makes up for what was not accepted.
async fn serve(stream: TcpStream, deliveries: mpsc::UnboundedSender<Delivery>) -> Option<()> {
    const LENGTH: &str = "content-length: ";
    let (mut stream, mut line, mut body) = (BufReader::new(stream), String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(found) = line.to_ascii_lowercase().strip_prefix(LENGTH) {
                length = found.trim_end().parse().ok()?;
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).await.ok()?;
        let at = Instant::now();
        stream.write_all(ACCEPTED).await.ok()?;
        let EventPosition { position } = serde_json::from_slice(&body).ok()?;
        deliveries.send(Delivery { position, at }).ok()?;
    }
}
