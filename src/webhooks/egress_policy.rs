//! SSRF guard: the egress policy decides which addresses webhooks may reach.
//!
//! A webhook URL is chosen by a user. Without this policy that user could make the service send requests into
//! its own network (OWASP, "Server-Side Request Forgery Prevention"). Deliveries therefore go only to the
//! public internet, and to the networks that the operator allows in `AEGIS_WEBHOOK_ALLOW_PRIVATE`; without
//! TLS only to the latter. Resolving host names does not belong here: `sender` does that, and asks this
//! policy about every address found.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Special-purpose IPv4 networks that are not part of the public internet (IANA registry, RFC 6890).
const NON_PUBLIC_V4: [Ipv4Net; 14] = [
    v4([0, 0, 0, 0], 8),       // this network
    v4([10, 0, 0, 0], 8),      // private
    v4([100, 64, 0, 0], 10),   // carrier-grade NAT
    v4([127, 0, 0, 0], 8),     // loopback
    v4([169, 254, 0, 0], 16),  // link-local, where cloud metadata services hand out credentials
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocol assignments
    v4([192, 0, 2, 0], 24),    // documentation
    v4([192, 88, 99, 0], 24),  // 6to4 relays
    v4([192, 168, 0, 0], 16),  // private
    v4([198, 18, 0, 0], 15),   // benchmarks
    v4([198, 51, 100, 0], 24), // documentation
    v4([203, 0, 113, 0], 24),  // documentation
    v4([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

/// All global unicast IPv6 addresses are in this network.
const GLOBAL_UNICAST_V6: Ipv6Net = v6(0x2000, 0, 3);

/// Special-purpose networks within [`GLOBAL_UNICAST_V6`].
const NON_PUBLIC_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 23),      // protocol assignments, Teredo among them
    v6(0x2001, 0x0db8, 32), // documentation
    v6(0x2002, 0, 16),      // 6to4, which embeds any IPv4 address
    v6(0x3fff, 0, 20),      // documentation
];

/// The well-known prefix of NAT64 (RFC 6052 §2.1).
const NAT64: Ipv6Net = v6(0x0064, 0xff9b, 96);

/// Which addresses webhooks may reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct EgressPolicy {
    allowed: Vec<IpNet>,
}

impl EgressPolicy {
    /// Permits the public internet and these networks.
    pub(crate) fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.to_vec() }
    }

    /// Whether a request may go to that address. Unencrypted requests may go to allowed networks only.
    pub(crate) fn permits(&self, address: IpAddr, is_encrypted: bool) -> bool {
        // Networks of IPv4 also contain IPv4-mapped IPv6 addresses.
        let canonical = address.to_canonical();
        let is_allowed = self.allowed.iter().any(|network| network.contains(&canonical));
        is_allowed || (is_encrypted && is_public(address))
    }
}

/// An IPv4 address embedded in an IPv6 address is checked against the IPv4 list.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => embedded_ipv4(address).map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

/// The IPv4 address that an IPv6 address leads to: IPv4-mapped (RFC 4291 §2.5.5.2), or through NAT64.
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    address.to_ipv4_mapped().or_else(|| NAT64.contains(&address).then(|| Ipv4Addr::new(a, b, c, d)))
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NON_PUBLIC_V4.iter().any(|network| network.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    GLOBAL_UNICAST_V6.contains(&address) && !NON_PUBLIC_V6.iter().any(|network| network.contains(&address))
}

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// The network whose address begins with these two groups; the rest is zero.
const fn v6(first: u16, second: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_PUBLIC: [&str; 44] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:1ff::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];
    const PUBLIC: [&str; 12] = [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.20.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:200::1",
        "2606:4700:4700::1111",
    ];

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn non_public_addresses_are_denied() {
        let policy = EgressPolicy::default();
        for text in NOT_PUBLIC {
            assert!(!policy.permits(address(text), true), "{text}");
        }
    }

    #[test]
    fn public_addresses_require_encryption() {
        let policy = EgressPolicy::default();
        for text in PUBLIC {
            assert!(policy.permits(address(text), true), "{text}");
            assert!(!policy.permits(address(text), false), "{text}");
        }
    }

    #[test]
    fn allowed_networks_are_permitted_and_no_others() {
        let allowed: Vec<IpNet> = ["127.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec();
        let policy = EgressPolicy::new(&allowed);
        for text in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::1"] {
            assert!(policy.permits(address(text), false) && policy.permits(address(text), true), "{text}");
        }
        for text in ["::1", "10.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "fe80::1"] {
            assert!(!policy.permits(address(text), true), "{text}");
        }
    }
}
