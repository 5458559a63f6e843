//! What can be done with a webhook, and how that is stored.

use proptest::prelude::*;

use super::*;
use crate::samples::{self, because, nth_user, stored};
use crate::value::{Moment, Personal, WebhookSecret, WebhookUrl};

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
        description: Some(because()),
        after: 7,
    }
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

fn present(commands: &[WebhookCommand]) -> Subscription {
    let Webhook::Present(webhook) = given(commands) else { panic!("there is no webhook") };
    *webhook
}

#[test]
fn nothing_can_be_done_with_a_webhook_that_is_not_there() {
    for webhook in [given(&[]), given(&[register(), WebhookCommand::Delete])] {
        for command in [rotate(2), WebhookCommand::Resume, WebhookCommand::Delete] {
            assert_eq!(decide(&webhook, command), Err(WebhookRefusal::Unknown));
        }
    }
}

#[test]
fn an_id_is_used_once() {
    for webhook in [given(&[register()]), given(&[register(), WebhookCommand::Delete])] {
        assert_eq!(decide(&webhook, register()), Err(WebhookRefusal::AlreadyRegistered));
    }
}

#[test]
fn what_is_parked_stays_so_until_it_is_resumed() {
    let park = |reason| WebhookCommand::Park { reason, position: 9 };
    let parked = [register(), park(ParkReason::Failing), park(ParkReason::Owner)];
    assert_eq!(present(&parked).parked, Some(ParkReason::Failing));
    let resumed = present(&[register(), park(ParkReason::Gone), WebhookCommand::Resume]);
    assert_eq!((resumed.parked, resumed.resumed), (None, 1));
    assert_eq!(present(&[register(), WebhookCommand::Resume]).resumed, 1, "also one that only waits");
}

#[test]
fn two_secrets_are_valid_for_a_while() {
    let webhook = present(&[register(), rotate(2)]);
    assert_eq!(webhook.secrets(moment("2026-11-24T07:59:59.999Z")), [&secret(2), &secret(1)]);
    assert_eq!(webhook.secrets(moment("2026-11-24T08:00:00.000Z")), [&secret(2)]);
    let again = present(&[register(), rotate(2), rotate(3)]);
    assert_eq!(again.secrets(moment("2026-11-24T07:59:59.999Z")), [&secret(3), &secret(2)]);
}

#[test]
fn replays_are_kept_in_the_order_of_asking() {
    let replay = |from, to| WebhookCommand::Replay { from, to };
    let webhook = present(&[register(), replay(5, 9), replay(1, 2)]);
    assert_eq!(webhook.replays, [Replay { from: 5, to: 9 }, Replay { from: 1, to: 2 }]);
}

#[test]
fn types_are_a_filter_and_none_are_all() {
    let webhook = present(&[register()]);
    assert!(webhook.wants("UserErased") && !webhook.wants("UserImported"));
    assert!(Subscription { types: vec![], ..webhook }.wants("UserImported"));
}

#[test]
fn the_stored_form_seals_address_secret_and_words() {
    let all: Vec<_> = every_event().iter().map(|event| stored(event.encode())).collect();
    insta::assert_snapshot!(all.join("\n\n"), @r#"
    WebhookRegistered 1
    data {
      "after": 7,
      "has_description": true,
      "owner": "01930000-0000-7000-8000-000000000001",
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

    WebhookParked 1
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

    WebhookDeleted 1
    data {}
    personal {}
    "#);
}

fn every_event() -> Vec<WebhookEvent> {
    let mut webhook = Webhook::default();
    let park = WebhookCommand::Park { reason: ParkReason::Failing, position: 41 };
    let replay = WebhookCommand::Replay { from: 3, to: 41 };
    let mut all = Vec::new();
    for command in [register(), rotate(2), park, WebhookCommand::Resume, replay, WebhookCommand::Delete] {
        let events = decide(&webhook, command).unwrap();
        webhook = events.iter().fold(webhook, evolve);
        all.extend(events);
    }
    all
}

#[test]
fn every_event_is_read_back_and_without_its_key_says_that_it_is_erased() {
    for event in every_event() {
        let encoded = event.encode();
        let read = |personal| {
            WebhookEvent::decode(encoded.event_type, encoded.schema, &encoded.data, personal).unwrap()
        };
        assert_eq!(read(Personal::Known(&encoded.personal)), event);
        let erased = read(Personal::Erased);
        assert_eq!(erased.encode().data, encoded.data);
        assert!(erased.encode().personal.is_empty());
    }
    assert_eq!(every_event().iter().map(WebhookEvent::event_type).collect::<Vec<_>>(), WebhookEvent::TYPES);
}

#[test]
fn only_the_end_erases() {
    let erasing: Vec<_> = every_event().into_iter().filter(WebhookEvent::erases).collect();
    assert_eq!(erasing, [WebhookEvent::WebhookDeleted]);
}

fn command() -> impl Strategy<Value = WebhookCommand> {
    prop_oneof![
        Just(register()),
        any::<u8>().prop_map(rotate),
        any::<u64>().prop_map(|position| WebhookCommand::Park { reason: ParkReason::Gone, position }),
        Just(WebhookCommand::Resume),
        Just(WebhookCommand::Replay { from: 1, to: 2 }),
        Just(WebhookCommand::Delete),
    ]
}

proptest! {
    #![proptest_config(samples::config())]

    #[test]
    fn whatever_is_asked_the_stored_events_make_the_same_webhook(
        commands in proptest::collection::vec(command(), 0..12),
    ) {
        let (mut webhook, mut log) = (Webhook::default(), Vec::new());
        for command in commands {
            for event in decide(&webhook, command).unwrap_or_default() {
                webhook = evolve(webhook, &event);
                log.push(event.encode());
            }
        }
        let read = |stored: &crate::Encoded| {
            let personal = Personal::Known(&stored.personal);
            WebhookEvent::decode(stored.event_type, stored.schema, &stored.data, personal).unwrap()
        };
        let events: Vec<_> = log.iter().map(read).collect();
        prop_assert_eq!(fold(&events), webhook);
    }
}
