use super::connection::{HEAD_TIMEOUT, IDLE_TIMEOUT, STALL_TIMEOUT};
use super::exchange::Exchange;
use super::memory::Charge;
use super::*;

const ADA: [u8; 4] = [192, 0, 2, 1];

fn connections(max: usize) -> Connections {
    Connections::new(ConnectionLimits::new(max), Vec::new(), ConnectionMetrics::default())
}

/// An admitted connection, younger than the previous one.
async fn admit(
    connections: &Connections,
    peer: impl Into<IpAddr>,
) -> Result<Arc<Connection>, ConnectionRefusal> {
    tokio::time::advance(SEARCH_PAUSE).await;
    connections.admit(peer.into())
}

#[tokio::test(start_paused = true)]
async fn one_address_holds_at_most_a_quarter_and_its_oldest_idle_connections_give_way() {
    let all = connections(16);
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(admit(&all, ADA).await.unwrap());
    }
    let busy = Exchange::begin(&open[0], 0, false).unwrap();
    let fifth = admit(&all, ADA).await.unwrap();
    let aborted: Vec<_> = open.iter().map(|connection| connection.abort.is_cancelled()).collect();
    assert_eq!(aborted, [false, true, false, false], "the oldest without a request is closed");
    let others: Vec<_> =
        open.iter().skip(2).chain([&fifth]).map(|connection| Exchange::begin(connection, 0, false)).collect();
    assert!(others.iter().all(Option::is_some));
    assert_eq!(admit(&all, ADA).await.unwrap_err(), ConnectionRefusal::Address);
    admit(&all, [192, 0, 2, 2]).await.unwrap();
    drop(busy);
    admit(&all, ADA).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn total_is_limited_over_all_addresses() {
    let all = connections(8);
    let mut busy = Vec::new();
    for last in 1..=4 {
        for _ in 0..2 {
            let connection = admit(&all, [192, 0, 2, last]).await.unwrap();
            busy.push(Exchange::begin(&connection, 0, false).unwrap());
        }
    }
    assert_eq!(admit(&all, [192, 0, 2, 9]).await.unwrap_err(), ConnectionRefusal::Total);
    drop(busy.pop());
    admit(&all, [192, 0, 2, 9]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_network_of_ipv6_counts_as_one_address_and_a_mapped_address_as_ipv4() {
    let all = connections(4);
    let _first = Exchange::begin(&admit(&all, parse("2001:db8::1")).await.unwrap(), 0, false);
    assert_eq!(admit(&all, parse("2001:db8::2")).await.unwrap_err(), ConnectionRefusal::Address);
    admit(&all, parse("2001:db8:0:1::1")).await.unwrap();
    let _mapped = Exchange::begin(&admit(&all, parse("::ffff:192.0.2.1")).await.unwrap(), 0, false);
    assert_eq!(admit(&all, ADA).await.unwrap_err(), ConnectionRefusal::Address);
}

fn parse(address: &str) -> IpAddr {
    address.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_trusted_proxy_is_limited_by_the_total_only() {
    let proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let all = Connections::new(ConnectionLimits::new(8), proxies, ConnectionMetrics::default());
    let mut busy = Vec::new();
    for _ in 0..8 {
        let connection = admit(&all, ADA).await.unwrap();
        busy.push(Exchange::begin(&connection, 0, false).unwrap());
    }
    assert!(admit(&all, ADA).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_address_are_limited_whatever_their_connections() {
    let all = connections(16);
    let one = admit(&all, ADA).await.unwrap();
    let held: Vec<_> = (0..4).map(|_| Exchange::begin(&one, 0, true).unwrap()).collect();
    let two = admit(&all, ADA).await.unwrap();
    assert!(Exchange::begin(&two, 0, true).is_none());
    let other = admit(&all, [192, 0, 2, 2]).await.unwrap();
    assert!(Exchange::begin(&other, 0, true).is_some());
    drop(held);
    assert!(Exchange::begin(&two, 0, true).is_some());
}

#[tokio::test(start_paused = true)]
async fn memory_is_limited_by_connection_and_by_address() {
    const PART: usize = 4 * 1024 * 1024;
    let all = connections(100);
    let one = admit(&all, ADA).await.unwrap();
    let mut held = vec![Charge::take(&one, PART).unwrap(), Charge::take(&one, PART).unwrap()];
    assert!(Charge::take(&one, 1).is_none(), "of the connection");
    let two = admit(&all, ADA).await.unwrap();
    held.extend([Charge::take(&two, PART).unwrap(), Charge::take(&two, PART).unwrap()]);
    let three = admit(&all, ADA).await.unwrap();
    assert!(Charge::take(&three, 1).is_none(), "of the address");
    assert!(Charge::take(&admit(&all, [192, 0, 2, 2]).await.unwrap(), PART).is_some());
    drop(held);
    assert!(Charge::take(&three, PART).is_some());
}

#[tokio::test(start_paused = true)]
async fn http2_connections_of_an_address_are_limited() {
    let all = connections(64);
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(admit(&all, ADA).await.unwrap());
        assert!(all.admit_protocol(&open[open.len() - 1], Protocol::Http2));
    }
    let fifth = admit(&all, ADA).await.unwrap();
    assert!(!all.admit_protocol(&fifth, Protocol::Http2) && all.admit_protocol(&fifth, Protocol::Http1));
    // The oldest idle one was closed, so that the next attempt succeeds.
    assert!(open[0].abort.is_cancelled());
    drop(open.remove(0));
    assert!(all.admit_protocol(&admit(&all, ADA).await.unwrap(), Protocol::Http2));
}

/// Whether the connection is open after a check this much later.
fn is_open(all: &Connections, connection: &Connection, later: std::time::Duration) -> bool {
    all.check(Instant::now() + later);
    !connection.abort.is_cancelled() && !connection.graceful.is_cancelled()
}

#[tokio::test(start_paused = true)]
async fn connections_are_closed_when_their_time_is_over() {
    let (all, second) = (connections(16), std::time::Duration::from_secs(1));
    let idle = admit(&all, ADA).await.unwrap();
    assert!(all.admit_protocol(&idle, Protocol::Http1));
    assert!(is_open(&all, &idle, IDLE_TIMEOUT.saturating_sub(second)) && !is_open(&all, &idle, IDLE_TIMEOUT));
    let half = admit(&all, ADA).await.unwrap();
    assert!(all.admit_protocol(&half, Protocol::Http1));
    half.head_begun();
    assert!(is_open(&all, &half, HEAD_TIMEOUT.saturating_sub(second)) && !is_open(&all, &half, HEAD_TIMEOUT));
    let blocked = admit(&all, ADA).await.unwrap();
    let _busy = Exchange::begin(&blocked, 0, false).unwrap();
    assert!(is_open(&all, &blocked, IDLE_TIMEOUT * 2), "a request is in progress");
    blocked.written(true);
    assert!(
        is_open(&all, &blocked, STALL_TIMEOUT.saturating_sub(second))
            && !is_open(&all, &blocked, STALL_TIMEOUT)
    );
}
