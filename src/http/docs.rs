//! `GET /docs`: Swagger UI for the OpenAPI document, compiled in, so that it works offline.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderValue, Method, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use utoipa_swagger_ui::Config;

use super::api_error::ApiError;
use super::connections::memory::SharedAnswer;
use super::openapi;
use super::state::HttpState;
use crate::config::HttpSettings;

pub(super) const PATH: &str = "/docs";
const INDEX: &str = "index.html";

/// The files change with the program, so browsers revalidate them.
const CACHE_POLICY: &str = "no-cache";
/// The page loads files and the OpenAPI document from its own origin, sends requests there, and sets styles
/// and images from its scripts.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'self'; \
    form-action 'none'; frame-ancestors 'none'";

/// The routes of the page and of its files.
pub(super) fn routes(settings: &HttpSettings) -> Vec<(Method, String, MethodRouter<HttpState>)> {
    // The public validator would be contacted over the internet.
    let config = Config::new([openapi::path(settings)]).validator_url("none").try_it_out_enabled(true);
    let files = Files { config: Arc::new(config), served: Arc::default() };
    let methods = get(file).layer(Extension(files));
    vec![(Method::GET, PATH.to_owned(), methods.clone()), (Method::GET, format!("{PATH}/{{*file}}"), methods)]
}

/// The files of Swagger UI, each made once and shared by all answers.
#[derive(Clone)]
struct Files {
    config: Arc<Config<'static>>,
    served: Arc<Mutex<BTreeMap<String, Served>>>,
}

#[derive(Clone)]
struct Served {
    content_type: HeaderValue,
    bytes: Bytes,
}

impl Files {
    fn find(&self, file: &str) -> Result<Served, ApiError> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = served.get(file) {
            return Ok(found.clone());
        }
        let found = utoipa_swagger_ui::serve(file, Arc::clone(&self.config));
        let found = found.map_err(|error| ApiError::internal(&*error))?.ok_or(ApiError::NotFound)?;
        let bytes = match found.bytes {
            page if file == INDEX => with_base_href(&page).into(),
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        };
        let content_type =
            HeaderValue::from_str(&found.content_type).map_err(|error| ApiError::internal(&error))?;
        let found = Served { content_type, bytes };
        // Only names of files get here, so the map does not grow.
        served.insert(file.to_owned(), found.clone());
        Ok(found)
    }
}

async fn file(
    file: Option<Path<String>>,
    Extension(files): Extension<Files>,
) -> Result<impl IntoResponse, ApiError> {
    let Served { content_type, bytes } = files.find(file.as_ref().map_or(INDEX, |Path(file)| file))?;
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, HeaderValue::from_static(CACHE_POLICY)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY)),
        // For browsers that do not know `frame-ancestors`.
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    Ok((headers, Extension(SharedAnswer), bytes))
}

/// The page links its files relative to `/docs/`; the base makes the links work from `/docs` too.
fn with_base_href(page: &[u8]) -> Vec<u8> {
    let page = String::from_utf8_lossy(page);
    page.replacen("<head>", &format!("<head>\n    <base href=\"{PATH}/\">"), 1).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_answers_share_the_bytes_of_a_file() {
        let config = Arc::new(Config::new(["/openapi.json"]));
        let files = Files { config, served: Arc::default() };
        for name in [INDEX, "swagger-ui-bundle.js", "swagger-initializer.js"] {
            let [one, other] = [files.find(name), files.clone().find(name)].map(Result::unwrap);
            assert!(std::ptr::eq(one.bytes.as_ref(), other.bytes.as_ref()), "{name}");
        }
        assert!(matches!(files.find("nothing"), Err(ApiError::NotFound)));
        assert_eq!(files.served.lock().unwrap().len(), 3);
    }
}
