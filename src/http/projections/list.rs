//! `GET /projections`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api_error::ApiError;
use crate::http::extract::Operator;
use crate::http::openapi::ErrorBody;
use crate::http::state::HttpState;
use crate::query::projections::{ProjectionStatus, all};

/// Every read model.
#[derive(Serialize, ToSchema)]
#[schema(as = Projections)]
pub(crate) struct ProjectionsView {
    /// Each with its versions.
    projections: Vec<ProjectionStatus>,
}

/// Says how the read models are doing.
#[utoipa::path(
    get,
    path = "/projections",
    tag = "projections",
    operation_id = "list_projections",
    security(("OAuth2PasswordBearer" = [])),
    responses(
        (status = 200, description = "Every read model, with its versions", body = ProjectionsView),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither operator nor administrator", body = ErrorBody),
        (status = 503, description = "`unavailable`", body = ErrorBody),
    ),
)]
pub(crate) async fn list(
    State(state): State<HttpState>,
    _: Operator,
) -> Result<Json<ProjectionsView>, ApiError> {
    let projections = all(&state.app.services()?.projection_context, state.app.env.now()).await?;
    Ok(Json(ProjectionsView { projections }))
}
