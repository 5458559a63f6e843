//! `/projections`: status and management of projection versions over HTTP.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::Role;
use projections::{Users, verify};
use serde_json::{Value, json};

use crate::projector::append_unknown_event;
use crate::support::{Store, TestApp, User, eventually, on_both_stores};

on_both_stores! {
    read_models_are_managed_by_operators_and_administrators_only
    invalid_projection_commands_are_rejected_without_effect
    projection_version_is_rebuilt_rolled_back_and_dropped
    second_rebuild_is_rejected_and_a_rebuild_can_be_canceled
    unknown_event_is_skipped_by_a_recorded_decision
    rebuild_does_not_disturb_requests
}

const ACTIONS: [&str; 5] = ["rebuild", "cancel", "rollback", "drop", "skip"];

async fn users_of(operator: &User) -> Value {
    operator.get("/projections/users").send().await.expect(200).json()
}

fn roles(status: &Value) -> Vec<(u64, String)> {
    let versions = status["versions"].as_array().unwrap().iter();
    versions
        .map(|version| (version["version"].as_u64().unwrap(), version["role"].as_str().unwrap().to_owned()))
        .collect()
}

/// Waits until `users` is read from that version.
async fn until_live(operator: &User, number: u64) -> Value {
    eventually("the cutover", async || {
        Some(users_of(operator).await).filter(|status| status["live"] == number)
    })
    .await
}

async fn read_models_are_managed_by_operators_and_administrators_only(store: Store) {
    let app = TestApp::start(store).await;
    app.get("/projections").send().await.expect(401);
    for role in [Role::Admin, Role::Operator] {
        let user = app.user_with(role).await;
        let found = user.get("/projections").send().await.expect(200).json();
        let names: Vec<_> = found["projections"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["users", "daily", "webhooks"], "{found}");
        let one = user.get("/projections/daily").send().await.expect(200).json();
        assert_eq!(
            (&one["name"], &one["live"], &one["versions"][0]["role"]),
            (&json!("daily"), &json!(1), &json!("live"))
        );
    }
    let mut others = vec![app.sign_up("norole").await];
    for role in [Role::Auditor, Role::Subscriber] {
        others.push(app.user_with(role).await);
    }
    for user in others {
        assert_eq!(user.get("/projections").send().await.code(403), "forbidden");
        assert_eq!(user.get("/projections/users").send().await.code(403), "forbidden");
        for action in ACTIONS {
            assert_eq!(
                user.post(&format!("/projections/users/{action}")).send().await.code(403),
                "forbidden"
            );
        }
    }
}

async fn invalid_projection_commands_are_rejected_without_effect(store: Store) {
    let app = TestApp::start(store).await;
    let operator = app.user_with(Role::Operator).await;
    let send = async |action: &str, body: Value| {
        operator.post(&format!("/projections/users/{action}")).json(&body).send().await
    };
    operator.get("/projections/nothing").send().await.expect(404);
    for action in ACTIONS {
        let body = json!({"version": 1, "position": 1, "reason": "x"});
        operator.post(&format!("/projections/nothing/{action}")).json(&body).send().await.expect(404);
    }
    for (action, body, kind, field) in [
        ("drop", json!({}), "missing", "version"),
        ("drop", json!({"version": "1"}), "int_type", "version"),
        ("drop", json!({"version": 0}), "greater_than_equal", "version"),
        ("rollback", json!({"to": -1}), "greater_than_equal", "to"),
        ("rollback", json!({"to": 1.5}), "int_type", "to"),
        ("skip", json!({"position": 1}), "missing", "reason"),
        ("skip", json!({"position": 1, "reason": null}), "missing", "reason"),
        ("skip", json!({"position": 1, "reason": " "}), "string_too_short", "reason"),
        ("skip", json!({"position": u64::MAX, "reason": "x"}), "less_than_equal", "position"),
        ("skip", json!({"reason": "x"}), "missing", "position"),
    ] {
        let answer = send(action, body.clone()).await;
        let body = answer.error_body(422);
        assert_eq!(
            (&body["detail"][0]["type"], &body["detail"][0]["loc"][1]),
            (&json!(kind), &json!(field)),
            "{body}"
        );
    }
    operator.post("/projections/users/drop").send().await.expect(422);
    for (action, body, code) in [
        ("cancel", json!({}), "not_rebuilding"),
        ("rollback", json!(null), "no_such_version"),
        ("rollback", json!({"to": 7}), "no_such_version"),
        ("drop", json!({"version": 1}), "version_is_live"),
        ("drop", json!({"version": 7}), "no_such_version"),
        ("skip", json!({"position": 1, "reason": "it is harmless"}), "nothing_to_skip"),
    ] {
        assert_eq!(send(action, body).await.code(409), code);
    }
    assert_eq!(send("skip", json!({"position": 999, "reason": "x"})).await.code(404), "not_found");
    assert_eq!(roles(&users_of(&operator).await), [(1, "live".to_owned())]);
}

async fn projection_version_is_rebuilt_rolled_back_and_dropped(store: Store) {
    let app = TestApp::start(store).await;
    let operator = app.user_with(Role::Operator).await;
    let begun = operator.post("/projections/users/rebuild").send().await.expect(202).json();
    let rebuilt = &begun["versions"][1];
    assert_eq!(
        (&rebuilt["version"], &rebuilt["by"]),
        (&json!(2), &json!(format!("user-{}", operator.id))),
        "{begun}"
    );
    let live = until_live(&operator, 2).await;
    assert_eq!(live["versions"][1]["differed"], false, "{live}");
    assert_eq!(roles(&live), [(1, "kept".to_owned()), (2, "live".to_owned())]);
    // Both versions are updated: a new user appears in the previous version as well.
    let ada = app.sign_up("ada").await;
    let change = async |action: &str, body: Value| {
        operator.post(&format!("/projections/users/{action}")).json(&body).send().await.expect(200).json()
    };
    assert_eq!(change("rollback", json!(null)).await["live"], 1);
    app.me(&ada.token).await.expect(200);
    assert_eq!(change("rollback", json!({"to": 2})).await["live"], 2);
    app.me(&ada.token).await.expect(200);
    let dropping = change("drop", json!({"version": 1})).await;
    assert_eq!(roles(&dropping)[0], (1, "dropping".to_owned()));
    eventually("the removal", async || (roles(&users_of(&operator).await).len() == 1).then_some(())).await;
    let refused = operator.post("/projections/users/rollback").send().await;
    assert_eq!(refused.code(409), "no_such_version");
    app.me(&ada.token).await.expect(200);
}

async fn second_rebuild_is_rejected_and_a_rebuild_can_be_canceled(store: Store) {
    let app = TestApp::start(store).await;
    let operator = app.user_with(Role::Operator).await;
    let other = app.sign_up("other").await;
    // An event that cannot be projected keeps the rebuild from finishing.
    let position = append_unknown_event(&app, &other.id).await;
    operator.post("/projections/users/rebuild").send().await.expect(202);
    let refused = operator.post("/projections/users/rebuild").send().await;
    assert_eq!(refused.code(409), "already_rebuilding");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&format!("user-{}", operator.id)), "{detail}");
    let halted = async || {
        let status = users_of(&operator).await;
        let building = status["versions"][1].clone();
        (building["state"] == "halted").then_some(building)
    };
    let building = eventually("the halt", halted).await;
    assert!(building["error"].as_str().unwrap().contains(&format!("position {position} ")), "{building}");
    assert!(building["percent"].as_f64().is_some_and(|percent| percent < 100.0), "{building}");
    assert!(building["lag_seconds"].as_f64().is_some(), "{building}");
    operator.post("/projections/users/cancel").send().await.expect(200);
    eventually("the removal", async || (roles(&users_of(&operator).await).len() == 1).then_some(())).await;
    assert_eq!(operator.post("/projections/users/cancel").send().await.code(409), "not_rebuilding");
}

async fn unknown_event_is_skipped_by_a_recorded_decision(store: Store) {
    let app = TestApp::start(store).await;
    let (admin, other) = (app.admin().await, app.sign_up("other").await);
    let position = append_unknown_event(&app, &other.id).await;
    eventually("the halt", async || (app.readiness().await.status() == 503).then_some(())).await;
    let skip = json!({"position": position, "reason": "made by a broken tool"});
    let skip = async |name: &str| admin.post(&format!("/projections/{name}/skip")).json(&skip).send().await;
    let done = skip("users").await.expect(200);
    let decision = done.json()["position"].as_u64().unwrap();
    assert!(decision > position && done.position() == decision, "{}", done.text());
    // An event is skipped only once.
    assert_eq!(skip("users").await.expect(200).json()["position"], decision);
    eventually("readiness", async || (app.readiness().await.status() == 200).then_some(())).await;
    app.me(&other.token).await.expect(200);
    let log = admin.whole_log().await;
    let event = log.iter().find(|event| event["position"] == decision).unwrap();
    assert_eq!(
        (&event["type"], &event["actor"]),
        (&json!("ProjectionEventSkipped"), &json!(format!("user-{}", admin.id)))
    );
    assert_eq!(
        (&event["data"]["projection"], &event["data"]["position"]),
        (&json!("users"), &json!(position))
    );
    assert_eq!(log.iter().filter(|event| event["type"] == "ProjectionEventSkipped").count(), 1);
    // A rebuild skips the same events.
    admin.post("/projections/users/rebuild").send().await.expect(202);
    assert_eq!(until_live(&admin, 2).await["versions"][1]["differed"], false);
}

async fn rebuild_does_not_disturb_requests(store: Store) {
    let app = TestApp::start(store).await;
    let operator = app.user_with(Role::Operator).await;
    let over = AtomicBool::new(false);
    let client = async |client: usize| {
        let mut served = 0;
        while !over.load(Ordering::Relaxed) || served == 0 {
            let user = app.sign_up(&format!("user{client}x{served}")).await;
            app.me(&user.token).await.expect(200);
            served += 1;
        }
        served
    };
    let rebuilds = async {
        for number in 2..5 {
            operator.post("/projections/users/rebuild").send().await.expect(202);
            assert_eq!(
                until_live(&operator, number).await["versions"][1]["by"],
                format!("user-{}", operator.id)
            );
        }
        over.store(true, Ordering::Relaxed);
    };
    let (one, other, ()) = tokio::join!(client(1), client(2), rebuilds);
    assert!(one > 0 && other > 0);
    let verified =
        verify::verify(&Users, &app.services().projection_context, None, &mut |_, _| {}).await.unwrap();
    assert_eq!((verified.table.as_str(), verified.rows), ("users_4", one + other + 1));
}
