//! `GET /`, and `GET /docs`: Swagger UI for the OpenAPI document, compiled in, so that it works offline.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_swagger_ui::Config;

use super::api_error::ApiError;
use super::openapi;
use super::state::HttpState;
use crate::app::App;
use crate::config::HttpSettings;

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
        docs: PATH,
        openapi: openapi::path(settings),
    })
}

pub(super) const PATH: &str = "/docs";

/// The files change with the program, so browsers revalidate them.
const CACHE_POLICY: &str = "no-cache";

pub(super) fn routes(settings: &HttpSettings) -> Router<HttpState> {
    // The public validator would be contacted over the internet.
    let config = Config::new([openapi::path(settings)]).validator_url("none").try_it_out_enabled(true);
    Router::new()
        .route(PATH, get(file))
        .route(&format!("{PATH}/"), get(file))
        .route(&format!("{PATH}/{{*file}}"), get(file))
        .layer(Extension(Arc::new(config)))
}

async fn file(
    file: Option<Path<String>>,
    Extension(config): Extension<Arc<Config<'static>>>,
) -> Result<impl IntoResponse, ApiError> {
    let file = file.map_or_else(|| "index.html".to_owned(), |Path(file)| file);
    let found = utoipa_swagger_ui::serve(&file, config).map_err(|error| ApiError::internal(&*error))?;
    let found = found.ok_or(ApiError::NotFound)?;
    let bytes = if file == "index.html" { with_base_href(&found.bytes) } else { found.bytes.into_owned() };
    let headers =
        [(header::CONTENT_TYPE, found.content_type), (header::CACHE_CONTROL, CACHE_POLICY.to_owned())];
    Ok((headers, bytes))
}

/// The page links its files relative to `/docs/`; the base makes the links work from `/docs` too.
fn with_base_href(page: &[u8]) -> Vec<u8> {
    let page = String::from_utf8_lossy(page);
    page.replacen("<head>", &format!("<head>\n    <base href=\"{PATH}/\">"), 1).into_bytes()
}
