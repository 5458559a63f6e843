//! The network between the members of a replica set and whoever speaks to them: one proxy before each member, whose
//! links can be cut and mended. A link that is cut says nothing of it: bytes wait, as packets do that are sent again
//! and again, and arrive late when it is mended. A connection whose bytes have waited for long breaks, as TCP gives up
//! at last.
//!
//! Members know each other by the addresses of the proxies. Who has opened a connection is read from its first
//! message: with test commands enabled, a `mongod` says there where it listens itself (`hostInfo`, by which
//! MongoDB's own `mongobridge` tells connections apart). Drivers say nothing of the kind.

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

/// No first message is longer than this.
const MAX_FIRST_MESSAGE_BYTES: usize = 64 * 1024;
const CHUNK: usize = 16 * 1024;
/// How long bytes wait before their connection breaks (RFC 5482, the user timeout of TCP). Linux waits for a quarter of
/// an hour, and a `mongod` that was just connecting to the member it copies from waits with it.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    /// The member at this place.
    Member(usize),
    /// Anybody else.
    Client,
}

/// Who speaks, and the place of the member who listens.
type Link = (Endpoint, usize);

/// Proxies that run until this is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    ports: Vec<u16>,
    cut: Arc<watch::Sender<BTreeSet<Link>>>,
    _listening: JoinSet<()>,
}

impl Network {
    /// Puts a proxy before each of the members, which listen on these ports.
    pub(crate) async fn in_front_of(members: &[u16]) -> Result<Self, Error> {
        let cut = Arc::new(watch::Sender::default());
        let (mut ports, mut listening) = (Vec::new(), JoinSet::new());
        for place in 0..members.len() {
            let port = reserve_port();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .await
                .map_err(Error::io(format!("listening on port {port}")))?;
            ports.push(port);
            let proxy = Proxy { place, members: members.into(), cut: Arc::clone(&cut) };
            listening.spawn(proxy.listen(listener));
        }
        Ok(Self { ports, cut, _listening: listening })
    }

    /// Where each member is to be reached.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Nothing passes any more between these two, whoever opens the connection.
    pub(crate) fn partition(&self, one: Endpoint, other: Endpoint) {
        self.cut.send_modify(|cut| cut.extend(links(one, other)));
    }

    /// Everything passes again, also what has waited.
    pub(crate) fn heal(&self) {
        self.cut.send_modify(BTreeSet::clear);
    }
}

/// Both links between two parties; nobody opens connections to a client.
fn links(one: Endpoint, other: Endpoint) -> impl Iterator<Item = Link> {
    [(one, other), (other, one)].into_iter().filter_map(|(from, to)| match to {
        Endpoint::Member(place) => Some((from, place)),
        Endpoint::Client => None,
    })
}

#[derive(Debug, Clone)]
struct Proxy {
    place: usize,
    members: Arc<[u16]>,
    cut: Arc<watch::Sender<BTreeSet<Link>>>,
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

    /// Carries one connection to its end. Whatever breaks it breaks it for both sides, so the error says nothing more.
    async fn connect(self, mut near: TcpStream) -> io::Result<()> {
        let greeting = first_message(&mut near).await?;
        let link = (self.sender(&greeting), self.place);
        let mut cut = self.cut.subscribe();
        wait_until_connected(&mut cut, link).await?;
        let port = self.members.get(self.place).copied().unwrap_or_default();
        let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        far.set_nodelay(true)?;
        near.set_nodelay(true)?;
        far.write_all(&greeting).await?;
        let (near_reads, near_writes) = near.split();
        let (far_reads, far_writes) = far.split();
        tokio::select! {
            ended = forward(near_reads, far_writes, cut.clone(), link) => ended,
            ended = forward(far_reads, near_writes, cut, link) => ended,
        }
    }

    fn sender(&self, greeting: &[u8]) -> Endpoint {
        let port = listening_port(greeting);
        let place = self.members.iter().position(|member| Some(*member) == port);
        place.map_or(Endpoint::Client, Endpoint::Member)
    }
}

/// Waits until bytes may pass.
async fn wait_until_connected(cut: &mut watch::Receiver<BTreeSet<Link>>, link: Link) -> io::Result<()> {
    let mended = timeout(USER_TIMEOUT, cut.wait_for(|cut| !cut.contains(&link))).await?;
    mended.map(drop).map_err(io::Error::other)
}

/// Carries bytes one way until that side has no more.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut cut: watch::Receiver<BTreeSet<Link>>,
    link: Link,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        // An end is news, too, and does not pass either.
        wait_until_connected(&mut cut, link).await?;
        match chunk.get(..read) {
            Some(bytes) if !bytes.is_empty() => to.write_all(bytes).await?,
            _ => return Ok(()),
        }
    }
}

/// One whole message of MongoDB's wire protocol: its first four bytes are its length.
async fn first_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32_le().await?;
    let rest = usize::try_from(length).unwrap_or(usize::MAX).saturating_sub(4).min(MAX_FIRST_MESSAGE_BYTES);
    let mut message = length.to_le_bytes().to_vec();
    stream.take(u64::try_from(rest).unwrap_or(0)).read_to_end(&mut message).await?;
    Ok(message)
}

/// The port in a BSON field `hostInfo` of the form `host:port`.
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
