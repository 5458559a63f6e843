//! Loopback ports that no other test process picks.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below what Linux and macOS hand out for outgoing connections: a client that waits for a server to appear must not
/// be given the server's own port, nor meet itself there.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A free port of 127.0.0.1 that stays this process's own among all test processes until it ends, though nothing
/// listens there yet.
///
/// # Panics
/// When no port can be had.
#[must_use]
pub fn reserve_port() -> u16 {
    crate::or_fail(
        std::iter::repeat_with(candidate)
            .take(usize::from(COUNT))
            .find(|port| claim(*port))
            .ok_or("no free port between 20000 and 32000 on 127.0.0.1"),
    )
}

fn candidate() -> u16 {
    let offset = crate::random() % u64::from(COUNT);
    FIRST + u16::try_from(offset).unwrap_or(0)
}

/// The UDP port of the same number is the claim: the system lets one process have it, and frees it when that ends.
fn claim(port: u16) -> bool {
    let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    if free {
        CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_port_is_unique() {
        let port = reserve_port();
        assert!(!claim(port));
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "a server can listen on it");
    }
}
