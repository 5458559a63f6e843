//! A subscriber reconnects repeatedly under load. In the hand-over from catch-up to live events, events are
//! lost or duplicated (Occurrent #199 and ADR 28, Marten #4953).

use domain::{EmailAddress, PasswordHash, UserCommand, Username};
use futures::future::join_all;

use crate::support::{Client, Store, TestApp, User, on_both_stores};

on_both_stores! {
    feed_reconnect_under_load_yields_every_event_once
}

const WRITERS: usize = 8;
const EACH: usize = 30;
const READERS: usize = 4;

async fn feed_reconnect_under_load_yields_every_event_once(store: Store) {
    let app = TestApp::start(store).await;
    let nodes = [&app, &app.start_second_node().await];
    let admin = app.admin().await;
    let head = async || app.head().await;
    let last = head().await + u64::try_from(WRITERS * EACH).unwrap();
    let writing = join_all((0..WRITERS).map(|writer| write(nodes[writer % 2], writer)));
    let reading = join_all((0..READERS).map(|reader| read(nodes, &admin, reader, last)));
    let (_, seen) = tokio::join!(writing, reading);
    for (reader, seen) in seen.into_iter().enumerate() {
        assert!(seen.iter().copied().eq(1..=last), "reader {reader}: {seen:?}");
    }
    assert_eq!(head().await, last);
}

/// Signs users up one after the other; several such writers make the load.
async fn write(node: &TestApp, writer: usize) {
    for number in 0..EACH {
        let name = format!("user{writer}x{number}");
        let registration = UserCommand::Register {
            email: EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
            username: Username::parse(&name).unwrap(),
            password_hash: Some(PasswordHash::new("$argon2id$none".to_owned()).unwrap()),
        };
        node.services().users.register("test", None, registration).await.unwrap();
    }
}

/// Reads up to `last`, a few events per connection, alternating between the nodes; returns every position
/// received.
async fn read(nodes: [&TestApp; 2], admin: &User, reader: usize, last: u64) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    for round in reader.. {
        let resumed = seen.last().copied().unwrap_or(0);
        if resumed == last {
            break;
        }
        let node: &Client = nodes[round % 2];
        let stream = admin.at(node).get("/events/stream").header("Last-Event-ID", &resumed.to_string());
        let mut stream = stream.open().await;
        // Readers use different step sizes, so they disconnect at different positions.
        let step = u64::try_from(1 + round * 7 % 11).unwrap();
        let wanted = usize::try_from(step.min(last - resumed)).unwrap();
        seen.extend(stream.positions(wanted).await);
    }
    seen
}
