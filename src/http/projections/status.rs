//! `GET /projections` and `GET /projections/{name}`

use axum::Json;
use axum::extract::State;
use projections::{ChangeError, Projection, ProjectionContext};
use serde::Serialize;
use store::ProjectionVersions;
use utoipa::ToSchema;

use crate::http::api_error::ApiError;
use crate::http::extract::{Operator, ProjectionPath};
use crate::http::idempotency::WriteAttempt;
use crate::http::state::HttpState;
use crate::query::projections::{ProjectionStatus, all, one};

/// All read models.
#[derive(Serialize, ToSchema)]
#[schema(as = Projections)]
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
