//! What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, since one host can use all
//! addresses of its network (RFC 4291 §2.5.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HOST_BITS: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Requests without a connection, as in tests of the router.
    pub(crate) const UNKNOWN: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> HOST_BITS << HOST_BITS).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// The network as an address.
    pub(crate) fn network(self) -> IpAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let client = |text: &str| ClientAddress::of(text.parse().unwrap());
        assert_eq!(client("2001:db8:0:7::1"), client("2001:db8:0:7:ffff:ffff:ffff:ffff"));
        assert_ne!(client("2001:db8:0:7::1"), client("2001:db8:0:8::1"));
        assert_ne!(client("198.51.100.1"), client("198.51.100.2"));
        assert_eq!(client("::ffff:198.51.100.1"), client("198.51.100.1"));
    }
}
