//! `POST /projections/{name}/cancel`

use axum::Json;
use axum::extract::State;
use projections::lifecycle;

use super::change;
use crate::http::api_error::ApiError;
use crate::http::extract::{Idempotent, NoBody, Operator, ProjectionPath};
use crate::http::openapi::ErrorBody;
use crate::http::state::HttpState;
use crate::query::projections::ProjectionStatus;

/// Ends a rebuild, and removes what there is of it. What is read stays as it is.
#[utoipa::path(
    post,
    path = "/projections/{name}/cancel",
    tag = "projections",
    operation_id = "cancel_rebuild",
    security(("OAuth2PasswordBearer" = [])),
    params(("name" = String, Path, description = "The read model, such as `users`")),
    responses(
        (status = 200, description = "It is ended; its version is being dropped", body = ProjectionStatus),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither operator nor administrator", body = ErrorBody),
        (status = 404, description = "No such read model", body = ErrorBody),
        (status = 409, description = "`not_rebuilding`", body = ErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn cancel(
    State(state): State<HttpState>,
    _: Operator,
    ProjectionPath(projection): ProjectionPath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<Json<ProjectionStatus>, ApiError> {
    let cancel = lifecycle::cancel(projection, &state.app.services()?.projection_context);
    change(&state, &attempt, projection, cancel).await.map(Json)
}
