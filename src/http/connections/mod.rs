//! The connections of a listener: which are admitted, what each may hold, and when it is closed.
//!
//! `connection` is the state of one, `exchange` a request with its answer, `limits` what clients may hold,
//! `memory` how that is charged. Reading and writing belong to `serve`.

pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod limits;
pub(crate) mod memory;
mod meter;
mod warnings;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::connection::{CloseReason, Connection, Protocol};
use self::limits::{ConnectionLimits, Usage};
use self::warnings::RefusalWarnings;
use super::metrics::connections::{ConnectionMetrics, ConnectionRefusal};

/// After a search for a connection to evict that found none, new connections are refused for this long
/// without another search.
const SEARCH_PAUSE: Duration = Duration::from_millis(50);
/// Of the connections that are candidates for eviction, this part is closed at once, so that each new
/// connection need not look for one.
const EVICTED_SHARE: usize = 64;

/// The open connections of one listener.
pub(crate) struct Connections {
    limits: ConnectionLimits,
    /// Peers that stand for many clients: only the limits of all apply to them.
    proxies: Vec<IpNet>,
    usage: Arc<Usage>,
    registry: Mutex<Registry>,
    empty: Notify,
    pub(crate) metrics: ConnectionMetrics,
}

#[derive(Default)]
struct Registry {
    last_id: u64,
    open: HashMap<u64, Entry>,
    addresses: HashMap<IpAddr, Address>,
    is_stopping: bool,
    /// When connections of any address may be searched again.
    next_search: Option<Instant>,
    warnings: RefusalWarnings,
}

struct Entry {
    address: IpAddr,
    connection: Arc<Connection>,
}

struct Address {
    usage: Arc<Usage>,
    connections: usize,
    limit: usize,
    /// When its connections may be searched again.
    next_search: Option<Instant>,
}

impl Connections {
    pub(crate) fn new(limits: ConnectionLimits, proxies: Vec<IpNet>, metrics: ConnectionMetrics) -> Self {
        let usage = Arc::new(Usage::of_all(limits));
        Self { limits, proxies, usage, registry: Mutex::default(), empty: Notify::new(), metrics }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new connection. If there are too many, the oldest ones without a request are closed.
    ///
    /// # Errors
    /// Why there is no place for it.
    pub(crate) fn admit(&self, peer: IpAddr) -> Result<Arc<Connection>, ConnectionRefusal> {
        let address = network(peer);
        let mut registry = self.registry();
        let admitted = self.make_room(&mut registry, address);
        if let Err(refusal) = admitted {
            registry.warnings.count();
            drop(registry);
            self.metrics.refused(refusal);
            return Err(refusal);
        }
        let is_proxy = self.proxies.iter().any(|network| network.contains(&peer.to_canonical()));
        let entry = registry.addresses.entry(address).or_insert_with(|| Address {
            usage: Arc::new(if is_proxy {
                Usage::of_all(self.limits)
            } else {
                Usage::of_one_address(self.limits)
            }),
            connections: 0,
            next_search: None,
            limit: if is_proxy { self.limits.connections } else { self.limits.connections_per_address },
        });
        entry.connections += 1;
        let usage = Arc::clone(&entry.usage);
        registry.last_id += 1;
        let id = registry.last_id;
        let connection = Arc::new(Connection::new(id, Arc::clone(&self.usage), usage));
        registry.open.insert(id, Entry { address, connection: Arc::clone(&connection) });
        self.metrics.set_open(registry.open.len());
        Ok(connection)
    }

    fn make_room(&self, registry: &mut Registry, address: IpAddr) -> Result<(), ConnectionRefusal> {
        let now = Instant::now();
        let pause = |found: usize| (found == 0).then(|| now + SEARCH_PAUSE);
        if let Some(held) = registry.addresses.get(&address).filter(|held| held.connections >= held.limit) {
            let is_due = held.next_search.is_none_or(|next| now >= next);
            let found = if is_due { self.evict(registry, |entry| entry.address == address) } else { 0 };
            if let Some(held) = registry.addresses.get_mut(&address).filter(|_| is_due) {
                held.next_search = pause(found);
            }
            if found == 0 {
                return Err(ConnectionRefusal::Address);
            }
        }
        if registry.open.len() >= self.limits.connections {
            let is_due = registry.next_search.is_none_or(|next| now >= next);
            let found = if is_due { self.evict(registry, |_| true) } else { 0 };
            if is_due {
                registry.next_search = pause(found);
            }
            if found == 0 {
                return Err(ConnectionRefusal::Total);
            }
        }
        Ok(())
    }

    /// Closes the oldest of these connections without a request. Returns how many.
    fn evict(&self, registry: &mut Registry, of: impl Fn(&Entry) -> bool) -> usize {
        let entries = registry.open.values().filter(|entry| of(entry));
        let mut idle: Vec<_> =
            entries.filter_map(|entry| Some((entry.connection.idle_since()?, entry.connection.id))).collect();
        idle.sort_unstable();
        idle.truncate(idle.len().div_ceil(EVICTED_SHARE));
        for (_, id) in &idle {
            if let Some(connection) = registry.remove(*id) {
                connection.abort.cancel();
                self.metrics.closed(CloseReason::Evicted);
            }
        }
        idle.len()
    }

    /// Records that the connection speaks HTTP/2. Whether its address may have one more of these.
    pub(crate) fn admit_protocol(&self, connection: &Connection, protocol: Protocol) -> bool {
        let [_, address] = &connection.usage;
        if protocol == Protocol::Http2 && !address.http2.try_add(1) {
            self.evict(&mut self.registry(), |entry| {
                let [_, other] = &entry.connection.usage;
                Arc::ptr_eq(address, other) && entry.connection.is_http2()
            });
            // What was evicted is subtracted when its task ends.
            self.metrics.refused(ConnectionRefusal::Http2);
            self.registry().warnings.count();
            return false;
        }
        connection.set_protocol(protocol);
        true
    }

    /// Forgets a connection that is closed.
    pub(crate) fn remove(&self, connection: &Connection) {
        let mut registry = self.registry();
        registry.remove(connection.id);
        self.metrics.set_open(registry.open.len());
        if registry.open.is_empty() {
            self.empty.notify_waiters();
        }
    }

    /// Closes the connections whose time is over, and resets streams that are stalled. Called every second.
    pub(crate) fn check(&self, now: Instant) {
        let (open, is_stopping) = {
            let mut registry = self.registry();
            let count = registry.open.len();
            registry.warnings.report(now, count);
            let open: Vec<_> = registry.open.values().map(|entry| Arc::clone(&entry.connection)).collect();
            (open, registry.is_stopping)
        };
        for connection in open {
            let Some(reason) = connection.check(now, is_stopping) else { continue };
            // An idle HTTP/2 client learns which requests were not processed (RFC 9113 §6.8).
            if reason == CloseReason::Idle && !connection.graceful.is_cancelled() {
                connection.graceful.cancel();
                self.metrics.closed(reason);
            } else {
                connection.abort.cancel();
                if !connection.graceful.is_cancelled() {
                    self.metrics.closed(reason);
                }
            }
        }
    }

    /// Lets all connections finish their requests and close.
    pub(crate) fn stop(&self) {
        let mut registry = self.registry();
        registry.is_stopping = true;
        for entry in registry.open.values() {
            entry.connection.graceful.cancel();
        }
    }

    /// Returns once no connection is open.
    pub(crate) async fn closed(&self) {
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if self.registry().open.is_empty() {
                return;
            }
            empty.await;
        }
    }
}

impl Registry {
    fn remove(&mut self, id: u64) -> Option<Arc<Connection>> {
        let Entry { address, connection } = self.open.remove(&id)?;
        if let Some(held) = self.addresses.get_mut(&address) {
            held.connections -= 1;
            if held.connections == 0 {
                self.addresses.remove(&address);
            }
        }
        Some(connection)
    }
}

/// What counts as one address: with IPv6, clients have a whole /64 each.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Net::new(address, 64).map_or(address, |network| network.network()).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
