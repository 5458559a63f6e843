//! `GET /users/{id}`

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::UserDetail;
use crate::app::App;
use crate::http::api_error::{ApiError, Loc};
use crate::http::extract::{Auditor, QueryParams, UserPath};
use crate::http::headers::EntityTag;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::query::{AsOf, QueryError, UserAt};

/// `as_of`.
pub(crate) struct AsOfQuery(Option<AsOf>);

impl<S: Sync> FromRequestParts<S> for AsOfQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut params = QueryParams::of(&parts.uri);
        let query = Self(params.as_of("as_of"));
        params.finish(query)
    }
}

/// A user as they are, or as they were.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ShownUser)]
pub(crate) enum CurrentOrPastUser {
    /// Now.
    Current(UserDetail),
    /// Then.
    Past(UserAt),
}

/// Shows a user, as they are or, with `as_of`, as they were at some point of the log.
#[utoipa::path(
    get,
    path = "/users/{id}",
    tag = "users",
    operation_id = "show_user",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The user's id"),
        ("as_of" = Option<String>, Query, description = "As they were after this position, or at this moment (RFC 3339)"),
        ("Aegis-Min-Position" = Option<u64>, Header, description = "Show at least this position of the log"),
    ),
    responses(
        (status = 200, description = "The user", body = CurrentOrPastUser,
            headers(("ETag" = String, description = "The version of the user's stream"))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither administrator nor auditor", body = ErrorBody),
        (status = 404, description = "No such user, or not yet, or erased by then", body = ErrorBody),
        (status = 422, description = "`as_of` is neither a position of the log nor a time", body = ValidationErrorBody),
    ),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    _: Auditor,
    UserPath(id): UserPath,
    AsOfQuery(as_of): AsOfQuery,
) -> Result<Response, ApiError> {
    let services = app.services()?;
    let (version, user) = if let Some(as_of) = as_of {
        let past =
            services.history.as_of(id, as_of).await.map_err(beyond_head)?.ok_or(ApiError::UserNotFound)?;
        (past.version, CurrentOrPastUser::Past(past))
    } else {
        let row = services.user_rows.by_id(id).await?.ok_or(ApiError::UserNotFound)?;
        (row.version, CurrentOrPastUser::Current(UserDetail::from_row(&row)))
    };
    Ok((EntityTag(version), Json(user)).into_response())
}

fn beyond_head(error: QueryError) -> ApiError {
    match error {
        QueryError::BeyondHead { wanted, head } => ApiError::beyond_head(Loc::Query("as_of"), wanted, head),
        error => error.into(),
    }
}
