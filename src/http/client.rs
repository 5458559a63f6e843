//! The client's address: the connection's peer, or the address that a trusted proxy forwarded.

use std::net::{IpAddr, SocketAddr};

use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, Uri, header};
use ipnet::IpNet;

use crate::limits::ClientAddress;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The remote address of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// The client's address; `None` if the request has no connection, as in tests of the router.
pub(super) fn address(extensions: &Extensions, headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let Peer(peer) = extensions.get()?;
    Some(client(*peer, headers, proxies))
}

/// The client of a request, as limits count it.
pub(super) fn limited(parts: &Parts, proxies: &[IpNet]) -> ClientAddress {
    address(&parts.extensions, &parts.headers, proxies).map_or(ClientAddress::UNKNOWN, ClientAddress::of)
}

/// Whether the connection is the client's own, not that of a trusted proxy.
pub(super) fn is_direct(extensions: &Extensions, proxies: &[IpNet]) -> bool {
    let peer = extensions.get().map(|Peer(peer)| peer.to_canonical());
    peer.is_some_and(|peer| !proxies.iter().any(|network| network.contains(&peer)))
}

/// Whether the request comes from this machine, is addressed to it, and has no headers of a proxy. A web page
/// whose name resolves to this machine sends that name as the host (DNS rebinding).
pub(super) fn is_local(extensions: &Extensions, uri: &Uri, headers: &HeaderMap) -> bool {
    let from_here = extensions.get().is_some_and(|Peer(peer)| peer.to_canonical().is_loopback());
    from_here && is_addressed_to_loopback(uri, headers) && !headers.keys().any(is_forwarding)
}

/// The host is that of the request target, which HTTP/2 always has, or else of the header `Host`.
fn is_addressed_to_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next()) {
        (Some(authority), _) => Some(authority.clone()),
        (None, Some(host)) => host.to_str().ok().and_then(|host| host.parse().ok()),
        (None, None) => None,
    };
    let Some(host) = host.filter(|_| hosts.next().is_none()) else { return false };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn is_forwarding(name: &HeaderName) -> bool {
    const PROXY_HEADERS: [&str; 3] = ["forwarded", "via", "x-real-ip"];
    PROXY_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
}

/// Clients can forge `X-Forwarded-For`, and each proxy appends the address of its peer. So entries are read
/// from the right, as long as the proxy that appended them is trusted.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| proxies.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    while is_trusted(client) {
        let Some(next) = entries.next().and_then(parse) else { break };
        client = next;
    }
    client
}

/// Some proxies append the port.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim();
    let address = text.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PROXIES: [&str; 3] = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"];

    #[track_caller]
    fn resolved(peer: &str, forwarded: &[&str]) -> String {
        let proxies: Vec<_> = PROXIES.map(|network| network.parse().unwrap()).into();
        let lines =
            forwarded.iter().map(|line| (FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap()));
        let headers = lines.fold(HeaderMap::new(), |mut headers, (name, line)| {
            headers.append(name, line);
            headers
        });
        client(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client() {
        for forwarded in [&[][..], &["198.51.100.7"], &["198.51.100.7, 10.0.0.1"], &["10.0.0.1"]] {
            assert_eq!(resolved("203.0.113.9", forwarded), "203.0.113.9");
        }
        let headers = HeaderMap::from_iter([(FORWARDED_FOR, HeaderValue::from_static("198.51.100.7"))]);
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(client(loopback, &headers, &[]), loopback, "no proxy is trusted by default");
    }

    #[test]
    fn the_client_is_the_rightmost_untrusted_address() {
        for (peer, forwarded, expected) in [
            ("10.0.0.1", &["198.51.100.7"][..], "198.51.100.7"),
            ("10.0.0.1", &["192.0.2.1, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["192.0.2.1 ,198.51.100.7,10.9.9.9"], "198.51.100.7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["192.0.2.1", "198.51.100.7, fd00::5", "10.9.9.9"], "198.51.100.7"),
            ("127.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            // All addresses are proxies: the outermost one counts.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &[], "10.0.0.1"),
        ] {
            assert_eq!(resolved(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn local_requests_come_from_loopback_without_a_proxy() {
        let local = |peer: &str, header: Option<&'static str>| {
            let mut extensions = Extensions::new();
            extensions.insert(Peer(peer.parse().unwrap()));
            let value = HeaderValue::from_static("198.51.100.7");
            let headers = header.map(|name| (HeaderName::from_static(name), value));
            let host = (header::HOST, HeaderValue::from_static("localhost"));
            is_local(&extensions, &Uri::from_static("/"), &headers.into_iter().chain([host]).collect())
        };
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(local(peer, None) && local(peer, Some("x-request-id")), "{peer}");
            for header in [
                "forwarded",
                "x-forwarded-for",
                "x-forwarded-proto",
                "x-forwarded-anything",
                "via",
                "x-real-ip",
            ] {
                assert!(!local(peer, Some(header)), "{peer} {header}");
            }
        }
        for peer in ["203.0.113.9", "10.0.0.1", "::", "fd00::1"] {
            assert!(!local(peer, None), "{peer}");
        }
    }

    #[test]
    fn local_requests_are_addressed_to_loopback() {
        let local = |uri: &'static str, hosts: &[&'static str]| {
            let mut extensions = Extensions::new();
            extensions.insert(Peer(IpAddr::from([127, 0, 0, 1])));
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_static(host));
            }
            is_local(&extensions, &Uri::from_static(uri), &headers)
        };
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "127.1.2.3", "[::1]", "[::1]:8000"] {
            assert!(local("/metrics", &[host]), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "[::2]", ""] {
            assert!(!local("/metrics", &[host]), "{host}");
        }
        assert!(!local("/metrics", &[]) && !local("/metrics", &["localhost", "localhost"]));
        assert!(local("http://localhost/metrics", &[]));
        assert!(!local("http://evil.example/metrics", &["localhost"]));
        assert!(!is_local(&Extensions::new(), &Uri::from_static("http://localhost/"), &HeaderMap::new()));
    }

    #[test]
    fn an_unparsable_address_ends_the_walk_at_the_last_valid_one() {
        for (forwarded, expected) in [
            ("unknown", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("198.51.100.7, ", "10.0.0.1"),
            ("198.51.100.7, <script>, 10.0.0.2", "10.0.0.2"),
            ("198.51.100.7, \u{FF}, 10.0.0.2", "10.0.0.2"),
            ("198.51.100.7,,10.0.0.2", "10.0.0.2"),
        ] {
            assert_eq!(resolved("10.0.0.1", &[forwarded]), expected, "{forwarded:?}");
        }
    }
}
