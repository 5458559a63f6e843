//! `GET /users/me/sessions`, `DELETE /users/me/sessions/{id}` and `GET /users/{id}/sessions`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{RevocationReason, UserCommand};
use projections::UserRow;
use serde::Serialize;
use store::canonical::rfc3339;
use store::{Session, StreamId};
use utoipa::ToSchema;

use super::commands::execute;
use crate::app::{App, Services};
use crate::http::api_error::ApiError;
use crate::http::conditional::IfMatch;
use crate::http::extract::{Auditor, CurrentUser, NoBody, SessionPath, UserPath};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::query::{HeldSession, SessionOwner};

/// A session, as shown to its user.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// A UUID.
    #[schema(examples("0193e2b4-0000-7000-8000-000000000001"))]
    id: String,
    /// When the user logged in: RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its tokens were last renewed.
    #[schema(format = DateTime)]
    last_used_at: String,
    /// When it ends unless it is refreshed.
    #[schema(format = DateTime)]
    expires_at: String,
    /// The address that the user logged in from, if it is known.
    address: Option<String>,
    /// What the client called itself, if it did.
    user_agent: Option<String>,
    /// Whether it is the session of this request.
    current: bool,
}

/// The open sessions of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionList)]
pub(crate) struct SessionList {
    /// The last used one first; at most 100.
    sessions: Vec<SessionView>,
}

/// Lists the caller's open sessions.
#[utoipa::path(
    get, path = "/users/me/sessions",
    responses(
        (status = 200, description = "The caller's sessions", body = SessionList),
        CurrentUser,
        (status = 404, description = "The token's user does not exist, or is erased"),
    ),
)]
pub(crate) async fn my_sessions(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<Json<SessionList>, ApiError> {
    let open = open_sessions(app.services()?, &user.row).await?;
    Ok(Json(SessionList { sessions: open.into_iter().map(|session| view(session, &user)).collect() }))
}

fn view(session: Session, user: &CurrentUser) -> SessionView {
    SessionView {
        id: session.id.to_string(),
        created_at: rfc3339(session.created_at),
        last_used_at: rfc3339(session.refreshed_at),
        expires_at: rfc3339(session.expires_at),
        current: user.session.is_some_and(|current| current.as_uuid() == session.id),
        address: session.address,
        user_agent: session.user_agent,
    }
}

/// The open sessions of a user, as shown to administrators and auditors.
#[derive(Serialize, ToSchema)]
#[schema(as = UserSessionList)]
pub(crate) struct UserSessionList {
    /// The last used one first; at most 100.
    sessions: Vec<HeldSession>,
}

/// Lists the open sessions of a user.
#[utoipa::path(
    get, path = "/users/{id}/sessions",
    params(UserPath),
    responses(
        (status = 200, description = "The user's sessions", body = UserSessionList),
        Auditor,
        (status = 404, description = "No such user, or erased"),
    ),
)]
pub(crate) async fn user_sessions(
    State(app): State<Arc<App>>,
    _: Auditor,
    UserPath(id): UserPath,
) -> Result<Json<UserSessionList>, ApiError> {
    let services = app.services()?;
    let row = services.user_rows.by_id(id).await?.ok_or(ApiError::UserNotFound)?;
    let sessions = open_sessions(services, &row).await?;
    Ok(Json(UserSessionList { sessions: sessions.into_iter().map(HeldSession::from).collect() }))
}

async fn open_sessions(services: &Services, row: &UserRow) -> Result<Vec<Session>, ApiError> {
    let stream = StreamId::new(row.id.stream()).map_err(|error| ApiError::internal(&error))?;
    let owner = SessionOwner::from(row);
    let mut open = services.sessions.of(&stream).await?;
    open.retain(|session| owner.has_open(session, &services.store));
    Ok(open)
}

/// Ends a session of the caller, whose tokens become invalid.
#[utoipa::path(
    delete, path = "/users/me/sessions/{id}",
    params(SessionPath, IfMatch, WriteAttempt),
    responses(
        (status = 204, description = "The session has ended", headers(("Aegis-Position" = u64))),
        CurrentUser,
        (status = 404, description = "The caller has no such session"),
        IfMatch,
    ),
)]
pub(crate) async fn end_session(
    user: CurrentUser,
    SessionPath(session): SessionPath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::RevokeSession { session, reason: RevocationReason::Ended };
    let done = execute(&attempt, &user.actor(), user.row.id, &command).await?;
    if done.position.is_none() {
        return Err(ApiError::SessionNotFound);
    }
    Ok((StatusCode::NO_CONTENT, position_header(done.position), ()))
}
