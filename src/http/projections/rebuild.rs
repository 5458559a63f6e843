//! `POST /projections/{name}/rebuild`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use projections::lifecycle;

use super::change;
use crate::http::api_error::ApiError;
use crate::http::extract::{Idempotent, NoBody, Operator, ProjectionPath, RequestId};
use crate::http::openapi::ErrorBody;
use crate::http::state::HttpState;
use crate::query::projections::ProjectionStatus;

/// Begins to make a read model anew from the log, beside the one that is read, which it replaces once it is as far.
#[utoipa::path(
    post,
    path = "/projections/{name}/rebuild",
    tag = "projections",
    operation_id = "rebuild_projection",
    security(("OAuth2PasswordBearer" = [])),
    params(("name" = String, Path, description = "The read model, such as `users`")),
    responses(
        (status = 202, description = "It is begun; `GET /projections/{name}` says how far it is", body = ProjectionStatus),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither operator nor administrator", body = ErrorBody),
        (status = 404, description = "No such read model", body = ErrorBody),
        (status = 409, description = "`already_rebuilding`: the words say who has begun it and when", body = ErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn rebuild(
    State(state): State<HttpState>,
    Operator(operator): Operator,
    ProjectionPath(projection): ProjectionPath,
    request_id: RequestId,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<(StatusCode, Json<ProjectionStatus>), ApiError> {
    let (by, now) = (operator.command_context(&request_id).actor, state.app.env.now());
    let rebuild = lifecycle::rebuild(projection, &state.app.services()?.projection_context, &by, now);
    let status = change(&state, &attempt, projection, rebuild).await?;
    Ok((StatusCode::ACCEPTED, Json(status)))
}
