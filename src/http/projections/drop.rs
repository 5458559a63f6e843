//! `POST /projections/{name}/drop`

use axum::Json;
use axum::extract::State;
use projections::lifecycle;
use utoipa::ToSchema;

use super::change;
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{FieldReader, FromFields, Idempotent, JsonBody, Operator, ProjectionPath};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;
use crate::query::projections::ProjectionStatus;

/// What to drop.
#[derive(ToSchema)]
#[schema(as = DropVersion)]
pub(crate) struct DropBody {
    /// The version.
    #[schema(minimum = 1)]
    version: u64,
}

impl FromFields for DropBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { version: fields.number("version", 1..=u64::MAX)? })
    }
}

/// Drops a version of a read model that is not read. Its rows are removed within seconds.
#[utoipa::path(
    post,
    path = "/projections/{name}/drop",
    tag = "projections",
    operation_id = "drop_version",
    security(("OAuth2PasswordBearer" = [])),
    params(("name" = String, Path, description = "The read model, such as `users`")),
    request_body = DropBody,
    responses(
        (status = 200, description = "It is being dropped", body = ProjectionStatus),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither operator nor administrator", body = ErrorBody),
        (status = 404, description = "No such read model", body = ErrorBody),
        (status = 409, description = "`version_is_live` or `no_such_version`", body = ErrorBody),
        (status = 422, description = "A bad version", body = ValidationErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn drop(
    State(state): State<HttpState>,
    _: Operator,
    ProjectionPath(projection): ProjectionPath,
    Idempotent { attempt, body: JsonBody(DropBody { version }) }: Idempotent<JsonBody<DropBody>>,
) -> Result<Json<ProjectionStatus>, ApiError> {
    let drop = lifecycle::drop(projection, &state.app.services()?.projection_context, version);
    change(&state, &attempt, projection, drop).await.map(Json)
}
