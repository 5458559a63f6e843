use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::samples::{config, login_client, login_event, stored};
use crate::value::Erasable;

fn begin() -> LoginCommand {
    LoginCommand::BeginSpell { reason: LoginFailure::WrongPassword, client: login_client() }
}

fn end(is_early: bool) -> LoginCommand {
    LoginCommand::EndSpell {
        reason: LoginFailure::InactiveUser,
        count: 7,
        client: LoginClient::default(),
        is_early,
    }
}

fn succeed() -> LoginCommand {
    LoginCommand::Succeed { failures: 3, client: login_client() }
}

fn failed(count: Option<u64>) -> LoginEvent {
    LoginEvent::LoginFailed { reason: LoginFailure::WrongPassword, count, client: login_client() }
}

fn is_recorded(latest: Option<LoginEvent>, age: Duration, command: LoginCommand) -> bool {
    let latest = latest.map(|event| LatestLogin { event, age });
    decide(latest.as_ref(), command).is_some()
}

#[test]
fn spells_begin_once_and_end_once() {
    let succeeded = || Some(LoginEvent::LoginSucceeded { failures: 0, client: LoginClient::default() });
    let recent = SPELL_TIMEOUT.saturating_sub(Duration::from_millis(1));
    for (latest, age, begins, ends, ends_early) in [
        (None, Duration::ZERO, true, true, true),
        (succeeded(), Duration::ZERO, true, true, true),
        (Some(failed(None)), recent, false, false, true),
        (Some(failed(None)), SPELL_TIMEOUT, true, true, true),
        (Some(failed(Some(2))), recent, true, false, false),
        (Some(failed(Some(2))), SPELL_TIMEOUT, true, true, true),
    ] {
        assert_eq!(is_recorded(latest.clone(), age, begin()), begins, "{latest:?} {age:?}");
        assert_eq!(is_recorded(latest.clone(), age, end(false)), ends, "{latest:?} {age:?}");
        assert_eq!(is_recorded(latest.clone(), age, end(true)), ends_early, "{latest:?} {age:?}");
        assert!(is_recorded(latest, age, succeed()));
    }
}

#[test]
fn recorded_events_say_what_happened() {
    let event = decide(None, end(false)).unwrap();
    let LoginEvent::LoginFailed { reason, count, .. } = &event else { panic!("{event:?}") };
    assert_eq!((*reason, *count), (LoginFailure::InactiveUser, Some(7)));
    assert_eq!(decide(None, begin()), Some(failed(None)));
}

proptest! {
    #![proptest_config(config())]

    /// Failures seen by any number of nodes, at any times, with any losses of memory.
    #[test]
    fn events_without_a_success_are_bounded(steps in proptest::collection::vec((any::<bool>(), 0_u64..600), 1..200)) {
        let (mut latest, mut now, mut times): (Option<(LoginEvent, Duration)>, _, Vec<Duration>) =
            (None, Duration::ZERO, Vec::new());
        for (begins, pause) in steps {
            now += Duration::from_secs(pause);
            let before = latest.as_ref().map(|(event, at)| LatestLogin { event: event.clone(), age: now.saturating_sub(*at) });
            if let Some(event) = decide(before.as_ref(), if begins { begin() } else { end(false) }) {
                latest = Some((event, now));
                times.push(now);
            }
        }
        for window in times.windows(3) {
            prop_assert!(window[2].saturating_sub(window[0]) >= SPELL_TIMEOUT, "{times:?}");
        }
    }

    #[test]
    fn stored_form_round_trips(event in login_event()) {
        let encoded = event.encode();
        let personal = Erasable::Known(&encoded.personal);
        let decoded = LoginEvent::decode(encoded.event_type, encoded.schema, &encoded.data, personal);
        prop_assert_eq!(decoded, Ok(event));
    }
}

#[test]
fn address_and_user_agent_are_personal() {
    insta::assert_snapshot!(stored(decide(None, succeed()).unwrap().encode()), @r#"
    LoginSucceeded 1
    data {
      "failures": 3,
      "has_address": true,
      "has_user_agent": true
    }
    personal {
      "address": "2001:db8::7",
      "user_agent": "curl/8.5.0"
    }
    "#);
}

#[test]
fn failures_say_why_and_how_many() {
    insta::assert_snapshot!(stored(failed(None).encode()), @r#"
    LoginFailed 1
    data {
      "has_address": true,
      "has_user_agent": true,
      "reason": "wrong_password"
    }
    personal {
      "address": "2001:db8::7",
      "user_agent": "curl/8.5.0"
    }
    "#);
    insta::assert_snapshot!(stored(decide(None, end(false)).unwrap().encode()), @r#"
    LoginFailed 1
    data {
      "count": 7,
      "reason": "inactive_user"
    }
    personal {}
    "#);
}

#[test]
fn erased_logins_are_still_logins() {
    let encoded = failed(Some(2)).encode();
    let erased = LoginEvent::decode(encoded.event_type, encoded.schema, &encoded.data, Erasable::Erased);
    let client = LoginClient { address: Some(Erasable::Erased), user_agent: Some(Erasable::Erased) };
    let reason = LoginFailure::WrongPassword;
    assert_eq!(erased, Ok(LoginEvent::LoginFailed { reason, count: Some(2), client }));
}

#[test]
fn malformed_events_are_rejected() {
    let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
    for (event_type, data, personal) in [
        ("LoginSucceeded", json!({}), json!({})),
        ("LoginSucceeded", json!({"failures": -1}), json!({})),
        ("LoginSucceeded", json!({"failures": 0, "has_address": true}), json!({"address": "here"})),
        ("LoginFailed", json!({"reason": "because"}), json!({})),
        ("LoginFailed", json!({"reason": "wrong_password", "count": "2"}), json!({})),
        ("UserLocked", json!({}), json!({})),
    ] {
        let (data, personal): (Map<_, _>, _) = (object(data), object(personal));
        let decoded = LoginEvent::decode(event_type, 1, &data, Erasable::Known(&personal));
        assert!(decoded.is_err(), "{event_type} {data:?}");
    }
}
