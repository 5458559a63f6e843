//! `GET /health`: that the process answers. Nothing else is looked at; `ready` looks.

pub(crate) mod ready;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// That the process answers.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthView {
    /// Always `ok`.
    status: &'static str,
    /// The same for people.
    message: &'static str,
}

/// Says that the process answers.
#[utoipa::path(
    get,
    path = "/health",
    tag = "service",
    operation_id = "health",
    responses((status = 200, description = "It does", body = HealthView)),
)]
pub(crate) async fn health() -> Json<HealthView> {
    Json(HealthView { status: "ok", message: "API is healthy" })
}
