//! Every route against every kind of caller: the table says who may do what, and all others are denied and
//! change nothing.

mod callers;
mod table;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use domain::Role;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use self::callers::{Authentication, Caller, Denial};
use self::table::{Line, Payload, TABLE};
use crate::support::{
    MachineToken, PASSWORD, Request, Response, Store, TestApp, User, WebhookReceiver, credentials, email_of,
    on_both_stores,
};

on_both_stores! {
    every_caller_gets_what_the_table_permits_and_nothing_else
}

#[test]
fn table_has_a_line_for_every_route() {
    let settings = TestApp::settings_of(&Store::sqlite()).http;
    let routes: BTreeSet<_> =
        aegis::http::routes(&settings).into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    let lines: BTreeSet<_> = TABLE.iter().map(Line::name).collect();
    assert_eq!(lines.len(), TABLE.len(), "a line occurs twice");
    let without_a_line: Vec<_> = routes.difference(&lines).collect();
    let without_a_route: Vec<_> = lines.difference(&routes).collect();
    assert!(without_a_line.is_empty(), "routes that the table lacks: {without_a_line:?}");
    assert!(without_a_route.is_empty(), "lines without a route: {without_a_route:?}");
}

async fn every_caller_gets_what_the_table_permits_and_nothing_else(store: Store) {
    let scene = Scene::new(store).await;
    let callers = callers::all(&scene.app, &scene.admin, &scene.owner).await;
    let read_models = scene.read_models().await;
    for caller in &callers {
        let head = scene.app.head().await;
        let denied =
            TABLE.iter().filter_map(|line| Some((line, line.authority.check(caller.authentication).err()?)));
        join_all(denied.map(|(line, denial)| scene.assert_denied(line, caller, denial))).await;
        assert_eq!(scene.app.head().await, head, "denied requests changed the log: {}", caller.name);
    }
    assert_eq!(scene.read_models().await, read_models, "denied requests changed read models");
    assert!(scene.receiver.deliveries().is_empty(), "denied requests sent deliveries");
    for caller in &callers {
        for line in &TABLE {
            if line.authority.check(caller.authentication).is_ok() {
                scene.assert_allowed(line, caller).await;
            }
        }
    }
}

const NEW_PASSWORD: &str = "a much longer way to say it";

impl Line {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A service with the objects that requests are about.
struct Scene {
    app: TestApp,
    admin: User,
    victim: User,
    owner: User,
    webhook: String,
    /// The id of a machine token.
    token: String,
    receiver: WebhookReceiver,
    names: AtomicU32,
}

/// What a request is about.
struct Target {
    user: String,
    webhook: String,
    token: String,
    read_model: &'static str,
}

impl Scene {
    async fn new(store: Store) -> Self {
        let app = TestApp::start_with(store, |settings| settings.rate_limits = false).await;
        let (admin, victim, owner) =
            (app.admin().await, app.sign_up("victim").await, app.sign_up("owner").await);
        app.grant(&owner, Role::Subscriber).await;
        let receiver = WebhookReceiver::start().await;
        let mut scene = Self {
            app,
            admin,
            victim,
            owner,
            webhook: String::new(),
            token: String::new(),
            receiver,
            names: AtomicU32::new(0),
        };
        scene.webhook = scene.new_webhook().await;
        scene.token = MachineToken::issue(&scene.admin, &[Role::Service]).await.id;
        scene
    }

    async fn new_webhook(&self) -> String {
        let registered = self.owner.post("/webhooks").json(&self.webhook_body()).send().await.expect(201);
        registered.json()["id"].as_str().unwrap().to_owned()
    }

    /// A webhook for events that do not happen: what is delivered was requested.
    fn webhook_body(&self) -> Value {
        json!({"url": self.receiver.url("127.0.0.1"), "types": ["ProjectionEventSkipped"]})
    }

    /// The versions of the read models, which are not in the log.
    async fn read_models(&self) -> Value {
        let status = self.admin.get("/projections").send().await.expect(200).json();
        let versions = status["projections"].as_array().unwrap().iter().map(|one| {
            let numbers: Vec<_> =
                one["versions"].as_array().unwrap().iter().map(|version| &version["version"]).collect();
            json!([one["name"], one["live"], numbers])
        });
        versions.collect()
    }

    fn shared_target(&self) -> Target {
        Target {
            user: self.victim.id.clone(),
            webhook: self.webhook.clone(),
            token: self.token.clone(),
            read_model: "daily",
        }
    }

    /// The request through a proxy: clients on the machine itself may read metrics without a token.
    fn request(&self, method: &str, path: &str, line: &Line, authorization: Option<&str>) -> Request {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.app.request_at_root(method, path).header("X-Forwarded-For", "198.51.100.7");
        let request = match authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        };
        match line.payload {
            Payload::Empty => request,
            Payload::SignUp => request.json(&credentials(&self.new_name())),
            Payload::Login => request.form(&[("username", &self.victim.email), ("password", PASSWORD)]),
            Payload::Token => {
                let fields =
                    [("grant_type", "password"), ("username", &*self.victim.email), ("password", PASSWORD)];
                request.form(&fields)
            }
            Payload::Revocation => request.form(&[("token", "unknown")]),
            Payload::Password => request.json(&json!({"password": PASSWORD})),
            Payload::Identity => {
                let name = self.new_name();
                let body = json!({"email": email_of(&name), "username": name, "current_password": PASSWORD});
                request.json(&body)
            }
            Payload::NewPassword => {
                request.json(&json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD}))
            }
            Payload::MailToken => request.json(&json!({"token": "x", "new_password": NEW_PASSWORD})),
            Payload::ForgottenPassword => request.json(&json!({"email": "unknown@example.com"})),
            Payload::Reason => request.json(&json!({"reason": "requested by a test"})),
            Payload::Erasure => request.json(&json!({"reason": "request"})),
            Payload::Webhook => request.json(&self.webhook_body()),
            Payload::Introspection => request.form(&[("token", "a.b.c")]),
            Payload::NewToken => request.json(&json!({"name": "a test", "roles": ["service"]})),
            Payload::Range => request.json(&json!({"from": 1, "to": 1})),
            Payload::Version => request.json(&json!({"version": 99})),
            Payload::Skip => request.json(&json!({"position": 1, "reason": "requested by a test"})),
        }
    }

    async fn assert_denied(&self, line: &Line, caller: &Caller, denial: Denial) {
        let (path, authorization) = (line.path_to(&self.shared_target()), caller.authorization.as_deref());
        let answer = self.request(line.method, &path, line, authorization).send().await;
        assert_denial(&answer, denial, &format!("{}: {}", line.name(), caller.name));
        // The same handlers answer to other forms of the request: two callers are enough.
        if !["no token", "plain"].contains(&caller.name) {
            return;
        }
        let answer = self.request(line.method, &format!("{path}/"), line, authorization).send().await;
        assert_denial(&answer, denial, &format!("{}/: {}", line.name(), caller.name));
        if line.method == "GET" {
            let answer = self.request("HEAD", &path, line, authorization).send().await;
            assert_eq!(answer.status(), denial.0, "HEAD {}: {}", line.path, caller.name);
        }
    }

    async fn assert_allowed(&self, line: &Line, caller: &Caller) {
        let mut target = self.shared_target();
        let mut authorization = caller.authorization.clone();
        let role = match caller.authentication {
            Authentication::Authenticated { role, .. } => role,
            Authentication::MachineToken(role) => Some(role),
            Authentication::Rejected(_) | Authentication::SessionEnded => {
                let path = line.path_to(&target);
                return self.assert_status(line, caller, &path, authorization.as_deref()).await;
            }
        };
        if line.is_write_to("/api/v1/users/me") || line.is_write_to("/api/v1/auth/logout") {
            let user = self.new_user(role).await;
            authorization = Some(format!("Bearer {}", user.token));
        } else if line.is_write_to("/api/v1/users/{id}") {
            target.user = self.new_user(None).await.id;
        } else if line.name() == "DELETE /api/v1/webhooks/{id}" {
            target.webhook = self.new_webhook().await;
        }
        if role == Some(Role::Operator) {
            // The administrator has started a rebuild of the other one.
            target.read_model = "webhooks";
        }
        let path = line.path_to(&target);
        if matches!(caller.authentication, Authentication::MachineToken(_))
            && line.is_write_to("/api/v1/projections/")
        {
            // A user of the same role has started a rebuild, which decides about the answer.
            let answer = self.request(line.method, &path, line, authorization.as_deref()).send().await;
            assert!([200, 202, 409].contains(&answer.status()), "{}: {}", line.name(), answer.text());
            return;
        }
        self.assert_status(line, caller, &path, authorization.as_deref()).await;
    }

    async fn assert_status(&self, line: &Line, caller: &Caller, path: &str, authorization: Option<&str>) {
        let answer = self.request(line.method, path, line, authorization).send().await;
        let (name, caller) = (line.name(), &caller.name);
        assert_eq!(answer.status(), line.allowed, "{name} {caller}: {}", answer.text());
    }

    fn new_name(&self) -> String {
        format!("new{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    async fn new_user(&self, role: Option<Role>) -> User {
        let user = self.app.sign_up(&self.new_name()).await;
        if let Some(role) = role {
            self.app.grant(&user, role).await;
        }
        user
    }
}

impl Line {
    /// The path of a request about `target`.
    fn path_to(&self, target: &Target) -> String {
        let id = match self.path {
            path if path.contains("/webhooks/") => &target.webhook,
            path if path.contains("/tokens/") => &target.token,
            _ => &target.user,
        };
        let path = self.path.replace("{id}", id).replace("{name}", target.read_model);
        let path = path.replace("{role}", "auditor").replace("{position}", "1");
        let path = path.replace("{build}/{*file}", "0/main.js").replace("{*page}", "users");
        let path = path.replace("{path}", "0/000.p/1").replace("{*file}", "swagger-ui.css");
        assert!(!path.contains('{'), "a parameter without a value: {path}");
        path
    }

    fn is_write_to(&self, resource: &str) -> bool {
        self.method != "GET" && self.path.starts_with(resource)
    }
}

#[track_caller]
fn assert_denial(answer: &Response, (status, code): Denial, what: &str) {
    assert_eq!(answer.status(), status, "{what}: {}", answer.text());
    assert_eq!(answer.code(status), code, "{what}");
    // Introspection accepts another scheme as well, and says more of a bearer token.
    let scheme = match status {
        401 if what.contains("/auth/introspect") && what.ends_with("another scheme") => "Basic",
        401 => "Bearer",
        _ => "",
    };
    let challenge = answer.header("WWW-Authenticate");
    assert_eq!(challenge.split(' ').next(), Some(scheme), "{what}: {challenge}");
}
