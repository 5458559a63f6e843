//! The bytes of a connection: finds out the protocol, filters HTTP/1 requests, and records what the client
//! sends and takes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::request_filter::RequestFilter;
use crate::http::connections::connection::{Connection, Protocol};
use crate::http::connections::memory::Charge;
use crate::http::metrics::connections::{ConnectionMetrics, RequestRefusal};

/// The HTTP/2 connection preface (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read at once.
const READ_SIZE: usize = 8 * 1024;
/// Incomplete heads are charged in steps of this size; the first step is free.
const HEAD_STEP: usize = 4 * 1024;

/// Reads the first bytes, up to the first that is not of the preface of HTTP/2.
pub(super) async fn detect(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Protocol, Vec<u8>)> {
    let mut read = Vec::with_capacity(PREFACE.len());
    while PREFACE.starts_with(&read) && read.len() < PREFACE.len() {
        let mut limited = (&mut *stream).take(u64::try_from(PREFACE.len() - read.len()).unwrap_or(1));
        if limited.read_buf(&mut read).await? == 0 {
            break;
        }
    }
    let protocol = if read == PREFACE { Protocol::Http2 } else { Protocol::Http1 };
    Ok((protocol, read))
}

/// A stream of a connection whose protocol is known.
pub(super) struct Socket<S> {
    stream: S,
    connection: Arc<Connection>,
    input: Input,
    metrics: ConnectionMetrics,
    head: Option<Charge>,
    is_blocked: bool,
}

enum Input {
    Http1(RequestFilter),
    /// The preface, which was read to detect the protocol.
    Http2(Bytes),
}

impl<S> Socket<S> {
    pub(super) fn new(
        stream: S,
        connection: Arc<Connection>,
        protocol: Protocol,
        first: Vec<u8>,
        metrics: ConnectionMetrics,
    ) -> Self {
        match protocol {
            Protocol::Http2 => Self::with(stream, connection, Input::Http2(first.into()), metrics),
            Protocol::Http1 => {
                let input = Input::Http1(RequestFilter::new());
                let mut socket = Self::with(stream, connection, input, metrics);
                // So few bytes are not charged, which is all that could fail.
                drop(socket.received(&first));
                socket
            }
        }
    }

    fn with(stream: S, connection: Arc<Connection>, input: Input, metrics: ConnectionMetrics) -> Self {
        Self { stream, connection, input, metrics, head: None, is_blocked: false }
    }

    /// Filters bytes of HTTP/1 requests.
    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Input::Http1(filter) = &mut self.input else { return Ok(()) };
        let was_refused = filter.is_refused;
        filter.receive(bytes);
        if filter.is_refused && !was_refused {
            self.metrics.request_refused(RequestRefusal::MalformedHead);
        }
        if !filter.is_within_head() {
            self.head = None;
            self.connection.head_complete();
            return Ok(());
        }
        self.connection.head_begun();
        let steps = filter.held() / HEAD_STEP;
        if self.head.as_ref().map_or(0, Charge::bytes) < steps * HEAD_STEP {
            self.head = None;
            self.head = Charge::take(&self.connection, steps * HEAD_STEP);
            if self.head.is_none() {
                self.metrics.request_refused(RequestRefusal::InProgress);
                return Err(io::ErrorKind::OutOfMemory.into());
            }
        }
        Ok(())
    }

    fn record<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        // Nearly always the socket takes everything, and nothing has to be recorded.
        if written.is_pending() || self.is_blocked {
            self.is_blocked = written.is_pending();
            self.connection.written(self.is_blocked);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.input {
                Input::Http2(first) if first.is_empty() => {
                    return Pin::new(&mut this.stream).poll_read(cx, buf);
                }
                Input::Http2(first) => {
                    buf.put_slice(&first.split_to(first.len().min(buf.remaining())));
                    return Poll::Ready(Ok(()));
                }
                Input::Http1(filter) if !filter.available().is_empty() => {
                    let count = filter.available().len().min(buf.remaining());
                    buf.put_slice(filter.available().get(..count).unwrap_or_default());
                    filter.consume(count);
                    return Poll::Ready(Ok(()));
                }
                Input::Http1(_) => {}
            }
            let mut space = [0; READ_SIZE];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if !read.filled().is_empty() {
                this.received(read.filled())?;
            } else if let Input::Http1(filter) = &mut this.input {
                filter.receive_end();
                if filter.available().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.record(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.record(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.record(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.record(shut_down)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_preface_tells_the_protocol() {
        for (sent, protocol, read) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0"[..], Protocol::Http2, 24),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Protocol::Http1, 24),
            (b"GET / HTTP/1.1\r\n", Protocol::Http1, 16),
            (b"PRI * HT", Protocol::Http1, 8),
            (b"", Protocol::Http1, 0),
        ] {
            let (mut client, mut server) = duplex(64);
            client.write_all(sent).await.unwrap();
            drop(client);
            let (detected, first) = detect(&mut server).await.unwrap();
            assert_eq!((detected, first.len()), (protocol, read), "{sent:?}");
        }
    }
}
