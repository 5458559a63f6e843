//! HTML forms, urlencoded or multipart. The last of several fields with the same name wins, as in Starlette.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;
use url::form_urlencoded;

use super::body::read_body;
use crate::http::api_error::ApiError;
use crate::http::state::HttpState;

/// A form; empty for other content types.
pub(crate) struct Form(HashMap<String, FormValue>);

pub(crate) enum FormValue {
    Text(String),
    File,
}

impl Form {
    /// Removes a field. An empty one counts as missing.
    pub(crate) fn take(&mut self, name: &str) -> Option<FormValue> {
        self.0.remove(name).filter(|value| !matches!(value, FormValue::Text(text) if text.is_empty()))
    }

    /// Removes a field that a request to an endpoint of OAuth must have (RFC 6749 §5.2).
    pub(crate) fn require(&mut self, name: &str) -> Result<String, ApiError> {
        let detail = match self.take(name) {
            Some(FormValue::Text(text)) => return Ok(text),
            Some(FormValue::File) => format!("`{name}` must be text, not a file"),
            None => format!("`{name}` is missing"),
        };
        Err(ApiError::OAuth { error: "invalid_request", detail })
    }
}

impl FromRequest<HttpState> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &HttpState) -> Result<Self, ApiError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let kind = content_type.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let body = read_body(request).await?;
        let fields = match essence.as_str() {
            "application/x-www-form-urlencoded" => urlencoded(&body),
            "multipart/form-data" if !body.is_empty() => {
                let mut request = Request::new(Body::from(body));
                if let Some(kind) = content_type {
                    request.headers_mut().insert(header::CONTENT_TYPE, kind);
                }
                multipart(request).await?
            }
            _ => HashMap::new(),
        };
        Ok(Self(fields))
    }
}

fn urlencoded(body: &[u8]) -> HashMap<String, FormValue> {
    form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), FormValue::Text(value.into_owned())))
        .collect()
}

async fn multipart(request: Request) -> Result<HashMap<String, FormValue>, ApiError> {
    let no_boundary = |_| ApiError::UnreadableBody("Missing boundary in multipart.".to_owned());
    let mut parts = Multipart::from_request(request, &()).await.map_err(no_boundary)?;
    let mut fields = HashMap::new();
    while let Some(part) = parts.next_field().await.map_err(invalid)? {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(invalid)?;
        let value = if is_file {
            FormValue::File
        } else {
            FormValue::Text(String::from_utf8_lossy(&bytes).into_owned())
        };
        fields.insert(name, value);
    }
    Ok(fields)
}

fn invalid<E>(_: E) -> ApiError {
    ApiError::UnreadableBody("Invalid multipart data.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &HashMap<String, FormValue>, name: &str) -> Option<String> {
        match fields.get(name) {
            Some(FormValue::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    #[test]
    fn the_last_duplicate_field_wins_and_broken_escapes_are_text() {
        let fields = urlencoded(b"a=1&a=2&b=%zz+%41&c=%ff&d");
        assert_eq!(text(&fields, "a").as_deref(), Some("2"));
        assert_eq!(text(&fields, "b").as_deref(), Some("%zz A"));
        assert_eq!(text(&fields, "c").as_deref(), Some("\u{FFFD}"));
        assert_eq!(text(&fields, "d").as_deref(), Some(""));
    }

    async fn parts(body: &'static str) -> Result<HashMap<String, FormValue>, ApiError> {
        let kind = "multipart/form-data; boundary=X";
        multipart(Request::builder().header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap()).await
    }

    #[tokio::test]
    async fn multipart_fields_are_read_and_files_are_not_text() {
        let body = "--X\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\na b\r\n\
                    --X\r\nContent-Disposition: form-data; name=\"password\"; filename=\"f\"\r\n\r\nx\r\n--X--\r\n";
        let fields = parts(body).await.unwrap();
        assert_eq!(text(&fields, "username").as_deref(), Some("a b"));
        assert!(matches!(fields.get("password"), Some(FormValue::File)));
        assert!(matches!(parts("junk").await, Err(ApiError::UnreadableBody(_))));
    }
}
