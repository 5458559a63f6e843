//! Rejects query parameters that a route does not document, so that a misspelt filter is an error and not a
//! filter that is missing. The four endpoints of the legacy service ignore unknown parameters, as FastAPI does.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use url::form_urlencoded;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};

use crate::http::api_error::{ApiError, ValidationError};

const LEGACY_ROUTES: [(Method, &str); 4] = [
    (Method::POST, "/auth/signup"),
    (Method::POST, "/auth/login/access-token"),
    (Method::GET, "/users/me"),
    (Method::GET, "/health"),
];
/// The longest parameter for which a similar one is suggested: comparing takes as many steps as the product of
/// both lengths.
const MAX_COMPARED_LENGTH: usize = 64;

/// The query parameters of a route, by method. An extension of its requests.
#[derive(Clone)]
pub(crate) struct DocumentedParameters(Arc<[(Method, Box<[String]>)]>);

impl DocumentedParameters {
    /// `path` is without the prefix of the API.
    pub(crate) fn of(path: &str, item: &PathItem) -> Self {
        let PathItem { get, put, post, delete, patch, .. } = item;
        let operations = [
            (Method::GET, get),
            (Method::PUT, put),
            (Method::POST, post),
            (Method::DELETE, delete),
            (Method::PATCH, patch),
        ];
        let checked = operations.into_iter().filter(|(method, _)| {
            !LEGACY_ROUTES.iter().any(|legacy| legacy.0 == *method && legacy.1 == path)
        });
        let documented = checked.filter_map(|(method, operation)| Some((method, names(operation.as_ref()?))));
        Self(documented.collect())
    }

    fn of_method(&self, method: &Method) -> Option<&[String]> {
        // HEAD is answered like GET.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.0.iter().find(|(documented, _)| documented == method).map(|(_, names)| &**names)
    }
}

fn names(operation: &Operation) -> Box<[String]> {
    let parameters = operation.parameters.iter().flatten();
    let name = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
        RefOr::T(_) | RefOr::Ref(_) => None,
    };
    parameters.filter_map(name).collect()
}

/// Proof that the query has documented parameters only. Extract it after the caller's authority.
pub(crate) struct DocumentedQuery;

impl DocumentedQuery {
    pub(crate) fn check(parts: &Parts) -> Result<Self, ApiError> {
        let (Some(query), Some(documented)) =
            (parts.uri.query(), parts.extensions.get::<DocumentedParameters>())
        else {
            return Ok(Self);
        };
        let Some(names) = documented.of_method(&parts.method) else { return Ok(Self) };
        let mut errors = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !names.iter().any(|known| *known == name) {
                errors.push(ValidationError::unknown_parameter(&name, nearest(&name, names), &value));
            }
        }
        if errors.is_empty() { Ok(Self) } else { Err(ApiError::Invalid(errors)) }
    }
}

impl<S: Sync> FromRequestParts<S> for DocumentedQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::check(parts)
    }
}

/// The most similar name.
pub(crate) fn nearest<'a>(
    unknown: &str,
    names: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Option<&'a str> {
    let names = names.into_iter().map(AsRef::as_ref);
    names
        .filter(|_| unknown.len() <= MAX_COMPARED_LENGTH)
        .min_by_key(|name| strsim::damerau_levenshtein(unknown, name))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::json;
    use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder};

    use super::*;

    fn check(path: &str, method: Method, query: &str) -> Result<DocumentedQuery, ApiError> {
        let parameter = |name| ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).build();
        let parameters = ["limit", "types"].map(parameter);
        let operation = OperationBuilder::new().parameters(Some(parameters)).build();
        let item = PathItem::from_http_methods([HttpMethod::Get], operation);
        let request = Request::builder().method(method).uri(format!("{path}?{query}"));
        let request = request.extension(DocumentedParameters::of(path, &item)).body(()).unwrap();
        DocumentedQuery::check(&request.into_parts().0)
    }

    #[test]
    fn unknown_parameter_is_named_with_the_nearest_one() {
        assert!(check("/events", Method::GET, "limit=1&types=A&types=B").is_ok());
        assert!(check("/events", Method::GET, "").is_ok());
        let Err(ApiError::Invalid(errors)) = check("/events", Method::HEAD, "limt=1") else {
            panic!("accepted")
        };
        assert_eq!(
            serde_json::to_value(errors).unwrap(),
            json!([{
                "type": "extra_forbidden", "loc": ["query", "limt"], "input": "1",
                "msg": "Extra inputs are not permitted; the nearest parameter is `limit`",
                "ctx": {"nearest": "limit"},
            }])
        );
        assert!(check("/events", Method::GET, &format!("{}=1", "x".repeat(60_000))).is_err());
    }

    #[test]
    fn legacy_endpoints_ignore_unknown_parameters() {
        assert!(check("/users/me", Method::GET, "limt=1").is_ok());
        assert!(check("/users/me/export", Method::GET, "limt=1").is_err());
    }
}
