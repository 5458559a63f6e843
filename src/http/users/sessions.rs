//! `GET /users/me/sessions` and `DELETE /users/me/sessions/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{RevocationReason, UserCommand};
use serde::Serialize;
use store::canonical::rfc3339;
use store::{Session, StreamId};
use utoipa::ToSchema;

use super::commands::execute;
use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::conditional::IfMatch;
use crate::http::extract::{CurrentUser, NoBody, SessionPath};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::query::SessionOwner;

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
    let services = app.services()?;
    let stream = StreamId::new(user.row.id.stream()).map_err(|error| ApiError::internal(&error))?;
    let open = services.sessions.of(&stream).await?.into_iter();
    let owner = SessionOwner::from(&*user.row);
    let open = open.filter(|session| owner.has_open(session, &services.store));
    Ok(Json(SessionList { sessions: open.map(|session| view(session, &user)).collect() }))
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
