//! The body of an answer. It belongs to its exchange until the last byte is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::Response;
use hyper::body::{Body as HttpBody, Buf, Bytes, Frame, SizeHint};

use crate::http::connections::exchange::Exchange;
use crate::http::connections::memory::AnswerCharge;

/// With HTTP/2, the end of a larger answer is sent only after all of its bytes were, so that the task of its
/// stream can be ended while the client does not take them. The library would otherwise end the task as soon
/// as it holds the bytes, and nothing could reset the stream.
const SMALL: u64 = 4 * 1024;

pub(super) struct AnswerBody {
    body: Body,
    exchange: Arc<Exchange>,
    charge: Option<AnswerCharge>,
    waits_for_sending: bool,
    is_over: bool,
}

impl AnswerBody {
    pub(super) fn attach(
        mut response: Response<Body>,
        exchange: Arc<Exchange>,
        is_http2: bool,
    ) -> Response<Self> {
        let charge = response.extensions_mut().remove::<AnswerCharge>();
        response.map(|body| {
            let is_small = body.size_hint().upper().is_some_and(|size| size <= SMALL);
            let is_over = body.is_end_stream();
            Self { body, exchange, charge, waits_for_sending: is_http2 && !is_small, is_over }
        })
    }
}

impl HttpBody for AnswerBody {
    type Data = AnswerBytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<AnswerBytes>, axum::Error>>> {
        let this = &mut *self;
        if !this.is_over {
            if let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                // A body with trailers is over after them; the service has none.
                let frame = frame.map(|frame| {
                    frame.map_data(|bytes| AnswerBytes::new(bytes, &this.exchange, this.charge.clone()))
                });
                return Poll::Ready(Some(frame));
            }
            this.is_over = true;
        }
        if this.waits_for_sending {
            ready!(this.exchange.poll_sent(cx));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        if self.waits_for_sending { self.is_over } else { self.body.is_end_stream() }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A part of a body, which records how much of it is sent.
pub(super) struct AnswerBytes {
    bytes: Bytes,
    exchange: Arc<Exchange>,
    /// Dropped with the last part.
    _charge: Option<AnswerCharge>,
}

impl AnswerBytes {
    fn new(bytes: Bytes, exchange: &Arc<Exchange>, charge: Option<AnswerCharge>) -> Self {
        exchange.add_unsent(bytes.len());
        Self { bytes, exchange: Arc::clone(exchange), _charge: charge }
    }
}

impl Buf for AnswerBytes {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if count > 0 {
            self.exchange.sent(count);
        }
    }
}

impl Drop for AnswerBytes {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.exchange.discarded(self.bytes.len());
        }
    }
}
