//! `GET /`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{docs, openapi};
use crate::app::App;

/// The service, with links.
#[derive(Serialize, ToSchema)]
#[schema(as = Service)]
pub(crate) struct ServiceView {
    /// The configured name of the service.
    name: String,
    /// The version of Aegis.
    version: &'static str,
    /// The path of the documentation.
    docs: &'static str,
    /// The path of the OpenAPI document.
    openapi: String,
}

/// Shows the name and the version of the service.
#[utoipa::path(
    get, path = "/",
    responses((status = 200, description = "Name, version and links", body = ServiceView)),
)]
pub(crate) async fn root(State(app): State<Arc<App>>) -> Json<ServiceView> {
    let settings = &app.settings.http;
    Json(ServiceView {
        name: settings.project_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        docs: docs::PATH,
        openapi: openapi::path(settings),
    })
}
