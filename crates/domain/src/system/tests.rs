//! Tests of system decisions and of the stored form of system events.

use serde_json::json;

use super::*;
use crate::payload::DecodeProblem;
use crate::samples::{nth_user, registered, sample_reason, stored};
use crate::user::{self, User, UserEvent};
use crate::value::{Erasable, ErasureReason, Reason, Role, UserId};

/// A system with these administrators.
fn given(administrators: &[UserId]) -> Given {
    let administrators = administrators.iter().copied().collect();
    Given { system: System { administrators, ..System::default() } }
}

struct Given {
    system: System,
}

impl Given {
    #[track_caller]
    fn when_then(self, change: AdministratorChange, expected: &[SystemEvent]) {
        assert_eq!(decide(&self.system, change).as_deref(), Ok(expected));
    }

    #[track_caller]
    fn when_then_it_is_refused(self, change: AdministratorChange) {
        assert_eq!(decide(&self.system, change), Err(LastAdministrator));
    }
}

#[test]
fn an_administrator_is_added_once() {
    let user = nth_user(1);
    given(&[]).when_then(AdministratorChange::Added(user), &[SystemEvent::AdministratorAdded { user }]);
    given(&[user]).when_then(AdministratorChange::Added(user), &[]);
}

#[test]
fn one_of_two_administrators_can_be_removed() {
    let user = nth_user(1);
    given(&[user, nth_user(2)])
        .when_then(AdministratorChange::Removed(user), &[SystemEvent::AdministratorRemoved { user }]);
}

#[test]
fn last_administrator_cannot_be_removed() {
    given(&[nth_user(1)]).when_then_it_is_refused(AdministratorChange::Removed(nth_user(1)));
}

#[test]
fn removing_somebody_who_is_no_administrator_changes_nothing() {
    given(&[nth_user(1)]).when_then(AdministratorChange::Removed(nth_user(2)), &[]);
    given(&[]).when_then(AdministratorChange::Removed(nth_user(2)), &[]);
}

#[test]
fn administrator_change_compares_states() {
    let id = nth_user(1);
    let admin = UserEvent::RoleGranted { role: Role::Admin };
    let auditor = UserEvent::RoleGranted { role: Role::Auditor };
    let deactivated = UserEvent::UserDeactivated { reason: None };
    let erased = UserEvent::UserErased { reason: ErasureReason::Request };
    let plain = user::fold(&[registered()]);
    let administrator = user::evolve(plain.clone(), &admin);

    let change =
        |before: &User, event| administrator_change(id, before, &user::evolve(before.clone(), event));
    assert_eq!(change(&plain, &admin), Some(AdministratorChange::Added(id)));
    assert_eq!(change(&administrator, &deactivated), Some(AdministratorChange::Removed(id)));
    assert_eq!(change(&administrator, &erased), Some(AdministratorChange::Removed(id)));
    assert_eq!(change(&plain, &erased), None);
    assert_eq!(change(&plain, &deactivated), None);
    assert_eq!(change(&administrator, &auditor), None);
}

#[test]
fn stored_form_holds_the_public_user_id() {
    let user = UserId::parse("507f1f77bcf86cd799439011").unwrap();
    let added = SystemEvent::AdministratorAdded { user };
    insta::assert_snapshot!(stored(added.encode()), @r#"
    AdministratorAdded 1
    data {
      "user": "507f1f77bcf86cd799439011"
    }
    personal {}
    "#);
    let removed = SystemEvent::AdministratorRemoved { user: nth_user(1) };
    insta::assert_snapshot!(stored(removed.encode()), @r#"
    AdministratorRemoved 1
    data {
      "user": "01930000-0000-7000-8000-000000000001"
    }
    personal {}
    "#);
}

#[test]
fn export_of_hashes_changes_no_state() {
    insta::assert_snapshot!(stored(SystemEvent::PasswordHashesExported.encode()), @r#"
    PasswordHashesExported 1
    data {}
    personal {}
    "#);
    assert_eq!(fold(&[SystemEvent::PasswordHashesExported]), System::default());
}

fn skipped(projection: &str, position: u64, reason: Reason) -> SystemEvent {
    SystemEvent::ProjectionEventSkipped {
        projection: projection.to_owned(),
        position,
        reason: Erasable::Known(reason),
    }
}

#[test]
fn skip_is_recorded_once() {
    let decide = |system: &System, projection: &str, position| {
        decide_skip(system, Skip { projection: projection.to_owned(), position, reason: sample_reason() })
    };
    let none = System::default();
    let first = decide(&none, "users", 7);
    assert_eq!(first, [skipped("users", 7, sample_reason())]);
    let once = fold(&first);
    assert_eq!(decide(&once, "users", 7), []);
    assert_eq!(decide(&once, "users", 8), [skipped("users", 8, sample_reason())]);
    assert_eq!(decide(&once, "daily", 7), [skipped("daily", 7, sample_reason())]);
    assert_eq!(fold(&[skipped("users", 7, Reason::parse("another").unwrap())]), once, "whatever the reason");
}

#[test]
fn skipped_positions_are_stored_per_projection() {
    let user = nth_user(1);
    let system = fold(&[
        skipped("users", 7, sample_reason()),
        SystemEvent::AdministratorAdded { user },
        skipped("daily", 9, sample_reason()),
        skipped("users", 3, sample_reason()),
    ]);
    let all: Vec<_> = ["users", "daily", "activity"]
        .into_iter()
        .flat_map(|projection| (0..12).map(move |position| (projection, position)))
        .filter(|(projection, position)| system.is_skipped(projection, *position))
        .collect();
    assert_eq!(all, [("users", 3), ("users", 7), ("daily", 9)]);
    assert!(system.administrators.contains(&user));
}

#[test]
fn skip_reason_is_personal() {
    insta::assert_snapshot!(stored(skipped("users", 7, sample_reason()).encode()), @r#"
    ProjectionEventSkipped 1
    data {
      "position": 7,
      "projection": "users"
    }
    personal {
      "reason": "asked by mail"
    }
    "#);
    let data = json!({ "projection": "users", "position": 7 });
    let read = SystemEvent::decode("ProjectionEventSkipped", 1, data.as_object().unwrap(), Erasable::Erased);
    let SystemEvent::ProjectionEventSkipped { projection, position, reason } = read.unwrap() else {
        panic!("another event was read");
    };
    assert_eq!((projection.as_str(), position, reason), ("users", 7, Erasable::Erased));
}

#[test]
fn event_types_are_unique() {
    let user = nth_user(1);
    let names = [
        SystemEvent::AdministratorAdded { user }.event_type(),
        SystemEvent::AdministratorRemoved { user }.event_type(),
        skipped("users", 7, sample_reason()).event_type(),
        SystemEvent::PasswordHashesExported.event_type(),
    ];
    assert_eq!(names, SystemEvent::TYPES);
}

#[test]
fn decode_errors_name_type_schema_and_field() {
    for (event_type, schema, data, problem) in [
        ("ClockSet", 1, json!({}), DecodeProblem::UnknownType),
        ("AdministratorAdded", 2, json!({}), DecodeProblem::UnknownSchema),
        ("AdministratorAdded", 1, json!({}), DecodeProblem::Missing { field: "user" }),
        ("AdministratorRemoved", 1, json!({ "user": "ada" }), DecodeProblem::IllTyped { field: "user" }),
        ("ProjectionEventSkipped", 1, json!({}), DecodeProblem::Missing { field: "projection" }),
        (
            "ProjectionEventSkipped",
            1,
            json!({ "projection": "users" }),
            DecodeProblem::Missing { field: "position" },
        ),
        (
            "ProjectionEventSkipped",
            1,
            json!({ "projection": "users", "position": -7 }),
            DecodeProblem::IllTyped { field: "position" },
        ),
    ] {
        let data = data.as_object().unwrap();
        let error = SystemEvent::decode(event_type, schema, data, Erasable::Erased).unwrap_err();
        assert_eq!(error.problem, problem);
    }
}
