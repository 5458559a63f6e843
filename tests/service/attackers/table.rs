//! The attackers' table: every route, the authority that it requires, and a request that only authority denies.

use domain::Role;

use self::Authority::{
    Authentic, AuthenticWithoutSession, Introspector, Public, Roles, User, WebhookList, WebhookManager,
    WebhookOwner,
};
use self::Payload::{
    Empty, Erasure, ForgottenPassword, Identity, Introspection, Login, MailToken, NewPassword, NewToken,
    Password, Range, Reason, Revocation, SignUp, Skip, Token, Version, Webhook,
};

/// Who may send a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Authority {
    /// Everyone, whatever the token.
    Public,
    /// Everyone whose token is authentic, though it may be void.
    Authentic,
    /// The same, but for a token whose own session has ended.
    AuthenticWithoutSession,
    /// Every authenticated user, for their own account.
    User,
    /// Users with one of these roles.
    Roles(&'static [Role]),
    /// Callers with the role `service`, and administrators. A void token is no authentication.
    Introspector,
    /// Users who may own webhooks.
    WebhookOwner,
    /// Users who may own webhooks, and administrators.
    WebhookList,
    /// The webhook's owner, who still has the role for it, and administrators.
    WebhookManager,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload {
    Empty,
    SignUp,
    Login,
    /// A request for tokens.
    Token,
    /// A token to be revoked.
    Revocation,
    /// The caller's password.
    Password,
    /// Another e-mail address and username.
    Identity,
    /// Another password.
    NewPassword,
    /// A token of no mail, and a password.
    MailToken,
    /// An e-mail address that no user has.
    ForgottenPassword,
    Reason,
    Erasure,
    Webhook,
    /// A token of the caller.
    Introspection,
    NewToken,
    /// A range of the log.
    Range,
    /// A version of a read model.
    Version,
    /// An event to be skipped by a read model.
    Skip,
}

/// One route.
pub(super) struct Line {
    pub(super) method: &'static str,
    /// As [`aegis::http::routes`] names it.
    pub(super) path: &'static str,
    pub(super) authority: Authority,
    pub(super) payload: Payload,
    /// The status for callers who have the authority.
    pub(super) allowed: u16,
}

const ADMIN: Authority = Roles(&[Role::Admin]);
const AUDITOR: Authority = Roles(&[Role::Admin, Role::Auditor]);
const OPERATOR: Authority = Roles(&[Role::Admin, Role::Operator]);
const STATS_READER: Authority = Roles(&[Role::Admin, Role::Operator, Role::Auditor]);
const EVENT_READER: Authority = Roles(&[Role::Admin, Role::Auditor, Role::Subscriber]);
pub(super) const WEBHOOK_ROLES: [Role; 2] = [Role::Admin, Role::Subscriber];

const fn line(
    method: &'static str,
    path: &'static str,
    authority: Authority,
    payload: Payload,
    allowed: u16,
) -> Line {
    Line { method, path, authority, payload, allowed }
}

/// In the order in which the requests of a caller are sent: a rebuild comes after the requests that are in
/// conflict with it.
pub(super) const TABLE: [Line; 77] = [
    line("GET", "/", Public, Empty, 200),
    line("GET", "/console", Public, Empty, 200),
    line("GET", "/console/{*page}", Public, Empty, 200),
    line("GET", "/console/assets/{build}/{*file}", Public, Empty, 200),
    // Without a browser that says which page sends them.
    line("POST", "/console/login", Public, Login, 403),
    line("POST", "/console/token", Public, Empty, 403),
    line("POST", "/console/logout", Public, Empty, 403),
    line("GET", "/docs", Public, Empty, 200),
    line("GET", "/docs/{*file}", Public, Empty, 200),
    line("GET", "/api/v1/openapi.json", Public, Empty, 200),
    line("GET", "/.well-known/jwks.json", Public, Empty, 200),
    line("GET", "/api/v1/.well-known/jwks.json", Public, Empty, 200),
    line("GET", "/api/v1/health", Public, Empty, 200),
    line("GET", "/api/v1/health/ready", Public, Empty, 200),
    line("POST", "/api/v1/auth/signup", Public, SignUp, 201),
    line("POST", "/api/v1/auth/login/access-token", Public, Login, 200),
    line("POST", "/api/v1/auth/token", Public, Token, 200),
    line("POST", "/api/v1/auth/revoke", Public, Revocation, 200),
    line("POST", "/api/v1/auth/logout", Authentic, Empty, 204),
    line("POST", "/api/v1/auth/logout-all", AuthenticWithoutSession, Empty, 204),
    line("POST", "/api/v1/auth/verify-email/request", User, Empty, 202),
    line("POST", "/api/v1/auth/verify-email", Public, MailToken, 400),
    line("POST", "/api/v1/auth/password/forgot", Public, ForgottenPassword, 202),
    line("POST", "/api/v1/auth/password/reset", Public, MailToken, 400),
    line("GET", "/api/v1/users/me", User, Empty, 200),
    line("GET", "/api/v1/users/me/sessions", User, Empty, 200),
    line("DELETE", "/api/v1/users/me/sessions/{id}", User, Empty, 404),
    line("GET", "/api/v1/users/me/export", User, Empty, 200),
    line("GET", "/api/v1/users/me/logins", User, Empty, 200),
    line("PATCH", "/api/v1/users/me", User, Identity, 200),
    line("POST", "/api/v1/users/me/password", User, NewPassword, 204),
    line("POST", "/api/v1/users/me/deactivate", User, Password, 204),
    line("DELETE", "/api/v1/users/me", User, Password, 204),
    line("GET", "/api/v1/users", AUDITOR, Empty, 200),
    line("POST", "/api/v1/users", ADMIN, SignUp, 201),
    line("GET", "/api/v1/users/{id}", AUDITOR, Empty, 200),
    line("GET", "/api/v1/users/{id}/events", AUDITOR, Empty, 200),
    line("GET", "/api/v1/users/{id}/logins", AUDITOR, Empty, 200),
    line("GET", "/api/v1/users/{id}/sessions", AUDITOR, Empty, 200),
    line("POST", "/api/v1/users/{id}/deactivate", ADMIN, Reason, 200),
    line("POST", "/api/v1/users/{id}/reactivate", ADMIN, Reason, 200),
    line("POST", "/api/v1/users/{id}/unlock", ADMIN, Empty, 200),
    line("POST", "/api/v1/users/{id}/sessions/revoke", ADMIN, Empty, 200),
    line("POST", "/api/v1/users/{id}/erase", ADMIN, Erasure, 204),
    line("PUT", "/api/v1/users/{id}/roles/{role}", ADMIN, Empty, 204),
    line("DELETE", "/api/v1/users/{id}/roles/{role}", ADMIN, Empty, 204),
    line("GET", "/api/v1/events", EVENT_READER, Empty, 200),
    line("GET", "/api/v1/events/stream", EVENT_READER, Empty, 200),
    line("GET", "/api/v1/webhooks", WebhookList, Empty, 200),
    line("POST", "/api/v1/webhooks", WebhookOwner, Webhook, 201),
    line("GET", "/api/v1/webhooks/{id}", WebhookManager, Empty, 200),
    line("GET", "/api/v1/webhooks/{id}/deliveries", WebhookManager, Empty, 200),
    line("POST", "/api/v1/webhooks/{id}/test", WebhookManager, Empty, 200),
    line("POST", "/api/v1/webhooks/{id}/rotate-secret", WebhookManager, Empty, 200),
    line("POST", "/api/v1/webhooks/{id}/replay", WebhookManager, Range, 202),
    line("DELETE", "/api/v1/webhooks/{id}/replays", WebhookManager, Empty, 200),
    line("POST", "/api/v1/webhooks/{id}/resume", WebhookManager, Empty, 200),
    line("DELETE", "/api/v1/webhooks/{id}", WebhookManager, Empty, 204),
    line("POST", "/api/v1/auth/introspect", Introspector, Introspection, 200),
    line("GET", "/api/v1/tokens", ADMIN, Empty, 200),
    line("POST", "/api/v1/tokens", ADMIN, NewToken, 201),
    line("DELETE", "/api/v1/tokens/{id}", ADMIN, Empty, 204),
    line("GET", "/api/v1/log/checkpoint", AUDITOR, Empty, 200),
    line("GET", "/api/v1/log/key", AUDITOR, Empty, 200),
    line("GET", "/api/v1/log/proof/{position}", AUDITOR, Empty, 200),
    line("GET", "/api/v1/log/consistency", AUDITOR, Empty, 200),
    line("GET", "/api/v1/log/tile/{path}", AUDITOR, Empty, 200),
    line("GET", "/api/v1/projections", OPERATOR, Empty, 200),
    line("GET", "/api/v1/projections/{name}", OPERATOR, Empty, 200),
    line("POST", "/api/v1/projections/{name}/cancel", OPERATOR, Empty, 409),
    line("POST", "/api/v1/projections/{name}/rollback", OPERATOR, Empty, 409),
    line("POST", "/api/v1/projections/{name}/drop", OPERATOR, Version, 409),
    line("POST", "/api/v1/projections/{name}/skip", OPERATOR, Skip, 409),
    line("POST", "/api/v1/projections/{name}/rebuild", OPERATOR, Empty, 202),
    line("GET", "/api/v1/stats", STATS_READER, Empty, 200),
    line("GET", "/api/v1/metrics", OPERATOR, Empty, 200),
    line("GET", "/metrics", OPERATOR, Empty, 200),
];
