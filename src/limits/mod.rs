//! Limits of requests that cost a password hash or guess one, or that let the log grow, per node and in memory: by
//! client address and by user (`buckets`), and by account (`accounts`). How a refusal is answered belongs in `http`; the share of a
//! client in the hashing queue in `crypto`.

mod accounts;
mod address;
mod buckets;
mod clock;
mod policy;
mod token_failures;

use std::sync::Arc;
use std::time::Duration;

use domain::UserId;
use store::Env;
use store::key_store::ClaimHash;

pub(crate) use accounts::{AccountLimits, LoginAttempt};
pub(crate) use address::ClientAddress;
pub(crate) use buckets::TokenBuckets;
pub(crate) use clock::LimitClock;
pub(crate) use policy::{LimitExceeded, Policy};

use token_failures::TokenFailures;

/// Requests of one address that cost a password hash. An office behind one address does not reach it.
const PASSWORD_CHECKS: Policy = Policy::bucket("password-checks", 300, Duration::from_mins(1));
/// Sign-ups of one address: each stores a user.
const SIGN_UPS: Policy = Policy::bucket("sign-ups", 200, Duration::from_mins(3));
/// Uses of refresh tokens from one address. A session needs one in 15 minutes, and a page that is loaded another.
const REFRESHES: Policy = Policy::bucket("refreshes", 1_200, Duration::from_mins(1));
/// Sessions that one user opens: a logout ends each with an event, in a stream that every command to the user reads.
const SESSIONS: Policy = Policy::bucket("sessions", 60, Duration::from_hours(1));
/// Logins of one user without a session: each is an event, and so is the logout after it.
const LOGINS: Policy = Policy::bucket("logins", 300, Duration::from_hours(1));
/// Registrations of webhooks by one owner: each makes this service resolve a host name. An owner may have
/// 100.
const WEBHOOK_REGISTRATIONS: Policy = Policy::bucket("webhook-registrations", 150, Duration::from_mins(15));
/// Requests for mails from one address: a client of this service sends no mail to many people. How many one user gets is
/// decided by the log.
const MAIL_REQUESTS: Policy = Policy::bucket("mail-requests", 60, Duration::from_mins(15));
/// Uses of tokens in mails from one address: each costs a signature check, and a read of the log.
const MAIL_TOKENS: Policy = Policy::bucket("mail-tokens", 120, Duration::from_mins(1));
/// Changes of e-mail address, username and password by one user: each answer tells whether another user has them.
const IDENTITY_CHANGES: Policy = Policy::bucket("identity-changes", 20, Duration::from_hours(1));

/// The limits of this node.
pub struct Limits {
    pub(crate) accounts: Arc<AccountLimits>,
    enabled: bool,
    password_checks: TokenBuckets<ClientAddress>,
    sign_ups: TokenBuckets<ClientAddress>,
    refreshes: TokenBuckets<ClientAddress>,
    sessions: TokenBuckets<UserId>,
    logins: TokenBuckets<UserId>,
    token_failures: TokenFailures,
    mail_requests: TokenBuckets<ClientAddress>,
    mail_tokens: TokenBuckets<ClientAddress>,
    webhook_registrations: TokenBuckets<UserId>,
    identity_changes: TokenBuckets<UserId>,
}

impl Limits {
    /// Limits that refuse nothing unless they are enabled.
    #[must_use]
    pub fn new(enabled: bool, env: &Env) -> Self {
        let clock = LimitClock::new(env);
        Self {
            accounts: Arc::new(AccountLimits::new(enabled, clock.clone())),
            enabled,
            password_checks: TokenBuckets::new(PASSWORD_CHECKS, clock.clone()),
            sign_ups: TokenBuckets::new(SIGN_UPS, clock.clone()),
            refreshes: TokenBuckets::new(REFRESHES, clock.clone()),
            sessions: TokenBuckets::new(SESSIONS, clock.clone()),
            logins: TokenBuckets::new(LOGINS, clock.clone()),
            token_failures: TokenFailures::new(clock.clone()),
            mail_requests: TokenBuckets::new(MAIL_REQUESTS, clock.clone()),
            mail_tokens: TokenBuckets::new(MAIL_TOKENS, clock.clone()),
            webhook_registrations: TokenBuckets::new(WEBHOOK_REGISTRATIONS, clock.clone()),
            identity_changes: TokenBuckets::new(IDENTITY_CHANGES, clock),
        }
    }

    pub(crate) fn are_enabled(&self) -> bool {
        self.enabled
    }

    /// Permits one request that costs a password hash.
    pub(crate) fn check_password(&self, client: ClientAddress) -> Result<(), LimitExceeded> {
        self.take(&self.password_checks, client)
    }

    /// Permits one sign-up.
    pub(crate) fn sign_up(&self, client: ClientAddress) -> Result<(), LimitExceeded> {
        self.take(&self.sign_ups, client)
    }

    /// Permits one use of a refresh token.
    pub(crate) fn refresh(&self, client: ClientAddress) -> Result<(), LimitExceeded> {
        self.take(&self.refreshes, client)
    }

    /// Permits one session of the user, who has just proved the password.
    pub(crate) fn open_session(&self, user: UserId) -> Result<(), LimitExceeded> {
        self.take(&self.sessions, user)
    }

    /// Permits one login of the user without a session.
    pub(crate) fn log_in(&self, user: UserId) -> Result<(), LimitExceeded> {
        self.take(&self.logins, user)
    }

    /// Permits the authentication of one machine token, given by a keyed hash.
    pub(crate) fn authenticate_token(
        &self,
        client: ClientAddress,
        token: &ClaimHash,
    ) -> Result<(), LimitExceeded> {
        if self.enabled { self.token_failures.admit(client, token) } else { Ok(()) }
    }

    /// Records whether a machine token was valid.
    pub(crate) fn token_authenticated(&self, token: ClaimHash, is_valid: bool) {
        if self.enabled {
            self.token_failures.record(token, is_valid);
        }
    }

    /// Permits one request for a mail.
    pub(crate) fn request_mail(&self, client: ClientAddress) -> Result<(), LimitExceeded> {
        self.take(&self.mail_requests, client)
    }

    /// Permits one use of a token from a mail.
    pub(crate) fn use_mail_token(&self, client: ClientAddress) -> Result<(), LimitExceeded> {
        self.take(&self.mail_tokens, client)
    }

    /// Permits one registration of a webhook.
    pub(crate) fn register_webhook(&self, owner: UserId) -> Result<(), LimitExceeded> {
        self.take(&self.webhook_registrations, owner)
    }

    /// Permits one change of e-mail address, username or password by the user.
    pub(crate) fn change_identity(&self, user: UserId) -> Result<(), LimitExceeded> {
        self.take(&self.identity_changes, user)
    }

    fn take<K>(&self, buckets: &TokenBuckets<K>, key: K) -> Result<(), LimitExceeded>
    where
        K: Clone + Eq + std::hash::Hash,
    {
        if self.enabled { buckets.take(key) } else { Ok(()) }
    }
}
