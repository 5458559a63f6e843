use std::pin::pin;
use std::task::{Context, Waker};

use jiff::Timestamp;
use serde_json::Map;
use store::{Envelope, PersonalData, StreamId};
use uuid::Uuid;

use super::*;

fn event(position: u64, event_type: &str) -> StoredEvent {
    let envelope = Envelope {
        position: Position::new(position),
        stream: StreamId::new("user-1").unwrap(),
        version: position,
        id: Uuid::nil(),
        event_type: event_type.to_owned(),
        schema: 1,
        at: Timestamp::UNIX_EPOCH,
        actor: "test".to_owned(),
        request_id: "test".to_owned(),
        data: Map::new(),
        sealed: None,
        leaf: [0; 32],
    };
    StoredEvent { envelope, personal: PersonalData::Known(Map::new()) }
}

fn state(end: u64) -> State {
    let end = Position::new(end);
    State { events: VecDeque::new(), end, last_change: end, waiting: HashMap::new() }
}

/// Pushes the next events, of these types.
fn push(state: &mut State, types: &[&str]) {
    let first = state.end.get() + 1;
    let events: Vec<_> = (first..).zip(types).map(|(position, name)| event(position, name)).collect();
    let next = events.last().map_or(state.end, |last| last.envelope.position);
    state.push(Page { events, next });
}

fn page(state: &State, after: u64, types: &[&str], limit: usize) -> Option<(Vec<u64>, u64)> {
    let types: Vec<_> = types.iter().map(|&name| name.to_owned()).collect();
    let page = state.page(Position::new(after), &types, limit)?;
    Some((page.events.iter().map(|event| event.envelope.position.get()).collect(), page.next.get()))
}

fn webhook(number: u128) -> WebhookId {
    WebhookId::from_uuid(Uuid::from_u128(number))
}

/// Has a worker wait; returns what wakes it, or `None` if it need not wait.
fn wait(state: &mut State, number: u128, after: u64, types: &[&str]) -> Option<Arc<Notify>> {
    let wake = Arc::new(Notify::new());
    let types = types.iter().map(|&name| name.to_owned()).collect();
    let waiting = Waiting { types, position: Position::new(after), wake: Arc::clone(&wake) };
    state.begin_waiting(webhook(number), waiting).then_some(wake)
}

/// Whether the worker was woken.
fn is_woken(wake: &Notify) -> bool {
    pin!(wake.notified()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn page_has_the_wanted_events_and_shows_how_far_it_goes() {
    let mut state = state(10);
    assert_eq!(page(&state, 10, &[], 9), Some((vec![], 10)), "nothing new");
    assert_eq!(page(&state, 12, &[], 9), Some((vec![], 12)), "the worker is ahead of the reader");
    assert_eq!(page(&state, 9, &[], 9), None, "not buffered");
    push(&mut state, &["A", "B", "A", "B"]);
    assert_eq!(page(&state, 10, &[], 9), Some((vec![11, 12, 13, 14], 14)));
    assert_eq!(page(&state, 12, &[], 9), Some((vec![13, 14], 14)));
    assert_eq!(page(&state, 10, &["A"], 9), Some((vec![11, 13], 14)));
    assert_eq!(page(&state, 10, &["A"], 1), Some((vec![11], 11)));
    assert_eq!(page(&state, 10, &["C"], 9), Some((vec![], 14)));
    assert_eq!(page(&state, 9, &["A"], 9), None);
}

#[test]
fn only_workers_that_want_an_event_are_woken() {
    let mut state = state(10);
    let of_a = wait(&mut state, 1, 10, &["A"]).unwrap();
    let of_b = wait(&mut state, 2, 10, &["B"]).unwrap();
    let of_all = wait(&mut state, 3, 10, &[]).unwrap();
    push(&mut state, &["A", "A"]);
    assert_eq!([&of_a, &of_b, &of_all].map(|wake| is_woken(wake)), [true, false, true]);
    // The cursor of the other one moves past what it does not want, without a read.
    assert_eq!(state.waiting[&webhook(2)].position, Position::new(12));
    assert_eq!(state.waiting[&webhook(1)].position, Position::new(10), "it has to deliver these");
    push(&mut state, &["B"]);
    assert!(is_woken(&of_b));
    assert_eq!(state.waiting[&webhook(2)].position, Position::new(12));
}

#[test]
fn worker_with_unread_events_does_not_wait() {
    let mut state = state(10);
    push(&mut state, &["A"]);
    assert!(wait(&mut state, 1, 10, &["B"]).is_none());
    assert!(wait(&mut state, 1, 11, &["B"]).is_some());
}

#[test]
fn erasure_removes_earlier_events_from_the_buffer() {
    for erasing in ["UserErased", "WebhookDeleted"] {
        let mut state = state(10);
        push(&mut state, &["A"]);
        push(&mut state, &["A", erasing]);
        assert_eq!(page(&state, 10, &[], 9), None, "to be read again from the log");
        assert_eq!(page(&state, 11, &[], 9), Some((vec![12, 13], 13)));
    }
}

#[test]
fn buffer_is_bounded() {
    let mut state = state(0);
    for _ in 0..3 {
        push(&mut state, &vec!["A"; MAX_EVENTS / 2]);
    }
    assert_eq!(state.events.len(), MAX_EVENTS);
    assert_eq!(page(&state, 0, &[], 1), None);
}

#[test]
fn after_a_gap_waiting_workers_read_by_themselves() {
    let mut state = state(10);
    let wake = wait(&mut state, 1, 10, &["A"]).unwrap();
    state.restart(Position::new(20));
    assert!(is_woken(&wake));
    assert_eq!(page(&state, 10, &["A"], 9), None);
}
