//! Snapshots of the stored form of user events. A change breaks existing logs.

use serde_json::{Map, Value, json};

use super::*;
use crate::payload::{DecodeError, DecodeProblem, EventPayload};
use crate::samples::{
    identity_changed, imported, long_ago, new_hash, registered, sample_reason, session, stored,
};
use crate::value::{Erasable, ErasureReason, RevocationReason, Role};

fn one_of_each() -> Vec<UserEvent> {
    let reason = Some(Erasable::Known(sample_reason()));
    let [email_changed, username_changed] = identity_changed();
    vec![
        registered(),
        imported(true),
        UserEvent::UserDeactivated { reason: reason.clone() },
        UserEvent::UserReactivated { reason },
        UserEvent::RoleGranted { role: Role::Admin },
        UserEvent::RoleRevoked { role: Role::Auditor },
        UserEvent::UserLocked,
        UserEvent::UserUnlocked,
        UserEvent::PasswordRehashed { password_hash: Erasable::Known(new_hash()) },
        email_changed,
        username_changed,
        UserEvent::PasswordChanged { password_hash: Erasable::Known(new_hash()) },
        UserEvent::TokensRevoked,
        UserEvent::SessionRevoked { session: session(), reason: RevocationReason::Reuse },
        UserEvent::EmailVerificationRequested,
        UserEvent::EmailVerified,
        UserEvent::PasswordResetRequested,
        UserEvent::UserErased { reason: ErasureReason::Policy },
    ]
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

fn decode_known(event_type: &str, data: &Value, personal: &Value) -> Result<UserEvent, DecodeError> {
    UserEvent::decode(event_type, 1, object(data), Erasable::Known(object(personal)))
}

fn decode_erased(event_type: &str, data: &Value) -> Result<UserEvent, DecodeError> {
    UserEvent::decode(event_type, 1, object(data), Erasable::Erased)
}

#[test]
fn event_types_are_unique() {
    let names: Vec<&str> = one_of_each().iter().map(UserEvent::event_type).collect();
    assert_eq!(names, UserEvent::TYPES);
}

#[test]
fn registration_payload_is_all_personal() {
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
fn import_keeps_state_and_creation_time_unsealed() {
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
fn erasure_stores_its_reason_code() {
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
fn deactivation_flags_its_sealed_reason() {
    let reason = Some(Erasable::Known(sample_reason()));
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
fn reactivation_without_reason_has_no_flag() {
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
fn rehashed_password_is_personal() {
    let rehashed = UserEvent::PasswordRehashed { password_hash: Erasable::Known(new_hash()) };
    insta::assert_snapshot!(stored(rehashed.encode()), @r#"
    PasswordRehashed 1
    data {}
    personal {
      "password_hash": "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA"
    }
    "#);
    assert_eq!(
        decode_erased("PasswordRehashed", &json!({})),
        Ok(UserEvent::PasswordRehashed { password_hash: Erasable::Erased })
    );
}

#[test]
fn changed_identity_keeps_the_previous_values_as_personal() {
    let [email, username] = identity_changed();
    insta::assert_snapshot!(stored(email.encode()), @r#"
    EmailChanged 1
    data {}
    personal {
      "email": "countess@example.com",
      "previous_email": "Ada@example.com"
    }
    "#);
    insta::assert_snapshot!(stored(username.encode()), @r#"
    UsernameChanged 1
    data {}
    personal {
      "previous_username": "Ada Lovelace",
      "username": "Countess"
    }
    "#);
    assert_eq!(
        decode_erased("EmailChanged", &json!({})),
        Ok(UserEvent::EmailChanged { previous: Erasable::Erased, email: Erasable::Erased })
    );
    assert_eq!(
        decode_erased("UsernameChanged", &json!({})),
        Ok(UserEvent::UsernameChanged { previous: Erasable::Erased, username: Erasable::Erased })
    );
}

#[test]
fn changed_password_is_personal() {
    let changed = UserEvent::PasswordChanged { password_hash: Erasable::Known(new_hash()) };
    insta::assert_snapshot!(stored(changed.encode()), @r#"
    PasswordChanged 1
    data {}
    personal {
      "password_hash": "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA"
    }
    "#);
    assert_eq!(
        decode_erased("PasswordChanged", &json!({})),
        Ok(UserEvent::PasswordChanged { password_hash: Erasable::Erased })
    );
}

#[test]
fn revoked_session_is_named() {
    let revoked = UserEvent::SessionRevoked { session: session(), reason: RevocationReason::Logout };
    insta::assert_snapshot!(stored(revoked.encode()), @r#"
    SessionRevoked 1
    data {
      "reason": "logout",
      "session": "01930000-0000-7000-8000-00000000002a"
    }
    personal {}
    "#);
    insta::assert_snapshot!(stored(UserEvent::TokensRevoked.encode()), @r"
    TokensRevoked 1
    data {}
    personal {}
    ");
}

#[test]
fn locks_and_mails_have_no_fields() {
    for (event, name) in [
        (UserEvent::UserLocked, "UserLocked"),
        (UserEvent::UserUnlocked, "UserUnlocked"),
        (UserEvent::EmailVerificationRequested, "EmailVerificationRequested"),
        (UserEvent::EmailVerified, "EmailVerified"),
        (UserEvent::PasswordResetRequested, "PasswordResetRequested"),
    ] {
        assert_eq!(stored(event.encode()), format!("{name} 1\ndata {{}}\npersonal {{}}"));
        assert!(!event.revokes_tokens());
    }
}

#[test]
fn erased_registration_decodes() {
    for (data, password_hash) in
        [(json!({}), Some(Erasable::Erased)), (json!({ "without_password": true }), None)]
    {
        assert_eq!(
            decode_erased("UserRegistered", &data),
            Ok(UserEvent::UserRegistered {
                email: Erasable::Erased,
                username: Erasable::Erased,
                password_hash,
            })
        );
    }
}

#[test]
fn registration_without_a_password_says_so() {
    let registered = UserEvent::UserRegistered {
        email: Erasable::Known(crate::samples::ada()),
        username: Erasable::Known(crate::samples::ada_username()),
        password_hash: None,
    };
    insta::assert_snapshot!(stored(registered.encode()), @r#"
    UserRegistered 1
    data {
      "without_password": true
    }
    personal {
      "email": "Ada@example.com",
      "username": "Ada Lovelace"
    }
    "#);
}

#[test]
fn import_without_a_password_says_so() {
    let UserEvent::UserImported { email, username, is_active, created_at, .. } = imported(true) else {
        unreachable!()
    };
    let event = UserEvent::UserImported { email, username, password_hash: None, is_active, created_at };
    insta::assert_snapshot!(stored(event.encode()), @r#"
    UserImported 1
    data {
      "created_at": "2019-05-04T03:02:01.007Z",
      "is_active": true,
      "without_password": true
    }
    personal {
      "email": "Ada@example.com",
      "username": "Ada Lovelace"
    }
    "#);
}

#[test]
fn erased_import_keeps_unsealed_fields() {
    let unsealed = |data: &Value| {
        let mut fields = json!({ "is_active": false, "created_at": "2019-05-04T03:02:01.007Z" });
        fields.as_object_mut().unwrap().extend(object(data).clone());
        fields
    };
    for (data, password_hash) in
        [(json!({}), Some(Erasable::Erased)), (json!({ "without_password": true }), None)]
    {
        assert_eq!(
            decode_erased("UserImported", &unsealed(&data)),
            Ok(UserEvent::UserImported {
                email: Erasable::Erased,
                username: Erasable::Erased,
                password_hash,
                is_active: false,
                created_at: long_ago(),
            })
        );
    }
}

#[test]
fn erased_reason_differs_from_no_reason() {
    assert_eq!(
        decode_erased("UserDeactivated", &json!({ "has_reason": true })),
        Ok(UserEvent::UserDeactivated { reason: Some(Erasable::Erased) })
    );
    assert_eq!(decode_erased("UserDeactivated", &json!({})), Ok(UserEvent::UserDeactivated { reason: None }));
}

#[test]
fn stored_events_decode_under_stricter_rules() {
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
fn decode_errors_name_type_schema_and_field() {
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
fn unknown_schema_is_rejected() {
    for event in one_of_each() {
        let EventPayload { data, personal, .. } = event.encode();
        let error = UserEvent::decode(event.event_type(), 2, &data, Erasable::Known(&personal)).unwrap_err();
        assert_eq!(error.problem, DecodeProblem::UnknownSchema);
    }
}

#[test]
fn decode_error_shows_no_value() {
    let personal = json!({ "email": ["ada@example.com"], "username": "ada" });
    let error = decode_known("UserRegistered", &json!({}), &personal).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("ada"));
}
