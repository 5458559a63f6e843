//! `GET /projections/{name}`

use axum::Json;
use axum::extract::State;

use super::status;
use crate::http::api_error::ApiError;
use crate::http::extract::{Operator, ProjectionPath};
use crate::http::openapi::ErrorBody;
use crate::http::state::HttpState;
use crate::query::projections::ProjectionStatus;

/// Says how a read model is doing: each version, how far it is, and of one that is being built how much is left.
#[utoipa::path(
    get,
    path = "/projections/{name}",
    tag = "projections",
    operation_id = "get_projection",
    security(("OAuth2PasswordBearer" = [])),
    params(("name" = String, Path, description = "The read model, such as `users`")),
    responses(
        (status = 200, description = "How it is doing", body = ProjectionStatus),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither operator nor administrator", body = ErrorBody),
        (status = 404, description = "No such read model", body = ErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn show(
    State(state): State<HttpState>,
    _: Operator,
    ProjectionPath(projection): ProjectionPath,
) -> Result<Json<ProjectionStatus>, ApiError> {
    status(&state, projection).await.map(Json)
}
