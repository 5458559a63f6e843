//! `POST /projections/{name}/skip`

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use domain::{Reason, Skip};
use serde::Serialize;
use utoipa::ToSchema;

use crate::command;
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{
    FieldReader, FromFields, Idempotent, JsonBody, MAX_POSITION, Operator, ProjectionPath, RequestId,
};
use crate::http::headers::PositionHeader;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::state::HttpState;

/// Which event, and why.
#[derive(ToSchema)]
#[schema(as = Skip)]
pub(crate) struct SkipBody {
    /// The position of the event, as the status names it.
    #[schema(minimum = 1)]
    position: u64,
    /// Kept with the decision.
    #[schema(value_type = String, min_length = 1, max_length = 500)]
    reason: Reason,
}

impl FromFields for SkipBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        let position = fields.number("position", 1..=MAX_POSITION);
        let reason = fields.required_reason("reason");
        Some(Self { position: position?, reason: reason? })
    }
}

/// The decision.
#[derive(Serialize, ToSchema)]
#[schema(as = Skipped)]
pub(crate) struct SkippedView {
    /// The position of the event that records it, also if that was done before.
    position: u64,
}

/// Lets a read model go on without an event that it cannot take in. The decision is an event itself.
#[utoipa::path(
    post,
    path = "/projections/{name}/skip",
    tag = "projections",
    operation_id = "skip_event",
    security(("OAuth2PasswordBearer" = [])),
    params(("name" = String, Path, description = "The read model, such as `users`")),
    request_body = SkipBody,
    responses(
        (status = 200, description = "It goes on without the event", body = SkippedView),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither operator nor administrator", body = ErrorBody),
        (status = 404, description = "No such read model, or no event at this position", body = ErrorBody),
        (status = 409, description = "`nothing_to_skip`: it can take in the event", body = ErrorBody),
        (status = 422, description = "A bad position or reason", body = ValidationErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn skip(
    State(state): State<HttpState>,
    Operator(operator): Operator,
    ProjectionPath(projection): ProjectionPath,
    request_id: RequestId,
    Idempotent { attempt, body: JsonBody(SkipBody { position, reason }) }: Idempotent<JsonBody<SkipBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let skip = Skip { projection: projection.name().to_owned(), position, reason };
    let (sources, context) =
        (&state.app.services()?.projection_context, operator.command_context(&request_id));
    let skip = async { Ok(command::skip(projection, sources, &state.app.env, &context, skip).await?) };
    let skipped = attempt.limit.write(skip).await?;
    let written = (!skipped.already_recorded).then_some(skipped.position);
    Ok((PositionHeader(written), Json(SkippedView { position: skipped.position.get() })))
}
