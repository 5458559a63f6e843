//! Which addresses a webhook may reach: those of the public internet, and those that the operator allows by name. Whoever
//! may register a webhook could otherwise have the service ask its own network on their behalf (OWASP, "Server-Side Request
//! Forgery Prevention").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What may be reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct EgressPolicy {
    allowed: Vec<IpNet>,
}

impl EgressPolicy {
    /// The public internet, and these networks.
    pub(crate) fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.to_vec() }
    }

    /// Whether that address may be reached. What goes there unencrypted may go to allowed networks alone.
    pub(crate) fn permits(&self, address: IpAddr, is_encrypted: bool) -> bool {
        // Networks of IPv4 also contain IPv4-mapped IPv6 addresses.
        let canonical = address.to_canonical();
        let is_allowed = self.allowed.iter().any(|network| network.contains(&canonical));
        is_allowed || (is_encrypted && is_public(address))
    }
}

/// Whether an address belongs to the public internet, as the registries of special addresses have it (IANA, RFC 6890). An
/// IPv4 address within an IPv6 one counts as what it is.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => embedded_ipv4(address).map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped (RFC 4291 §2.5.5.2), or by the well-known prefix of NAT64
/// (RFC 6052 §2.1).
fn embedded_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = u32::try_from(address.to_bits() & u128::from(u32::MAX)).ok().map(Ipv4Addr::from_bits);
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => low,
        _ => None,
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match a {
        // This network; private; loopback; multicast, reserved and broadcast.
        0 | 10 | 127 | 224.. => true,
        // Carrier-grade NAT.
        100 => (64..128).contains(&b),
        // Link-local, where clouds tell machines their secrets.
        169 => b == 254,
        172 => (16..32).contains(&b),
        // Protocol assignments, documentation, 6to4 relays, private.
        192 => matches!((b, c), (0, 0 | 2) | (88, 99) | (168, _)),
        // Benchmarks, documentation.
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_special = match address.segments() {
        // Protocol assignments, Teredo among them; documentation; 6to4, which carries any IPv4 address.
        [0x2001, b, ..] => b < 0x200 || b == 0xdb8,
        [0x2002, ..] => true,
        [0x3fff, b, ..] => b < 0x1000,
        // All that is global unicast is within 2000::/3.
        [a, ..] => !(0x2000..0x4000).contains(&a),
    };
    !is_special
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
    fn what_is_not_public_is_out_of_reach() {
        let policy = EgressPolicy::default();
        for text in NOT_PUBLIC {
            assert!(!policy.permits(address(text), true), "{text}");
        }
    }

    #[test]
    fn what_is_public_is_reached_encrypted_alone() {
        let policy = EgressPolicy::default();
        for text in PUBLIC {
            assert!(policy.permits(address(text), true), "{text}");
            assert!(!policy.permits(address(text), false), "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_reached_either_way_and_nothing_beside_it() {
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
