//! A timeout for the first bytes of a connection. They decide between HTTP/1 and HTTP/2, and the library
//! waits for them without a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// The length of the HTTP/2 connection preface (RFC 9113 §3.4). After it the protocol is known, and its own
/// timeouts apply.
const PREFACE: usize = 24;

/// A stream whose first bytes must arrive before a deadline.
pub(super) struct FirstByteTimeout<S> {
    stream: S,
    awaited: usize,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> FirstByteTimeout<S> {
    pub(super) fn new(stream: S, bound: Duration) -> Self {
        Self { stream, awaited: PREFACE, deadline: Some(Box::pin(sleep(bound))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstByteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some(deadline) = self.deadline.as_mut() else { return read };
        if read.is_pending() {
            return deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.awaited = self.awaited.saturating_sub(buf.filled().len() - before);
        if self.awaited == 0 {
            self.deadline = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstByteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const BOUND: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_connection_without_a_preface_times_out() {
        for begun in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
            let (mut client, server) = duplex(64);
            let mut server = FirstByteTimeout::new(server, BOUND);
            client.write_all(begun).await.unwrap();
            let error = server.read_exact(&mut [0; PREFACE]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn a_connection_that_has_sent_the_preface_is_not_timed_out() {
        let (mut client, server) = duplex(64);
        let mut server = FirstByteTimeout::new(server, BOUND);
        client.write_all(&[b'x'; PREFACE]).await.unwrap();
        server.read_exact(&mut [0; PREFACE]).await.unwrap();
        assert!(tokio::time::timeout(BOUND * 3, server.read_u8()).await.is_err(), "it keeps waiting");
    }
}
