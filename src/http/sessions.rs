//! Sessions: opened by a login, renewed by refresh tokens (RFC 6749 §6) that are each used once, and ended. They are
//! stored beside the log; what ends one before its time is an event of its user.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    LoginClient, RevocationReason, SYSTEM_ACTOR, SessionId, UserAgent, UserCommand, UserEvent, UserId,
};
use jiff::{SignedDuration, Timestamp};
use projections::UserRow;
use serde_json::Value;
use store::{Envelope, NewSession, Session, StreamId, WriteError};
use uuid::Uuid;

use super::api_error::ApiError;
use super::request_id::RequestId;
use super::token_view::TokenView;
use crate::app::{App, Services};
use crate::command::{CommandContext, CommandError};
use crate::query::SessionOwner;

/// How long a refresh token that was used up is answered with the same successor: the answer may have been lost, or
/// two tabs of a browser may have presented it at once.
const RETRY_WINDOW: SignedDuration = SignedDuration::from_secs(30);
/// How often a refresh that conflicts with another one is tried.
const MAX_ATTEMPTS: usize = 5;

/// Opens a session for a user who has just logged in.
pub(crate) async fn open(app: &App, client: &LoginClient, row: &UserRow) -> Result<TokenView, ApiError> {
    let sessions = &app.services()?.sessions;
    let now = app.services()?.store.clock().now();
    let ends_at = after(now, app.settings.sessions.lifetime);
    let address = client.address.as_ref().and_then(|address| address.known()).map(ToString::to_string);
    let user_agent = client.user_agent.as_ref().and_then(|agent| agent.known()).map(UserAgent::as_str);
    let new = NewSession {
        stream: StreamId::new(row.id.stream()).map_err(|error| ApiError::internal(&error))?,
        version: row.version,
        ends_at,
        expires_at: expiry(app, now, ends_at),
        address,
        user_agent: user_agent.map(str::to_owned),
    };
    match sessions.open(new).await {
        Ok(session) => tokens(app, row, &session),
        // The user was erased meanwhile.
        Err(WriteError::Conflict) => Err(ApiError::InvalidCredentials),
        Err(WriteError::Store(error)) => Err(error.into()),
    }
}

/// Exchanges a refresh token for new tokens. One that was used up and is presented again later is a copy: which of the
/// two holders is the user cannot be known, so the session ends.
pub(crate) async fn refresh(
    app: &App,
    request_id: &RequestId,
    refresh_token: &str,
) -> Result<TokenView, ApiError> {
    let services = app.services()?;
    let sessions = &services.sessions;
    let (id, generation) = sessions.parse_refresh_token(refresh_token).ok_or(ApiError::InvalidGrant)?;
    for _ in 0..MAX_ATTEMPTS {
        let (session, row) = find_renewable(services, id).await?.ok_or(ApiError::InvalidGrant)?;
        let now = services.store.clock().now();
        // A newer one is authentic too: a power failure has undone the renewal that gave it.
        if generation >= session.generation {
            match sessions.renew(&session, generation, expiry(app, now, session.ends_at)).await {
                Ok(renewed) => return tokens(app, &row, &renewed),
                Err(WriteError::Conflict) => continue,
                Err(WriteError::Store(error)) => return Err(error.into()),
            }
        }
        let is_previous = generation + 1 == session.generation;
        if is_previous && now.duration_since(session.refreshed_at) <= RETRY_WINDOW {
            return tokens(app, &row, &session);
        }
        tracing::warn!(user = %row.id, session = %id, "refresh token used twice; the session ends");
        let context = CommandContext::new(SYSTEM_ACTOR, request_id.as_str());
        end(services, &context, row.id, SessionId::from_uuid(id), RevocationReason::Reuse).await?;
        return Err(ApiError::InvalidGrant);
    }
    Err(ApiError::Busy("a session is being refreshed by too many requests".to_owned()))
}

/// The tokens of the session after a change of the user's password that the session has survived. It skips a
/// generation, so that a copy of the refresh token from before is not answered, but ends the session.
pub(crate) async fn renew(app: &App, row: &UserRow, id: SessionId) -> Result<Option<TokenView>, ApiError> {
    let services = app.services()?;
    for _ in 0..MAX_ATTEMPTS {
        let Some(session) = services.sessions.find(id.as_uuid()).await? else { return Ok(None) };
        let now = services.store.clock().now();
        let expires_at = expiry(app, now, session.ends_at);
        match services.sessions.renew(&session, session.generation.saturating_add(1), expires_at).await {
            Ok(renewed) => return issue(app, row.id, renewed.version, &renewed).map(Some),
            Err(WriteError::Conflict) => {}
            Err(WriteError::Store(error)) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Ends a session of the user, if it is still open.
pub(crate) async fn end(
    services: &Services,
    context: &CommandContext,
    user: UserId,
    session: SessionId,
    reason: RevocationReason,
) -> Result<(), ApiError> {
    let command = UserCommand::RevokeSession { session, reason };
    match services.users.execute(context, user, &command).await {
        Ok(_) | Err(CommandError::Rejected(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ends the session of a refresh token at the wish of its holder. One that is void has no session.
pub(crate) async fn log_out(app: &App, request_id: &RequestId, refresh_token: &str) -> Result<(), ApiError> {
    let services = app.services()?;
    let Some((id, _)) = services.sessions.parse_refresh_token(refresh_token) else { return Ok(()) };
    let Some(session) = services.sessions.find(id).await? else { return Ok(()) };
    let Some(user) = UserId::from_stream(session.stream.as_str()) else { return Ok(()) };
    let context = CommandContext::new(user.stream(), request_id.as_str());
    end(services, &context, user, SessionId::from_uuid(id), RevocationReason::Logout).await
}

/// The session of a refresh token and the row of its user, if it is open and the log does not say otherwise.
pub(crate) async fn find_renewable(
    services: &Services,
    id: Uuid,
) -> Result<Option<(Session, Arc<UserRow>)>, ApiError> {
    let Some(session) = services.sessions.find(id).await? else { return Ok(None) };
    let Some(user) = UserId::from_stream(session.stream.as_str()) else { return Ok(None) };
    let Some(row) = services.user_rows.by_id(user).await? else { return Ok(None) };
    if !SessionOwner::from(&*row).has_open(&session, &services.store) {
        return Ok(None);
    }
    if is_revoked(services, &session).await? {
        tracing::error!(session = %id, "the log says that this session has ended: it was put back into the database");
        return Ok(None);
    }
    Ok(Some((session, row)))
}

/// Whether the log says that a session has ended although it exists: its record, which is authentic, was put back into
/// the database.
async fn is_revoked(services: &Services, session: &Session) -> Result<bool, ApiError> {
    const PAGE: usize = 500;
    let (id, mut version) = (session.id.to_string(), session.version);
    let is_its_end = |event: &Envelope| {
        event.event_type == UserEvent::SESSION_REVOKED_TYPE
            && event.data.get("session").and_then(Value::as_str) == Some(&id)
    };
    loop {
        let page = services.store.read_stream_after(&session.stream, version, PAGE).await?;
        if page.iter().any(is_its_end) {
            return Ok(true);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => version = last.version,
            _ => return Ok(false),
        }
    }
}

/// The nearer of the idle and the absolute end.
fn expiry(app: &App, now: Timestamp, ends_at: Timestamp) -> Timestamp {
    after(now, app.settings.sessions.idle_lifetime).min(ends_at)
}

fn after(now: Timestamp, duration: Duration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn tokens(app: &App, row: &UserRow, session: &Session) -> Result<TokenView, ApiError> {
    issue(app, row.id, row.version, session)
}

fn issue(app: &App, user: UserId, version: u64, session: &Session) -> Result<TokenView, ApiError> {
    let services = app.services()?;
    let remaining = session.expires_at.duration_since(services.store.clock().now()).as_secs().max(0);
    let refresh_token = services.sessions.refresh_token(session.id, session.generation);
    TokenView::of_session(app, user, version, SessionId::from_uuid(session.id), remaining, refresh_token)
}
