//! The callers whose requests the table is about, each with what authentication makes of them.

use domain::{ErasureReason, PasswordHash, Role, UserCommand};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::table::{Authority, WEBHOOK_ROLES};
use crate::support::{MachineToken, PASSWORD, SECRET_KEY, TestApp, User, sign_token};

/// Status and code of a denied request.
pub(super) type Denial = (u16, &'static str);

/// What authentication makes of a caller.
#[derive(Clone, Copy)]
pub(super) enum Authentication {
    Rejected(Denial),
    /// The session of the token has ended.
    SessionEnded,
    Authenticated {
        role: Option<Role>,
        owns_webhook: bool,
    },
    MachineToken(Role),
}

pub(super) struct Caller {
    pub(super) name: &'static str,
    /// The header `Authorization`.
    pub(super) authorization: Option<String>,
    pub(super) authentication: Authentication,
}

impl Authority {
    /// Whether it permits the request of a caller.
    pub(super) fn check(self, caller: Authentication) -> Result<(), Denial> {
        const FORBIDDEN: Denial = (403, "forbidden");
        const SESSION_ENDED: Denial = (403, "token_revoked");
        const USER_REQUIRED: Denial = (403, "user_required");
        if matches!(self, Self::Public) {
            return Ok(());
        }
        if let (Self::Authentic, Authentication::SessionEnded) = (self, caller) {
            return Ok(());
        }
        if let (
            Self::Authentic | Self::AuthenticWithoutSession,
            Authentication::Rejected((403, "inactive_user" | "token_revoked") | (404, _)),
        ) = (self, caller)
        {
            return Ok(());
        }
        let (role, owns_webhook) = match caller {
            Authentication::Rejected(_) | Authentication::SessionEnded
                if matches!(self, Self::Introspector) =>
            {
                return Err((401, "not_authenticated"));
            }
            Authentication::Rejected(denial) => return Err(denial),
            Authentication::SessionEnded => return Err(SESSION_ENDED),
            Authentication::MachineToken(role) => (Some(role), false),
            Authentication::Authenticated { role, owns_webhook } => (role, owns_webhook),
        };
        let is_token = matches!(caller, Authentication::MachineToken(_));
        let holds_one_of = |roles: &[Role]| role.is_some_and(|role| roles.contains(&role));
        match self {
            Self::Roles(roles) => {
                if holds_one_of(roles) {
                    Ok(())
                } else {
                    Err(FORBIDDEN)
                }
            }
            Self::Introspector if holds_one_of(&[Role::Admin, Role::Service]) => Ok(()),
            Self::Introspector => Err(FORBIDDEN),
            Self::WebhookManager | Self::WebhookOwner | Self::WebhookList
                if !holds_one_of(&WEBHOOK_ROLES) =>
            {
                Err(FORBIDDEN)
            }
            Self::User | Self::Authentic | Self::AuthenticWithoutSession | Self::WebhookOwner if is_token => {
                Err(USER_REQUIRED)
            }
            Self::WebhookList if is_token && role != Some(Role::Admin) => Err(USER_REQUIRED),
            Self::Public
            | Self::Authentic
            | Self::AuthenticWithoutSession
            | Self::User
            | Self::WebhookOwner
            | Self::WebhookList => Ok(()),
            Self::WebhookManager if owns_webhook || role == Some(Role::Admin) => Ok(()),
            Self::WebhookManager if is_token => Err(USER_REQUIRED),
            Self::WebhookManager => Err((404, "not_found")),
        }
    }
}

fn bearer(name: &'static str, token: &str, authentication: Authentication) -> Caller {
    Caller { name, authorization: Some(format!("Bearer {token}")), authentication }
}

/// Every kind of caller. All who are rejected would have the role of an administrator.
pub(super) async fn all(app: &TestApp, admin: &User, owner: &User) -> Vec<Caller> {
    let mut callers = unauthenticated();
    callers.extend(with_forged_token(app, admin).await);
    callers.extend(revoked(app).await);
    callers.extend(authenticated(app, admin, owner).await);
    callers.extend(machine_tokens(app, admin).await);
    callers
}

fn unauthenticated() -> Vec<Caller> {
    let authentication = Authentication::Rejected((401, "not_authenticated"));
    let caller = |name, authorization: Option<&str>| Caller {
        name,
        authorization: authorization.map(str::to_owned),
        authentication,
    };
    vec![caller("no token", None), caller("another scheme", Some("Basic YWRtaW46YWRtaW4="))]
}

/// Tokens that name the administrator, as other services and attackers would make them.
async fn with_forged_token(app: &TestApp, admin: &User) -> Vec<Caller> {
    const EXP: u64 = 4_000_000_000;
    let claims = |extra: Value| {
        let mut claims = json!({"sub": admin.id, "exp": EXP, "ver": 1});
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        claims
    };
    let sign = |extra: Value| sign_token(&claims(extra), Algorithm::HS256, SECRET_KEY);
    let good = sign(json!({}));
    app.me(&good).await.expect(200);
    let payload = good.split('.').nth(1).unwrap();
    let foreign = sign_token(&claims(json!({})), Algorithm::HS256, "another key of thirty-two bytes.");
    let unknown = sign(json!({"sub": "0193e2b4-0000-7000-8000-000000000001"}));
    let invalid = |name, token: &str| bearer(name, token, Authentication::Rejected((403, "invalid_token")));
    vec![
        invalid("malformed", "a.b.c"),
        invalid("alg none", &format!("eyJhbGciOiJub25lIn0.{payload}.")),
        invalid("foreign signature", &foreign),
        invalid("another algorithm", &sign_token(&claims(json!({})), Algorithm::HS384, SECRET_KEY)),
        invalid("expired", &sign(json!({"exp": 1_000_000_000}))),
        invalid("not valid yet", &sign(json!({"nbf": EXP - 1}))),
        invalid("for refreshing", &sign(json!({"type": "refresh"}))),
        invalid("for a reset", &sign(json!({"purpose": "password-reset"}))),
        invalid("for another service", &sign(json!({"aud": "another service"}))),
        invalid("of another epoch", &sign(json!({"epoch": 2}))),
        invalid("of a version that does not exist", &sign(json!({"ver": 99}))),
        bearer("of an unknown user", &unknown, Authentication::Rejected((404, "not_found"))),
    ]
}

/// Administrators whose tokens an event has revoked.
async fn revoked(app: &TestApp) -> Vec<Caller> {
    let deactivate = UserCommand::Deactivate { reason: None };
    let reactivate = UserCommand::Reactivate { reason: None };
    let erase = UserCommand::Erase { reason: ErasureReason::Other };
    let new_password = PasswordHash::new("$argon2id$".to_owned()).unwrap();
    let set_password = UserCommand::ChangePassword { confirmed: None, password_hash: new_password };
    let revoke_role = UserCommand::RevokeRole { role: Role::Auditor };
    let mut callers = Vec::new();
    for (name, commands, denial) in [
        ("deactivated", vec![deactivate.clone()], (403, "inactive_user")),
        ("reactivated", vec![deactivate, reactivate], (403, "token_revoked")),
        ("erased", vec![erase], (404, "not_found")),
        ("role-lost", vec![revoke_role], (403, "token_revoked")),
        ("password-changed", vec![set_password], (403, "token_revoked")),
    ] {
        let user = app.sign_up(name).await;
        for role in [Role::Admin, Role::Auditor] {
            app.grant(&user, role).await;
        }
        app.me(&user.token).await.expect(200);
        for command in commands {
            app.command(&user.id, command).await;
        }
        callers.push(bearer(name, &user.token, Authentication::Rejected(denial)));
    }
    callers.push(with_ended_session(app).await);
    callers
}

/// An administrator who has logged out.
async fn with_ended_session(app: &TestApp) -> Caller {
    let user = app.sign_up("logged-out").await;
    app.grant(&user, Role::Admin).await;
    let form = [("username", &*user.email), ("password", PASSWORD), ("scope", "offline_access")];
    let answer = app.post("/auth/login/access-token").form(&form).send().await.expect(200).json();
    let token = answer["access_token"].as_str().unwrap();
    app.me(token).await.expect(200);
    app.post("/auth/logout").bearer(token).send().await.expect(204);
    bearer("logged out", token, Authentication::SessionEnded)
}

async fn authenticated(app: &TestApp, admin: &User, owner: &User) -> Vec<Caller> {
    let with = |role| Authentication::Authenticated { role, owns_webhook: false };
    let plain = app.sign_up("plain").await;
    let mut callers = vec![bearer("plain", &plain.token, with(None))];
    for role in Role::ALL {
        let token = if role == Role::Admin { admin.token.clone() } else { app.user_with(role).await.token };
        callers.push(bearer(role.as_str(), &token, with(Some(role))));
    }
    let owning = Authentication::Authenticated { role: Some(Role::Subscriber), owns_webhook: true };
    callers.push(bearer("owner", &owner.token, owning));
    callers
}

/// A machine token of every role, used today, and void ones.
async fn machine_tokens(app: &TestApp, admin: &User) -> Vec<Caller> {
    let mut callers = Vec::new();
    for (name, role) in [
        ("admin token", Role::Admin),
        ("auditor token", Role::Auditor),
        ("operator token", Role::Operator),
        ("service token", Role::Service),
        ("subscriber token", Role::Subscriber),
    ] {
        let token = MachineToken::issue(admin, &[role]).await;
        token.record_use(app).await;
        callers.push(bearer(name, &token.token, Authentication::MachineToken(role)));
    }
    let revoked = MachineToken::issue(admin, &[Role::Admin]).await;
    admin.delete(&format!("/tokens/{}", revoked.id)).send().await.expect(204);
    callers.push(bearer("revoked token", &revoked.token, Authentication::Rejected((403, "token_revoked"))));
    let other = MachineToken::issue(admin, &[Role::Admin]).await;
    let (known, _) = other.token.rsplit_once('_').unwrap();
    let wrong = format!("{known}_{}", "x".repeat(32));
    callers.push(bearer("wrong secret", &wrong, Authentication::Rejected((403, "invalid_token"))));
    callers
}
