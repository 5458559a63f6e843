//! Metrics of connections.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::http::connections::connection::CloseReason;

/// Clones share their counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionMetrics {
    open: Gauge,
    refused: Family<Reason, Counter>,
    closed: Family<Reason, Counter>,
    requests_refused: Family<Reason, Counter>,
}

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRefusal {
    /// All places are taken by connections with requests in progress.
    Total,
    /// All places of the address are.
    Address,
    /// The address has too many HTTP/2 connections.
    Http2,
}

/// Why a request is not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestRefusal {
    /// The head violates RFC 9112.
    MalformedHead,
    /// Too many requests are in progress, in total or of one address, or their bodies take too much memory.
    InProgress,
    /// Too many bytes of answers are unsent.
    UnsentAnswers,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl ConnectionMetrics {
    pub(crate) fn set_open(&self, open: usize) {
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub(crate) fn refused(&self, refusal: ConnectionRefusal) {
        count(&self.refused, refusal_name(refusal));
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        count(&self.closed, close_name(reason));
    }

    pub(crate) fn request_refused(&self, refusal: RequestRefusal) {
        count(&self.requests_refused, request_refusal_name(refusal));
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        // A series that appears with its first count hides that count from `rate`.
        for refusal in [ConnectionRefusal::Total, ConnectionRefusal::Address, ConnectionRefusal::Http2] {
            let _made = self.refused.get_or_create(&Reason { reason: refusal_name(refusal) });
        }
        registry.register("aegis_http_connections", "Open HTTP connections", self.open.clone());
        let refused = "Connections that were not served, by reason";
        registry.register("aegis_http_connections_refused", refused, self.refused.clone());
        let closed = "Connections that the service closed, by reason";
        registry.register("aegis_http_connections_closed", closed, self.closed.clone());
        let requests = "Requests that were not handled, by reason";
        registry.register("aegis_http_requests_refused", requests, self.requests_refused.clone());
    }
}

fn count(family: &Family<Reason, Counter>, reason: &'static str) {
    family.get_or_create(&Reason { reason }).inc();
}

const fn refusal_name(refusal: ConnectionRefusal) -> &'static str {
    match refusal {
        ConnectionRefusal::Total => "connection_limit",
        ConnectionRefusal::Address => "address_limit",
        ConnectionRefusal::Http2 => "http2_limit",
    }
}

const fn close_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Idle => "idle",
        CloseReason::Evicted => "evicted",
        CloseReason::HeadTimeout => "head_timeout",
        CloseReason::Stalled => "stalled",
        CloseReason::Shutdown => "shutdown",
    }
}

const fn request_refusal_name(refusal: RequestRefusal) -> &'static str {
    match refusal {
        RequestRefusal::MalformedHead => "malformed_head",
        RequestRefusal::InProgress => "in_progress",
        RequestRefusal::UnsentAnswers => "unsent_answers",
    }
}
