//! `POST /projections/{name}/skip`

use axum::Json;
use axum::response::IntoResponse;
use domain::{Reason, Skip};
use serde::Serialize;
use utoipa::ToSchema;

use crate::command::{self, CommandContext};
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{FieldReader, FromFields, JsonBody, MAX_POSITION, Operator, ProjectionPath};
use crate::http::headers::PositionHeader;
use crate::http::idempotency::Idempotent;

/// The event to skip, and why.
#[derive(ToSchema)]
#[schema(as = Skip)]
pub(crate) struct SkipBody {
    /// The position of the event, as shown in the status.
    #[schema(minimum = 1)]
    position: u64,
    /// Stored with the decision.
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

/// The recorded decision.
#[derive(Serialize, ToSchema)]
#[schema(as = Skipped)]
pub(crate) struct SkippedView {
    /// The position of the event that records the decision, also if an earlier request recorded it.
    position: u64,
}

/// Skips an event that a read model fails to apply. The decision is itself recorded as an event.
#[utoipa::path(
    post, path = "/projections/{name}/skip",
    params(ProjectionPath),
    request_body = SkipBody,
    responses(
        (status = 200, description = "The read model continues without the event", body = SkippedView),
        Operator,
        (status = 404, description = "No such read model, or no event at this position"),
        (status = 409, description = "`nothing_to_skip`: the read model can apply the event"),
        (status = 422, description = "The position or the reason is not valid"),
        (status = 503, description = "`unavailable`"),
    ),
)]
pub(crate) async fn skip_event(
    Operator(operator): Operator,
    ProjectionPath(projection): ProjectionPath,
    Idempotent { attempt, body: JsonBody(SkipBody { position, reason }) }: Idempotent<JsonBody<SkipBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let skip = Skip { projection: projection.name().to_owned(), position, reason };
    let app = &attempt.state.app;
    let projections = &app.services()?.projection_context;
    let context = CommandContext::new(operator.actor(), attempt.request_id.as_str());
    let skip = async { Ok(command::skip(projection, projections, &app.env, &context, skip).await?) };
    let skipped = attempt.limit.write(skip).await?;
    let written = (!skipped.already_recorded).then_some(skipped.position);
    Ok((PositionHeader(written), Json(SkippedView { position: skipped.position.get() })))
}
