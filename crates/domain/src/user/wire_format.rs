//! The stored form of a user's events, pinned: what changes here breaks every log that was ever written.

use serde_json::{Map, Value, json};

use super::*;
use crate::encoded::{DecodeError, DecodeProblem, Encoded};
use crate::samples::{because, imported, long_ago, registered, stored};
use crate::value::{ErasureReason, Personal, Role};

fn one_of_each() -> Vec<UserEvent> {
    let reason = Some(Personal::Known(because()));
    vec![
        registered(),
        imported(true),
        UserEvent::UserDeactivated { reason: reason.clone() },
        UserEvent::UserReactivated { reason },
        UserEvent::RoleGranted { role: Role::Admin },
        UserEvent::RoleRevoked { role: Role::Auditor },
        UserEvent::UserErased { reason: ErasureReason::Policy },
    ]
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

fn decode_known(event_type: &str, data: &Value, personal: &Value) -> Result<UserEvent, DecodeError> {
    UserEvent::decode(event_type, 1, object(data), Personal::Known(object(personal)))
}

fn decode_erased(event_type: &str, data: &Value) -> Result<UserEvent, DecodeError> {
    UserEvent::decode(event_type, 1, object(data), Personal::Erased)
}

#[test]
fn the_names_of_all_events_are_listed_once() {
    let names: Vec<&str> = one_of_each().iter().map(UserEvent::event_type).collect();
    assert_eq!(names, UserEvent::TYPES);
}

#[test]
fn a_registration_holds_all_it_says_as_personal() {
    insta::assert_snapshot!(stored(registered().encode()), @r#"
    UserRegistered 1
    data {}
    personal {
      "email": "Ada@example.com",
      "password_hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
      "username": "Ada Lovelace"
    }
    "#);
}

#[test]
fn an_import_says_in_the_open_what_the_account_was_elsewhere() {
    insta::assert_snapshot!(stored(imported(false).encode()), @r#"
    UserImported 1
    data {
      "created_at": "2019-05-04T03:02:01.007Z",
      "is_active": false
    }
    personal {
      "email": "Ada@example.com",
      "password_hash": "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
      "username": "Ada Lovelace"
    }
    "#);
}

#[test]
fn an_erasure_gives_its_reason_as_a_code() {
    let erased = UserEvent::UserErased { reason: ErasureReason::Request };
    insta::assert_snapshot!(stored(erased.encode()), @r#"
    UserErased 1
    data {
      "reason": "request"
    }
    personal {}
    "#);
}

#[test]
fn a_deactivation_says_in_the_open_that_there_is_a_reason() {
    let reason = Some(Personal::Known(because()));
    insta::assert_snapshot!(stored(UserEvent::UserDeactivated { reason }.encode()), @r#"
    UserDeactivated 1
    data {
      "has_reason": true
    }
    personal {
      "reason": "asked by mail"
    }
    "#);
}

#[test]
fn a_reactivation_without_a_reason_says_nothing_of_one() {
    let event = UserEvent::UserReactivated { reason: None };
    insta::assert_snapshot!(stored(event.encode()), @r"
    UserReactivated 1
    data {}
    personal {}
    ");
}

#[test]
fn roles_are_written_in_the_open() {
    let granted = UserEvent::RoleGranted { role: Role::Admin };
    insta::assert_snapshot!(stored(granted.encode()), @r#"
    RoleGranted 1
    data {
      "role": "admin"
    }
    personal {}
    "#);
    let revoked = UserEvent::RoleRevoked { role: Role::Auditor };
    insta::assert_snapshot!(stored(revoked.encode()), @r#"
    RoleRevoked 1
    data {
      "role": "auditor"
    }
    personal {}
    "#);
}

#[test]
fn an_erased_registration_is_still_a_registration() {
    assert_eq!(
        decode_erased("UserRegistered", &json!({})),
        Ok(UserEvent::UserRegistered {
            email: Personal::Erased,
            username: Personal::Erased,
            password_hash: Personal::Erased,
        })
    );
}

#[test]
fn an_erased_import_still_tells_what_is_not_personal() {
    let data = json!({ "is_active": false, "created_at": "2019-05-04T03:02:01.007Z" });
    assert_eq!(
        decode_erased("UserImported", &data),
        Ok(UserEvent::UserImported {
            email: Personal::Erased,
            username: Personal::Erased,
            password_hash: Personal::Erased,
            is_active: false,
            created_at: long_ago(),
        })
    );
}

#[test]
fn an_erased_reason_is_told_from_one_that_was_never_given() {
    assert_eq!(
        decode_erased("UserDeactivated", &json!({ "has_reason": true })),
        Ok(UserEvent::UserDeactivated { reason: Some(Personal::Erased) })
    );
    assert_eq!(decode_erased("UserDeactivated", &json!({})), Ok(UserEvent::UserDeactivated { reason: None }));
}

#[test]
fn an_event_keeps_its_meaning_when_the_rules_for_new_ones_grow_stricter() {
    let personal = json!({ "email": "ada@intranet", "username": "", "password_hash": "" });
    let event = decode_known("UserRegistered", &json!({}), &personal).unwrap();
    assert_eq!(Value::Object(event.encode().personal), personal);
}

#[test]
fn fields_that_a_later_version_added_are_passed_over() {
    let data = json!({ "role": "admin", "until": 7 });
    assert_eq!(
        decode_known("RoleGranted", &data, &json!({})),
        Ok(UserEvent::RoleGranted { role: Role::Admin })
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let person = json!({ "email": "ada@example.com", "username": "ada", "password_hash": "" });
    let complete = json!({ "email": "ada@example.com", "username": "ada", "password_hash": 7 });
    for (event_type, data, personal, problem) in [
        ("UserRenamed", json!({}), json!({}), DecodeProblem::UnknownType),
        ("userregistered", json!({}), json!({}), DecodeProblem::UnknownType),
        ("UserRegistered", json!({}), json!({}), DecodeProblem::Missing { field: "email" }),
        ("UserRegistered", json!({}), complete, DecodeProblem::IllTyped { field: "password_hash" }),
        ("UserImported", json!({}), person.clone(), DecodeProblem::Missing { field: "is_active" }),
        (
            "UserImported",
            json!({ "is_active": 1 }),
            person.clone(),
            DecodeProblem::IllTyped { field: "is_active" },
        ),
        (
            "UserImported",
            json!({ "is_active": true, "created_at": "yesterday" }),
            person,
            DecodeProblem::IllTyped { field: "created_at" },
        ),
        ("UserErased", json!({ "reason": "gdpr" }), json!({}), DecodeProblem::IllTyped { field: "reason" }),
        ("RoleGranted", json!({}), json!({}), DecodeProblem::Missing { field: "role" }),
        ("RoleGranted", json!({ "role": "root" }), json!({}), DecodeProblem::IllTyped { field: "role" }),
        (
            "UserDeactivated",
            json!({ "has_reason": "yes" }),
            json!({}),
            DecodeProblem::IllTyped { field: "has_reason" },
        ),
        (
            "UserDeactivated",
            json!({ "has_reason": true }),
            json!({}),
            DecodeProblem::Missing { field: "reason" },
        ),
    ] {
        let error = decode_known(event_type, &data, &personal).unwrap_err();
        assert_eq!(error.problem, problem);
        assert_eq!((error.event_type.as_str(), error.schema), (event_type, 1));
    }
}

#[test]
fn a_schema_from_the_future_is_not_guessed_at() {
    for event in one_of_each() {
        let Encoded { data, personal, .. } = event.encode();
        let error = UserEvent::decode(event.event_type(), 2, &data, Personal::Known(&personal)).unwrap_err();
        assert_eq!(error.problem, DecodeProblem::UnknownSchema);
    }
}

#[test]
fn an_error_shows_no_value() {
    let personal = json!({ "email": ["ada@example.com"], "username": "ada" });
    let error = decode_known("UserRegistered", &json!({}), &personal).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("ada"));
}
