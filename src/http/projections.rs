//! `/projections`: the read models and their versions, for operators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{Reason, Skip};
use projections::{ChangeError, Projection, ProjectionContext, lifecycle};
use serde::Serialize;
use store::ProjectionVersions;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::command::{self, CommandContext};
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{
    FieldReader, FromFields, JsonBody, MAX_POSITION, NoBody, Operator, OptionalJsonBody, ProjectionPath,
};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::state::{HttpState, Routes};
use crate::query::projections::{ProjectionStatus, all, one};

/// The largest number that the databases can store.
const MAX_VERSION: u64 = MAX_POSITION;

pub(super) fn routes() -> Routes {
    vec![
        routes!(list_projections),
        routes!(get_projection),
        routes!(rebuild_projection),
        routes!(cancel_rebuild),
        routes!(roll_back_projection),
        routes!(drop_version),
        routes!(skip_event),
    ]
}

/// All read models.
#[derive(Serialize, ToSchema)]
#[schema(as = ProjectionList)]
pub(crate) struct ProjectionsView {
    /// Each with its versions.
    projections: Vec<ProjectionStatus>,
}

/// Lists the read models with their versions.
#[utoipa::path(
    get, path = "/projections",
    responses(
        (status = 200, description = "All read models, with their versions", body = ProjectionsView),
        Operator,
        (status = 503, description = "`unavailable`"),
    ),
)]
pub(crate) async fn list_projections(
    State(state): State<HttpState>,
    _: Operator,
) -> Result<Json<ProjectionsView>, ApiError> {
    let projections = all(&state.app.services()?.projection_context, state.app.env.now()).await?;
    Ok(Json(ProjectionsView { projections }))
}

/// Shows a read model: the state, position and lag of each version, and the progress of a rebuild.
#[utoipa::path(
    get, path = "/projections/{name}",
    params(ProjectionPath),
    responses(
        (status = 200, description = "The status", body = ProjectionStatus),
        Operator,
        ProjectionPath,
        (status = 503, description = "`unavailable`"),
    ),
)]
pub(crate) async fn get_projection(
    State(state): State<HttpState>,
    _: Operator,
    ProjectionPath(projection): ProjectionPath,
) -> Result<Json<ProjectionStatus>, ApiError> {
    read(&state, projection).await.map(Json)
}

/// Changes the versions of a read model, and reads its status afterwards.
pub(super) async fn change_versions(
    attempt: &WriteAttempt,
    projection: &'static dyn Projection,
    change: impl Future<Output = Result<ProjectionVersions, ChangeError>>,
) -> Result<ProjectionStatus, ApiError> {
    attempt.limit.write(async { Ok(change.await?) }).await?;
    attempt.limit.read("the status of the read model", read(&attempt.state, projection)).await
}

pub(super) fn context(attempt: &WriteAttempt) -> Result<&ProjectionContext, ApiError> {
    Ok(&attempt.state.app.services()?.projection_context)
}

async fn read(state: &HttpState, projection: &'static dyn Projection) -> Result<ProjectionStatus, ApiError> {
    Ok(one(projection, &state.app.services()?.projection_context, state.app.env.now()).await?)
}

/// Rebuilds a read model from the log, as a new version beside the live one. The new version is promoted once
/// it has caught up.
#[utoipa::path(
    post, path = "/projections/{name}/rebuild",
    params(ProjectionPath),
    responses(
        (status = 202, description = "The rebuild has started; see `GET /projections/{name}`",
            body = ProjectionStatus),
        Operator,
        ProjectionPath,
        (status = 409, description = "`already_rebuilding`: `detail` says who started it, and when"),
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn rebuild_projection(
    Operator(operator): Operator,
    ProjectionPath(projection): ProjectionPath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<(StatusCode, Json<ProjectionStatus>), ApiError> {
    let (by, now) = (operator.actor(), attempt.state.app.env.now());
    let rebuild = lifecycle::rebuild(projection, context(&attempt)?, &by, now);
    let status = change_versions(&attempt, projection, rebuild).await?;
    Ok((StatusCode::ACCEPTED, Json(status)))
}

/// Cancels a rebuild and drops the version that was being built. The live version is not affected.
#[utoipa::path(
    post, path = "/projections/{name}/cancel",
    params(ProjectionPath),
    responses(
        (status = 200, description = "The rebuild is cancelled; its version is being dropped",
            body = ProjectionStatus),
        Operator,
        ProjectionPath,
        (status = 409, description = "`not_rebuilding`"),
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn cancel_rebuild(
    _: Operator,
    ProjectionPath(projection): ProjectionPath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<Json<ProjectionStatus>, ApiError> {
    let cancel = lifecycle::cancel(projection, context(&attempt)?);
    change_versions(&attempt, projection, cancel).await.map(Json)
}

/// The version to switch to.
#[derive(ToSchema)]
#[schema(as = Rollback)]
pub(crate) struct RollbackBody {
    /// The number of the version; the one before the live version by default.
    #[schema(minimum = 1)]
    to: Option<u64>,
}

impl FromFields for RollbackBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { to: fields.optional_number("to", 1..=MAX_VERSION) })
    }
}

/// Switches readers to another stored version of a read model: the named one, or the one before the live
/// version.
#[utoipa::path(
    post, path = "/projections/{name}/rollback",
    params(ProjectionPath),
    request_body = Option<RollbackBody>,
    responses(
        (status = 200, description = "The version is live", body = ProjectionStatus),
        Operator,
        ProjectionPath,
        (status = 409, description = "`no_such_version`"),
        (status = 422, description = "The version is not valid"),
        (status = 503, description = "`projection_behind`: the version lags the live one; `unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn roll_back_projection(
    _: Operator,
    ProjectionPath(projection): ProjectionPath,
    Idempotent { attempt, body: OptionalJsonBody(body) }: Idempotent<OptionalJsonBody<RollbackBody>>,
) -> Result<Json<ProjectionStatus>, ApiError> {
    let to = body.and_then(|body| body.to);
    let roll_back = lifecycle::roll_back(projection, context(&attempt)?, to);
    change_versions(&attempt, projection, roll_back).await.map(Json)
}

/// The version to drop.
#[derive(ToSchema)]
#[schema(as = DropVersion)]
pub(crate) struct DropBody {
    /// The number of the version.
    #[schema(minimum = 1)]
    version: u64,
}

impl FromFields for DropBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { version: fields.number("version", 1..=MAX_VERSION)? })
    }
}

/// Drops a version of a read model other than the live one. Its rows are deleted within seconds.
#[utoipa::path(
    post, path = "/projections/{name}/drop",
    params(ProjectionPath),
    request_body = DropBody,
    responses(
        (status = 200, description = "The version is being dropped", body = ProjectionStatus),
        Operator,
        ProjectionPath,
        (status = 409, description = "`version_is_live` or `no_such_version`"),
        (status = 422, description = "The version is not valid"),
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn drop_version(
    _: Operator,
    ProjectionPath(projection): ProjectionPath,
    Idempotent { attempt, body: JsonBody(DropBody { version }) }: Idempotent<JsonBody<DropBody>>,
) -> Result<Json<ProjectionStatus>, ApiError> {
    let drop = lifecycle::drop(projection, context(&attempt)?, version);
    change_versions(&attempt, projection, drop).await.map(Json)
}

/// The event to skip, and why.
#[derive(ToSchema)]
#[schema(as = Skip)]
pub(crate) struct SkipBody {
    /// The position of the event, as shown in the status.
    #[schema(minimum = 1)]
    position: u64,
    /// Stored with the decision.
    #[schema(
        value_type = String, min_length = 1, max_length = 500,
        pattern = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$",
    )]
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
        (status = 503, description = "`unavailable` or `outcome_unknown`"),
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
    Ok((position_header(written), Json(SkippedView { position: skipped.position.get() })))
}
