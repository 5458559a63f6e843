//! Simulates network partitions of a replica set: one proxy in front of each member, whose links can be
//! interrupted and restored. An interrupted link delays bytes without an error, like lost packets that TCP
//! retransmits, and delivers them when it is restored. A connection whose bytes are delayed for too long is
//! closed, like a TCP timeout.
//!
//! Members know each other by the addresses of the proxies. A proxy identifies the peer of a connection by
//! its first message: with test commands enabled, a `mongod` sends its own listening address there
//! (`hostInfo`, which MongoDB's `mongobridge` uses for the same purpose). Drivers send no such field.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::Error;
use crate::port::reserve_port;

/// Upper bound of the first message.
const MAX_FIRST_MESSAGE_BYTES: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;
/// How long bytes are delayed before the connection is closed (RFC 5482, TCP user timeout). Linux waits for a
/// quarter of an hour, which would block a `mongod` that is connecting to its sync source.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    /// The member with this index.
    Member(usize),
    /// Anything that is not a member.
    Client,
}

/// The peer that connects, and the index of the member that accepts.
type Link = (Endpoint, usize);

/// Proxies that run until this is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    ports: Vec<u16>,
    interrupted: Arc<watch::Sender<BTreeSet<Link>>>,
    _listening: JoinSet<()>,
}

impl Network {
    /// Starts a proxy in front of each member; the members listen on these ports.
    pub(crate) async fn in_front_of(members: &[u16]) -> Result<Self, Error> {
        let interrupted = Arc::new(watch::Sender::default());
        let (mut ports, mut listening) = (Vec::new(), JoinSet::new());
        for index in 0..members.len() {
            let port = reserve_port();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .await
                .map_err(Error::io(format!("listening on port {port}")))?;
            ports.push(port);
            let proxy = Proxy { index, members: members.into(), interrupted: Arc::clone(&interrupted) };
            listening.spawn(proxy.listen(listener));
        }
        Ok(Self { ports, interrupted, _listening: listening })
    }

    /// The addresses of the proxies.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Interrupts both links between two endpoints.
    pub(crate) fn partition(&self, one: Endpoint, other: Endpoint) {
        self.interrupted.send_modify(|interrupted| interrupted.extend(links(one, other)));
    }

    /// Restores all links; delayed bytes are delivered.
    pub(crate) fn heal(&self) {
        self.interrupted.send_modify(BTreeSet::clear);
    }
}

/// Both links between two endpoints; clients accept no connections.
fn links(one: Endpoint, other: Endpoint) -> impl Iterator<Item = Link> {
    [(one, other), (other, one)].into_iter().filter_map(|(from, to)| match to {
        Endpoint::Member(index) => Some((from, index)),
        Endpoint::Client => None,
    })
}

#[derive(Debug, Clone)]
struct Proxy {
    index: usize,
    members: Arc<[u16]>,
    interrupted: Arc<watch::Sender<BTreeSet<Link>>>,
}

impl Proxy {
    async fn listen(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let proxy = self.clone();
                connections.spawn(async move { proxy.connect(stream).await });
            }
            while connections.try_join_next().is_some() {}
        }
    }

    /// Proxies one connection until it ends. Any error closes both sides, so the caller ignores it.
    async fn connect(self, mut near: TcpStream) -> io::Result<()> {
        let greeting = first_message(&mut near).await?;
        let link = (self.sender(&greeting), self.index);
        let mut interrupted = self.interrupted.subscribe();
        wait_until_connected(&mut interrupted, link).await?;
        let port = self.members.get(self.index).copied().unwrap_or_default();
        let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        far.set_nodelay(true)?;
        near.set_nodelay(true)?;
        far.write_all(&greeting).await?;
        let (near_reads, near_writes) = near.split();
        let (far_reads, far_writes) = far.split();
        tokio::select! {
            ended = forward(near_reads, far_writes, interrupted.clone(), link) => ended,
            ended = forward(far_reads, near_writes, interrupted, link) => ended,
        }
    }

    fn sender(&self, greeting: &[u8]) -> Endpoint {
        let port = listening_port(greeting);
        let index = self.members.iter().position(|member| Some(*member) == port);
        index.map_or(Endpoint::Client, Endpoint::Member)
    }
}

/// Waits until the link is not interrupted.
async fn wait_until_connected(
    interrupted: &mut watch::Receiver<BTreeSet<Link>>,
    link: Link,
) -> io::Result<()> {
    let restored = timeout(USER_TIMEOUT, interrupted.wait_for(|links| !links.contains(&link))).await?;
    restored.map(drop).map_err(io::Error::other)
}

/// Forwards bytes in one direction until the end of the stream.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut interrupted: watch::Receiver<BTreeSet<Link>>,
    link: Link,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        // The end of a stream is delayed like data.
        wait_until_connected(&mut interrupted, link).await?;
        match chunk.get(..read) {
            Some(bytes) if !bytes.is_empty() => to.write_all(bytes).await?,
            _ => return Ok(()),
        }
    }
}

/// Reads one message of MongoDB's wire protocol, whose first four bytes are its length.
async fn first_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32_le().await?;
    let rest = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(4).min(MAX_FIRST_MESSAGE_BYTES);
    let mut message = length.to_le_bytes().to_vec();
    stream.take(u64::try_from(rest).unwrap_or(0)).read_to_end(&mut message).await?;
    Ok(message)
}

/// The port in the BSON field `hostInfo` (`host:port`).
fn listening_port(message: &[u8]) -> Option<u16> {
    const FIELD: &[u8] = b"\x02hostInfo\0";
    let start = message.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let text = message.get(start + 4..)?.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok()?.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_is_identified_by_its_listening_port() {
        let greeting = b"\x01\0\0\0\x02hostInfo\0\x0f\0\0\0somewhere:20123\0\x10x\0";
        assert_eq!(listening_port(greeting), Some(20123));
        assert_eq!(listening_port(b"\x01\0\0\0\x02hostI"), None);
        assert_eq!(listening_port(b"\x02hostInfo\0\x02"), None);
    }

    #[test]
    fn partition_is_symmetric() {
        let member = |from, to| (Endpoint::Member(from), to);
        assert!(links(Endpoint::Member(0), Endpoint::Member(2)).eq([member(0, 2), member(2, 0)]));
        assert!(links(Endpoint::Member(1), Endpoint::Client).eq([(Endpoint::Client, 1)]));
    }
}
