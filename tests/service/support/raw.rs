//! Raw HTTP requests that no client library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::DEFAULT_TIMEOUT;

/// A minimally parsed response.
#[derive(Clone, Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl RawAnswer {
    /// Parses a response, skipping `100 Continue`; `None` if the connection was closed without one.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head: head.to_owned(), body: body.to_owned() })
    }
}

/// Sends bytes and reads until the service closes the connection; `None` if it did so without a response.
pub(crate) async fn raw(address: &str, request: &[u8]) -> Option<RawAnswer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The service may respond and close before reading everything.
        let _sent = stream.write_all(request).await;
        let _closed = stream.shutdown().await;
        let mut answer = Vec::new();
        let _read = stream.read_to_end(&mut answer).await;
        RawAnswer::parse(&answer)
    };
    tokio::time::timeout(DEFAULT_TIMEOUT, exchange).await.expect("the service neither answered nor closed")
}
