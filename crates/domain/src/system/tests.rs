//! Who administers the installation, and how that is stored.

use serde_json::json;

use super::*;
use crate::encoded::DecodeProblem;
use crate::samples::{nth_user, registered, stored};
use crate::user::{self, User, UserEvent};
use crate::value::{Personal, Role, UserId};

/// An installation with these administrators.
fn given(administrators: &[UserId]) -> Given {
    Given { system: System { administrators: administrators.iter().copied().collect() } }
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
fn the_last_administrator_stays() {
    given(&[nth_user(1)]).when_then_it_is_refused(AdministratorChange::Removed(nth_user(1)));
}

#[test]
fn removing_somebody_who_is_no_administrator_changes_nothing() {
    given(&[nth_user(1)]).when_then(AdministratorChange::Removed(nth_user(2)), &[]);
    given(&[]).when_then(AdministratorChange::Removed(nth_user(2)), &[]);
}

#[test]
fn a_change_is_seen_by_what_it_leads_to() {
    let id = nth_user(1);
    let admin = UserEvent::RoleGranted { role: Role::Admin };
    let auditor = UserEvent::RoleGranted { role: Role::Auditor };
    let deactivated = UserEvent::UserDeactivated { reason: None };
    let plain = user::fold(&[registered()]);
    let administrator = user::evolve(plain.clone(), &admin);

    let change =
        |before: &User, event| administrator_change(id, before, &user::evolve(before.clone(), event));
    assert_eq!(change(&plain, &admin), Some(AdministratorChange::Added(id)));
    assert_eq!(change(&administrator, &deactivated), Some(AdministratorChange::Removed(id)));
    assert_eq!(change(&plain, &deactivated), None);
    assert_eq!(change(&administrator, &auditor), None);
}

#[test]
fn the_stored_form_names_the_user_as_clients_do() {
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
fn the_names_of_all_events_are_listed_once() {
    let user = nth_user(1);
    let names = [
        SystemEvent::AdministratorAdded { user }.event_type(),
        SystemEvent::AdministratorRemoved { user }.event_type(),
    ];
    assert_eq!(names, SystemEvent::TYPES);
}

#[test]
fn what_cannot_be_read_is_named() {
    for (event_type, schema, data, problem) in [
        ("ClockSet", 1, json!({}), DecodeProblem::UnknownType),
        ("AdministratorAdded", 2, json!({}), DecodeProblem::UnknownSchema),
        ("AdministratorAdded", 1, json!({}), DecodeProblem::Missing { field: "user" }),
        ("AdministratorRemoved", 1, json!({ "user": "ada" }), DecodeProblem::IllTyped { field: "user" }),
    ] {
        let data = data.as_object().unwrap();
        let error = SystemEvent::decode(event_type, schema, data, Personal::Erased).unwrap_err();
        assert_eq!(error.problem, problem);
    }
}
