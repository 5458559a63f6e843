//! Reserves loopback ports that no other test process uses.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below the ephemeral ports of Linux and macOS: a client that waits for a server to start must not get the
/// server's port for its own connection, nor connect to itself.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static RESERVATIONS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// Reserves a free port of 127.0.0.1 for this process until it ends. Nothing listens on it yet.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn reserve_port() -> u16 {
    crate::or_fail(
        std::iter::repeat_with(candidate)
            .take(usize::from(COUNT))
            .find(|port| reserve(*port))
            .ok_or("no free port between 20000 and 32000 on 127.0.0.1"),
    )
}

fn candidate() -> u16 {
    let offset = crate::random() % u64::from(COUNT);
    FIRST + u16::try_from(offset).unwrap_or(0)
}

/// Reserves the port by binding the UDP port of the same number, which the system releases when the process
/// ends.
fn reserve(port: u16) -> bool {
    let Ok(reservation) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    if free {
        RESERVATIONS.lock().unwrap_or_else(PoisonError::into_inner).push(reservation);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_port_is_unique() {
        let port = reserve_port();
        assert!(!reserve(port));
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "a server can listen on it");
    }
}
