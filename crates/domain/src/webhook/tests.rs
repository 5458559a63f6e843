//! Tests of webhook decisions and of the stored form of webhook events.

use proptest::prelude::*;

use super::*;
use crate::samples::{self, nth_user, sample_reason, stored};
use crate::value::{Erasable, Moment, WebhookSecret, WebhookUrl};

fn url() -> WebhookUrl {
    WebhookUrl::parse("https://example.com/events?token=1").unwrap()
}

fn moment(text: &str) -> Moment {
    Moment::parse(text).unwrap()
}

const fn secret(octet: u8) -> WebhookSecret {
    WebhookSecret::new([octet; 32])
}

fn register() -> WebhookCommand {
    WebhookCommand::Register {
        owner: nth_user(1),
        url: url(),
        secret: secret(1),
        types: vec!["UserRegistered".to_owned(), "UserErased".to_owned()],
        description: Some(sample_reason()),
        after: 7,
        batch: BatchSize::new(20),
        slot: Some(slot(3)),
    }
}

fn slot(number: u64) -> WebhookSlot {
    WebhookSlot::new(number).unwrap()
}

fn rotate(octet: u8) -> WebhookCommand {
    let previous_until = moment("2026-11-24T08:00:00.000Z");
    WebhookCommand::RotateSecret { secret: secret(octet), previous_until }
}

fn given(commands: &[WebhookCommand]) -> Webhook {
    commands.iter().fold(Webhook::default(), |webhook, command| {
        let events = decide(&webhook, command.clone()).unwrap();
        events.iter().fold(webhook, evolve)
    })
}

fn present(commands: &[WebhookCommand]) -> ActiveWebhook {
    let Webhook::Present(webhook) = given(commands) else { panic!("there is no webhook") };
    *webhook
}

#[test]
fn commands_on_an_absent_or_deleted_webhook_are_rejected() {
    for webhook in [given(&[]), given(&[register(), WebhookCommand::Delete])] {
        for command in [rotate(2), WebhookCommand::Resume { is_stalled: true }, WebhookCommand::Delete] {
            assert_eq!(decide(&webhook, command), Err(WebhookRejection::Unknown));
        }
    }
}

#[test]
fn webhook_id_cannot_be_reused() {
    for webhook in [given(&[register()]), given(&[register(), WebhookCommand::Delete])] {
        assert_eq!(decide(&webhook, register()), Err(WebhookRejection::AlreadyRegistered));
    }
}

#[test]
fn suspended_webhook_stays_suspended_until_resumed() {
    let suspend = |reason| WebhookCommand::Suspend { reason, position: 9, resumed: 0 };
    let resume = |is_stalled| WebhookCommand::Resume { is_stalled };
    let suspended = [register(), suspend(SuspensionReason::Failing), suspend(SuspensionReason::Owner)];
    assert_eq!(present(&suspended).suspended, Some(SuspensionReason::Failing));
    let resumed = present(&[register(), suspend(SuspensionReason::Gone), resume(false)]);
    assert_eq!((resumed.suspended, resumed.resumed), (None, 1));
    assert_eq!(present(&[register(), resume(true)]).resumed, 1, "to retry at once");
    assert_eq!(present(&[register(), resume(false)]).resumed, 0, "there is nothing to resume");
}

#[test]
fn suspension_decided_before_a_resume_changes_nothing() {
    let suspend = |resumed| WebhookCommand::Suspend { reason: SuspensionReason::Gone, position: 9, resumed };
    let resumed = [register(), WebhookCommand::Resume { is_stalled: true }];
    assert_eq!(decide(&given(&resumed), suspend(0)), Ok(vec![]));
    let decided = decide(&given(&resumed), suspend(1)).unwrap();
    assert_eq!(decided, [WebhookEvent::WebhookSuspended { reason: SuspensionReason::Gone, position: 9 }]);
}

#[test]
fn previous_secret_is_valid_until_its_deadline() {
    let webhook = present(&[register(), rotate(2)]);
    assert_eq!(webhook.secrets(moment("2026-11-24T07:59:59.999Z")), [&secret(2), &secret(1)]);
    assert_eq!(webhook.secrets(moment("2026-11-24T08:00:00.000Z")), [&secret(2)]);
    let again = present(&[register(), rotate(2), rotate(3)]);
    assert_eq!(again.secrets(moment("2026-11-24T07:59:59.999Z")), [&secret(3), &secret(2)]);
}

#[test]
fn replays_keep_their_request_order() {
    let replay = |from, to| WebhookCommand::Replay { from, to, completed: 0 };
    let webhook = present(&[register(), replay(5, 9), replay(1, 2)]);
    assert_eq!(webhook.replays, [Replay { from: 5, to: 9 }, Replay { from: 1, to: 2 }]);
}

#[test]
fn replay_queue_is_limited_and_can_be_cancelled() {
    let replay = |completed| WebhookCommand::Replay { from: 1, to: 2, completed };
    let cancel = |completed| WebhookCommand::CancelReplays { completed };
    let full: Vec<_> = std::iter::once(register()).chain((0..10).map(|_| replay(0))).collect();
    assert_eq!(decide(&given(&full), replay(0)), Err(WebhookRejection::TooManyReplays));
    assert!(decide(&given(&full), replay(1)).is_ok(), "one of them is complete");
    assert_eq!(decide(&given(&full), cancel(10)), Ok(vec![]), "all of them are complete");
    let cancelled = [full, vec![cancel(4)]].concat();
    assert_eq!(present(&cancelled).queued_replays(4), 0);
    assert_eq!(decide(&given(&cancelled), cancel(4)), Ok(vec![]));
    let again = [cancelled, vec![replay(4)]].concat();
    assert_eq!((present(&again).queued_replays(4), present(&again).cancelled_replays), (1, 10));
}

#[test]
fn empty_type_filter_matches_all_types() {
    let webhook = present(&[register()]);
    assert!(webhook.matches_type("UserErased") && !webhook.matches_type("UserImported"));
    assert!(ActiveWebhook { types: vec![], ..webhook }.matches_type("UserImported"));
}

#[test]
fn stored_form_seals_url_secret_and_description() {
    let all: Vec<_> = every_event().iter().map(|event| stored(event.encode())).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r#"
    WebhookRegistered 1
    data {
      "after": 7,
      "batch": 20,
      "has_description": true,
      "owner": "01930000-0000-7000-8000-000000000001",
      "slot": 3,
      "types": "UserRegistered,UserErased"
    }
    personal {
      "description": "asked by mail",
      "secret": "0101010101010101010101010101010101010101010101010101010101010101",
      "url": "https://example.com/events?token=1"
    }

    WebhookSecretRotated 1
    data {
      "previous_until": "2026-11-24T08:00:00.000Z"
    }
    personal {
      "secret": "0202020202020202020202020202020202020202020202020202020202020202"
    }

    WebhookSuspended 1
    data {
      "position": 41,
      "reason": "failing"
    }
    personal {}

    WebhookResumed 1
    data {}
    personal {}

    WebhookReplayRequested 1
    data {
      "from": 3,
      "to": 41
    }
    personal {}

    WebhookReplaysCancelled 1
    data {}
    personal {}

    WebhookDeleted 1
    data {}
    personal {}
    "#);
}

fn every_event() -> Vec<WebhookEvent> {
    let mut webhook = Webhook::default();
    let suspend = WebhookCommand::Suspend { reason: SuspensionReason::Failing, position: 41, resumed: 0 };
    let resume = WebhookCommand::Resume { is_stalled: false };
    let replay = WebhookCommand::Replay { from: 3, to: 41, completed: 0 };
    let cancel = WebhookCommand::CancelReplays { completed: 0 };
    let mut all = Vec::new();
    for command in [register(), rotate(2), suspend, resume, replay, cancel, WebhookCommand::Delete] {
        let events = decide(&webhook, command).unwrap();
        webhook = events.iter().fold(webhook, evolve);
        all.extend(events);
    }
    all
}

#[test]
fn every_event_round_trips_and_decodes_after_erasure() {
    for event in every_event() {
        let encoded = event.encode();
        let read = |personal| {
            WebhookEvent::decode(encoded.event_type, encoded.schema, &encoded.data, personal).unwrap()
        };
        assert_eq!(read(Erasable::Known(&encoded.personal)), event);
        let erased = read(Erasable::Erased);
        assert_eq!(erased.encode().data, encoded.data);
        assert!(erased.encode().personal.is_empty());
    }
    assert_eq!(every_event().iter().map(WebhookEvent::event_type).collect::<Vec<_>>(), WebhookEvent::TYPES);
}

#[test]
fn registration_of_earlier_releases_stays_readable() {
    let mut stored = every_event().remove(0).encode();
    stored.data.remove("slot");
    stored.data.remove("batch");
    let read = |stored: &crate::EventPayload| {
        let personal = Erasable::Known(&stored.personal);
        WebhookEvent::decode(stored.event_type, stored.schema, &stored.data, personal)
    };
    let WebhookEvent::WebhookRegistered { slot, batch, .. } = read(&stored).unwrap() else {
        panic!("{stored:?}")
    };
    assert_eq!((slot, batch), (None, None));
    assert_eq!(read(&stored).unwrap().claim_taken(), None);
    for wrong in [0, 101] {
        stored.data.insert("slot".to_owned(), wrong.into());
        assert!(read(&stored).is_err(), "slot {wrong}");
    }
    stored.data.remove("slot");
    for wrong in [0, 101] {
        stored.data.insert("batch".to_owned(), wrong.into());
        assert!(read(&stored).is_err(), "batch {wrong}");
    }
}

#[test]
fn only_free_slots_are_selected() {
    let free = [slot(2), slot(100)];
    for random in [0, 1, 2, u32::MAX] {
        assert!(free.contains(&WebhookSlot::select(&free, random).unwrap()), "{random}");
    }
    assert_eq!(WebhookSlot::select(&[], 7), None);
    let WebhookCommand::Register { owner, url, secret, types, description, after, batch, .. } = register()
    else {
        unreachable!()
    };
    let full = WebhookCommand::Register { owner, url, secret, types, description, after, batch, slot: None };
    assert_eq!(decide(&Webhook::Absent, full), Err(WebhookRejection::TooMany));
    assert_eq!(WebhookSlot::all().count(), 100);
    let claims: std::collections::HashSet<_> =
        WebhookSlot::all().map(|slot| slot.claim(nth_user(1))).collect();
    assert_eq!(claims.len(), 100);
    assert_eq!(every_event()[0].claim_taken(), Some(slot(3).claim(nth_user(1))));
}

#[test]
fn only_deletion_erases() {
    let erasing: Vec<_> = every_event().into_iter().filter(WebhookEvent::erases).collect();
    assert_eq!(erasing, [WebhookEvent::WebhookDeleted]);
}

fn command() -> impl Strategy<Value = WebhookCommand> {
    prop_oneof![
        Just(register()),
        any::<u8>().prop_map(rotate),
        (any::<u64>(), 0..3_u64).prop_map(|(position, resumed)| {
            WebhookCommand::Suspend { reason: SuspensionReason::Gone, position, resumed }
        }),
        any::<bool>().prop_map(|is_stalled| WebhookCommand::Resume { is_stalled }),
        (0..12_usize).prop_map(|completed| WebhookCommand::Replay { from: 1, to: 2, completed }),
        (0..12_usize).prop_map(|completed| WebhookCommand::CancelReplays { completed }),
        Just(WebhookCommand::Delete),
    ]
}

proptest! {
    #![proptest_config(samples::config())]

    #[test]
    fn stored_events_fold_to_the_same_webhook(
        commands in proptest::collection::vec(command(), 0..12),
    ) {
        let (mut webhook, mut log) = (Webhook::default(), Vec::new());
        for command in commands {
            for event in decide(&webhook, command).unwrap_or_default() {
                webhook = evolve(webhook, &event);
                log.push(event.encode());
            }
        }
        let read = |stored: &crate::EventPayload| {
            let personal = Erasable::Known(&stored.personal);
            WebhookEvent::decode(stored.event_type, stored.schema, &stored.data, personal).unwrap()
        };
        let events: Vec<_> = log.iter().map(read).collect();
        prop_assert_eq!(fold(&events), webhook);
    }
}
