//! `POST /projections/{name}/rebuild`, `/cancel`, `/rollback` and `/drop`

use axum::Json;
use axum::http::StatusCode;
use projections::lifecycle;
use utoipa::ToSchema;

use super::status::{change_versions, context};
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{
    FieldReader, FromFields, JsonBody, NoBody, Operator, OptionalJsonBody, ProjectionPath,
};
use crate::http::idempotency::Idempotent;
use crate::query::projections::ProjectionStatus;

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
        (status = 503, description = "`unavailable`"),
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
        (status = 503, description = "`unavailable`"),
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
        Some(Self { to: fields.optional_number("to", 1..=u64::MAX) })
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
        (status = 503, description = "`projection_behind`: the version lags the live one; or `unavailable`"),
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
        Some(Self { version: fields.number("version", 1..=u64::MAX)? })
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
        (status = 503, description = "`unavailable`"),
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
