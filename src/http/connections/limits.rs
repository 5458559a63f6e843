//! How much clients may hold at once: connections, requests and memory.

use super::meter::Meter;

/// The part of each limit that one client address may use is a quarter.
const ADDRESS_SHARE: usize = 4;
/// HTTP/2 connections cost several times the memory of HTTP/1 connections, and one of them carries many
/// requests: at most a quarter of the connections of an address.
const HTTP2_SHARE: usize = 4;
/// Bytes of all answers that clients have not taken yet, and of request bodies and heads that are incomplete.
const MAX_MEMORY: usize = 64 * 1024 * 1024;
/// The same for one connection.
pub(super) const MAX_CONNECTION_MEMORY: usize = 8 * 1024 * 1024;

/// The limits of one listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// Open connections; also the number of requests in progress.
    pub(crate) connections: usize,
    /// Open connections of one address.
    pub(super) connections_per_address: usize,
}

impl ConnectionLimits {
    /// Of a listener that one client uses.
    pub(crate) const fn of_one_client(connections: usize) -> Self {
        Self { connections, connections_per_address: connections }
    }

    pub(crate) const fn new(connections: usize) -> Self {
        Self { connections, connections_per_address: connections.div_ceil(ADDRESS_SHARE) }
    }
}

/// What clients hold, together or those of one address.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) http2: Meter,
    pub(super) requests: Meter,
    pub(super) memory: Meter,
}

impl Usage {
    /// Of all clients, or of a proxy that all clients may come through.
    pub(super) const fn of_all(limits: ConnectionLimits) -> Self {
        Self {
            http2: Meter::new(limits.connections),
            requests: Meter::new(limits.connections),
            memory: Meter::new(MAX_MEMORY),
        }
    }

    pub(super) const fn of_one_address(limits: ConnectionLimits) -> Self {
        Self {
            http2: Meter::new(limits.connections_per_address.div_ceil(HTTP2_SHARE)),
            requests: Meter::new(limits.connections_per_address),
            memory: Meter::new(MAX_MEMORY / ADDRESS_SHARE),
        }
    }
}
