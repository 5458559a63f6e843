//! The page of the console: one document for every path, which shows what its address names.

use std::fmt::Write;

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use domain::known_event_types;

use super::files::{self, File};
use crate::config::HttpSettings;
use crate::http::conditional::content_tag;
use crate::http::connections::memory::SharedAnswer;
use crate::http::html_text::escape_html;

/// Where the console is served.
pub(in crate::http) const PATH: &str = "/console";
pub(super) const INDEX: &str = "index.html";

/// Scripts, styles and requests of this origin only, nothing inline. `data:` is for the icon of select elements.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The document of this service.
#[derive(Clone)]
pub(super) struct Page(Bytes);

impl Page {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let assets = format!("{PATH}/assets/{}", files::build());
        let mut preload = String::new();
        for module in files::modules() {
            // Writing to a string cannot fail.
            let _ = writeln!(preload, "<link rel=\"modulepreload\" href=\"{assets}/{module}\">");
        }
        let types = known_event_types().collect::<Vec<_>>().join(",");
        // The file is embedded and was compressed from text.
        let template = File::find(INDEX).and_then(|file| file.content().ok()).unwrap_or_default();
        let page = String::from_utf8_lossy(&template)
            .replace("{{assets}}", &assets)
            .replace("{{preload}}", &preload)
            .replace("{{types}}", &types)
            .replace("{{api}}", &escape_html(settings.api_prefix.trim_end_matches('/')))
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
            .replace("{{name}}", &escape_html(&settings.project_name));
        Self(page.into())
    }
}

pub(super) async fn page(Extension(Page(page)): Extension<Page>) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        // For browsers that do not know `frame-ancestors`.
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    let tag = content_tag(&String::from_utf8_lossy(&page));
    (headers, [tag], Extension(SharedAnswer), page)
}
