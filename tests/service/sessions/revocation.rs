//! Every cause of revocation, on every authenticated path: on the node that executes it, and at once on another one,
//! which receives the log from a change stream or not.

use domain::Role;
use futures::future::join_all;
use mongodb::bson::doc;
use reqwest::Method;
use serde_json::json;
use testkit::service::{Client, EventStream};
use testkit::{FailPoint, FailPointMode, MongodServer};

use super::{NEW_PASSWORD, Tokens, open, refresh_request, refreshed, stream, user_of};
use crate::support::{
    MachineToken, PASSWORD, Request, Response, Store, TestApp, User, eventually, on_both_stores, on_one_store,
};

on_both_stores! {
    every_cause_of_revocation_is_exact
}

mod on_two_nodes {
    use super::{
        every_cause_is_exact_on_another_node, every_cause_is_exact_without_a_change_stream, on_one_store,
    };

    on_one_store! { mongo:
        every_cause_is_exact_on_another_node
        every_cause_is_exact_without_a_change_stream
    }
}

/// What a cause voids.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Voids {
    /// Every token and session of the user.
    Everything,
    /// The same, but for the session that caused it: only its access tokens.
    EverythingButTheSession,
    /// One session.
    TheSession,
}

use Voids::{Everything, EverythingButTheSession, TheSession};

const CAUSES: [(&str, Voids); 15] = [
    ("password", Everything),
    ("password, by a session", EverythingButTheSession),
    ("deactivation", Everything),
    ("deactivation by an administrator", Everything),
    ("lost role", Everything),
    ("logout", TheSession),
    ("logout without a session", Everything),
    ("logout everywhere", Everything),
    ("end from the list", TheSession),
    ("revocation of an access token by a client", TheSession),
    ("revocation of a refresh token by a client", TheSession),
    ("reuse of a refresh token", TheSession),
    ("revocation by an administrator", Everything),
    ("erasure", Everything),
    ("erasure by an administrator", Everything),
];

const AUTHENTICATED_PATHS: [&str; 6] =
    ["/users/me", "/users/me/export", "/users/me/sessions", "/users/me/logins", "/events", "/log/checkpoint"];

async fn every_cause_of_revocation_is_exact(store: Store) {
    let app = start(store).await;
    assert_every_cause_is_exact(&app, &[&app]).await;
}

async fn every_cause_is_exact_on_another_node() {
    let app = start(Store::mongo().await).await;
    let node = app.start_second_node().await;
    assert_every_cause_is_exact(&app, &[&node, &app]).await;
}

async fn every_cause_is_exact_without_a_change_stream() {
    let server = MongodServer::replica_set().await;
    let app = start(Store::at(&server.url())).await;
    let node = app.start_second_node().await;
    let commands = ["aggregate", "getMore", "find", "listCollections"];
    let cut = doc! { "failCommands": &commands[..], "appName": "aegis-watch", "errorCode": 13 };
    let cut = FailPoint::command(&server, FailPointMode::Always, cut).await;
    cut.wait_for_hits(4).await;
    assert_every_cause_is_exact(&app, &[&node, &app]).await;
    cut.clear().await;
}

async fn start(store: Store) -> TestApp {
    TestApp::start_with(store, |settings| settings.rate_limits = false).await
}

/// Executes every cause on a service, and tries at once on each node what it voids.
async fn assert_every_cause_is_exact(app: &TestApp, nodes: &[&TestApp]) {
    let admin = app.admin().await;
    let scene = Scene { app, nodes, service: MachineToken::issue(&admin, &[Role::Service]).await, admin };
    let bystander = app.sign_up("bystander").await;
    let untouched = Credentials::of(&[open(app, &bystander.email).await], &[&bystander.token]);
    let causes = CAUSES.into_iter().enumerate();
    join_all(causes.map(|(number, cause)| scene.assert_exact(number, cause))).await;
    for node in nodes {
        untouched.assert_accepted(node, "all causes").await;
    }
}

struct Scene<'a> {
    app: &'a TestApp,
    nodes: &'a [&'a TestApp],
    admin: User,
    service: MachineToken,
}

impl Scene<'_> {
    async fn assert_exact(&self, number: usize, (cause, voids): (&str, Voids)) {
        let account = Account::new(self.app, &format!("user{number}")).await;
        let (void, valid) = account.credentials(voids);
        let mut feeds = Vec::new();
        for node in self.nodes {
            feeds.push(account.in_session().at(node).get("/events/stream").open().await);
        }
        let answer = self.revoke_by(cause, &account).await;
        let position = answer.header("Aegis-Position").parse::<u64>();
        let revoked_at = if let Ok(position) = position { position } else { self.app.head().await };
        for node in self.nodes {
            void.assert_void(node, &self.service, cause).await;
            valid.assert_accepted(node, cause).await;
        }
        for token in &valid.refresh {
            let node = self.nodes[0];
            let answer = answered(|| refresh_request(node, token)).await;
            assert_accepted(node, &Tokens::of(&answer.expect(200).json()).access, cause).await;
        }
        let left = self.app.services().sessions.of(&stream(&account.user)).await.unwrap().len();
        assert_eq!(left, usize::from(voids != Everything), "{cause}");
        join_all(feeds.into_iter().map(|feed| assert_ends(feed, revoked_at, cause))).await;
    }

    async fn revoke_by(&self, cause: &str, account: &Account) -> Response {
        let (app, admin) = (self.app, &self.admin);
        let (user, caller) = (&account.user, account.in_session());
        let confirmed = json!({"password": PASSWORD});
        let new_password = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
        let at = |action: &str| format!("/users/{}/{action}", user.id);
        let by_client = |token: &str| app.post("/auth/revoke").form(&[("token", token)]);
        let (request, status) = match cause {
            "password" => (user.post("/users/me/password").json(&new_password), 204),
            "password, by a session" => (caller.post("/users/me/password").json(&new_password), 204),
            "deactivation" => (user.post("/users/me/deactivate").json(&confirmed), 204),
            "deactivation by an administrator" => (admin.post(&at("deactivate")), 200),
            "lost role" => (admin.delete(&at("roles/auditor")), 204),
            "logout" => (caller.post("/auth/logout"), 204),
            "logout without a session" => (user.post("/auth/logout"), 204),
            "logout everywhere" => (caller.post("/auth/logout-all"), 204),
            "end from the list" => (user.delete(&listed_session(&caller).await), 204),
            "revocation of an access token by a client" => (by_client(&account.session[0].access), 200),
            "revocation of a refresh token by a client" => (by_client(&account.session[2].refresh), 200),
            "reuse of a refresh token" => (refresh_request(app, &account.session[0].refresh), 400),
            "revocation by an administrator" => (admin.post(&at("sessions/revoke")), 200),
            "erasure" => (user.request(Method::DELETE, "/users/me").json(&confirmed), 204),
            "erasure by an administrator" => {
                (admin.post(&at("erase")).json(&json!({"reason": "request"})), 204)
            }
            other => panic!("no such cause: {other}"),
        };
        let answer = request.send().await.expect(status);
        if cause == "revocation by an administrator" {
            assert_eq!((answer.header("ETag"), &answer.json()["version"]), ("\"3\"", &json!(3)));
        }
        answer
    }
}

/// A user with the role of an auditor and a token without a session, a session that was renewed twice, and another
/// session.
struct Account {
    user: User,
    session: [Tokens; 3],
    other: Tokens,
}

impl Account {
    async fn new(app: &TestApp, name: &str) -> Self {
        let user = app.sign_up(name).await;
        app.grant(&user, Role::Auditor).await;
        let first = open(app, &user.email).await;
        let second = refreshed(app, &first).await;
        let third = refreshed(app, &second).await;
        let other = open(app, &user.email).await;
        Self { user, session: [first, second, third], other }
    }

    /// The user with the last access token of the session.
    fn in_session(&self) -> User {
        user_of(&self.user, &self.session[2])
    }

    /// What a cause voids, and what stays valid.
    fn credentials(&self, voids: Voids) -> (Credentials, Credentials) {
        let (session, other) = (&self.session[..], std::slice::from_ref(&self.other));
        let without_session = &*self.user.token;
        let everything = Credentials::of(&[session, other].concat(), &[without_session]);
        match voids {
            Everything => (everything, Credentials::default()),
            TheSession => (Credentials::of(session, &[]), Credentials::of(other, &[without_session])),
            EverythingButTheSession => {
                let kept = &self.session[2].refresh;
                // An earlier refresh token would end the session.
                let refresh = vec![self.other.refresh.clone()];
                let valid = Credentials { access: Vec::new(), refresh: vec![kept.clone()] };
                (Credentials { refresh, ..everything }, valid)
            }
        }
    }
}

/// Access tokens and refresh tokens.
#[derive(Default)]
struct Credentials {
    access: Vec<String>,
    refresh: Vec<String>,
}

impl Credentials {
    fn of(sessions: &[Tokens], without_session: &[&str]) -> Self {
        let access = sessions.iter().map(|tokens| tokens.access.clone());
        let access = access.chain(without_session.iter().map(|token| (*token).to_owned())).collect();
        Self { access, refresh: sessions.iter().map(|tokens| tokens.refresh.clone()).collect() }
    }

    /// Nothing accepts them.
    async fn assert_void(&self, node: &Client, service: &MachineToken, cause: &str) {
        for token in &self.access {
            let tried = AUTHENTICATED_PATHS.map(async |path| {
                let answer = answered(|| node.get(path).bearer(token)).await;
                assert!([403, 404].contains(&answer.status()), "{cause}: {path}: {}", answer.status());
            });
            join_all(tried).await;
        }
        for token in &self.refresh {
            let answer = answered(|| refresh_request(node, token)).await;
            assert_eq!(answer.code(400), "invalid_grant", "{cause}");
        }
        for token in self.access.iter().chain(&self.refresh) {
            let introspect = || {
                let request = node.post("/auth/introspect").bearer(&service.token);
                request.form(&[("token", token)])
            };
            let answer = answered(introspect).await.expect(200).json();
            assert_eq!(answer, json!({"active": false}), "{cause}");
        }
    }

    /// The access tokens are accepted.
    async fn assert_accepted(&self, node: &Client, cause: &str) {
        for token in &self.access {
            assert_accepted(node, token, cause).await;
        }
    }
}

async fn assert_accepted(node: &Client, access: &str, cause: &str) {
    let answer = answered(|| node.get("/users/me").bearer(access)).await;
    assert_eq!(answer.status(), 200, "{cause}: {}", answer.text());
}

/// The first answer that is not 503: a node that cannot learn of an event in time answers that, but accepts nothing.
async fn answered(request: impl Fn() -> Request) -> Response {
    eventually("an answer", async || Some(request().send().await).filter(|answer| answer.status() != 503))
        .await
}

/// A feed that was open when the token of its reader was revoked shows nothing that came later, and ends.
async fn assert_ends(mut feed: EventStream, revoked_at: u64, cause: &str) {
    while let Some((position, event, _)) = feed.event().await {
        assert!(position <= revoked_at, "{cause}: {event} at {position}, revoked at {revoked_at}");
    }
}

/// The path of the session of the caller.
async fn listed_session(caller: &User) -> String {
    let listed = caller.get("/users/me/sessions").send().await.expect(200).json();
    let current = listed["sessions"].as_array().unwrap().iter().find(|session| session["current"] == true);
    format!("/users/me/sessions/{}", current.unwrap()["id"].as_str().unwrap())
}
