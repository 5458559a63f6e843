//! `GET /`: what this is and where to go, as JSON, and to browsers as a page.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Serialize;
use utoipa::ToSchema;

use super::html_text::escape_html;
use super::{console, docs, openapi};
use crate::app::App;
use crate::config::HttpSettings;

const STYLE: &str = include_str!("start_page/style.css");
const PAGE: &str = include_str!("start_page/page.html");

/// Nothing is loaded, and the style is the one whose digest is given.
static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

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

/// Shows the name and the version of the service. A client that asks for `text/html`, as browsers do, gets a page.
#[utoipa::path(
    get, path = "/",
    responses((status = 200, description = "Name, version and links", body = ServiceView)),
)]
pub(crate) async fn root(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let settings = &app.settings.http;
    let vary = [(header::VARY, HeaderValue::from_static("accept"))];
    if !asks_for_html(&headers) {
        return (vary, Json(ServiceView::new(settings))).into_response();
    }
    let policy = HeaderValue::from_str(&CONTENT_SECURITY_POLICY).ok();
    let policy = policy.map(|policy| [(header::CONTENT_SECURITY_POLICY, policy)]);
    (vary, policy.into_iter().flatten().collect::<HeaderMap>(), Html(page(settings))).into_response()
}

impl ServiceView {
    fn new(settings: &HttpSettings) -> Self {
        Self {
            name: settings.project_name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            docs: docs::PATH,
            openapi: openapi::path(settings),
        }
    }
}

/// Only clients that name `text/html`: those that accept anything get JSON, as ever.
fn asks_for_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut types = lines.flat_map(|line| line.split(',')).filter_map(|range| range.split(';').next());
    types.any(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
}

fn page(settings: &HttpSettings) -> String {
    let console = if settings.console {
        format!(
            "<li><a href=\"{}\">Console</a><span>users, events, read models, webhooks, the log</span></li>",
            console::PATH
        )
    } else {
        String::new()
    };
    PAGE.replace("{{style}}", STYLE)
        .replace("{{console}}", &console)
        .replace("{{docs}}", docs::PATH)
        .replace("{{openapi}}", &escape_html(&openapi::path(settings)))
        .replace("{{health}}", &escape_html(&settings.path("/health/ready")))
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        .replace("{{name}}", &escape_html(&settings.project_name))
}
