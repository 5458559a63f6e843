//! `POST /projections/{name}/rollback`

use axum::Json;
use axum::extract::State;
use projections::lifecycle;
use utoipa::ToSchema;

use super::change;
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{FieldReader, FromFields, Idempotent, Operator, OptionalJsonBody, ProjectionPath};
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;
use crate::query::projections::ProjectionStatus;

/// Where to.
#[derive(ToSchema)]
#[schema(as = Rollback)]
pub(crate) struct RollbackBody {
    /// The version to read; the one before the live one if it is left out.
    #[schema(minimum = 1)]
    to: Option<u64>,
}

impl FromFields for RollbackBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { to: fields.optional_number("to", 1..=u64::MAX) })
    }
}

/// Reads another version of a read model that is kept: the one named, or the one before the live one.
#[utoipa::path(
    post,
    path = "/projections/{name}/rollback",
    tag = "projections",
    operation_id = "roll_back_projection",
    security(("OAuth2PasswordBearer" = [])),
    params(("name" = String, Path, description = "The read model, such as `users`")),
    request_body = Option<RollbackBody>,
    responses(
        (status = 200, description = "It is read from that version", body = ProjectionStatus),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither operator nor administrator", body = ErrorBody),
        (status = 404, description = "No such read model", body = ErrorBody),
        (status = 409, description = "`no_such_version`", body = ErrorBody),
        (status = 422, description = "A bad version", body = ValidationErrorBody),
        (status = 503, description = "`projection_behind`: the version is not as far as the live one; or `unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn roll_back(
    State(state): State<HttpState>,
    _: Operator,
    ProjectionPath(projection): ProjectionPath,
    Idempotent { attempt, body: OptionalJsonBody(body) }: Idempotent<OptionalJsonBody<RollbackBody>>,
) -> Result<Json<ProjectionStatus>, ApiError> {
    let to = body.and_then(|body| body.to);
    let roll_back = lifecycle::roll_back(projection, &state.app.services()?.projection_context, to);
    change(&state, &attempt, projection, roll_back).await.map(Json)
}
