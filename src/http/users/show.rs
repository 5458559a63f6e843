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
use crate::http::extract::{Auditor, Params, UserPath};
use crate::http::headers::Version;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::problem::{Loc, Problem};
use crate::query::{AsOf, PastUser, QueryError};

/// `as_of`.
pub(crate) struct Then(Option<AsOf>);

impl<S: Sync> FromRequestParts<S> for Then {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut params = Params::of(&parts.uri);
        let then = Self(params.as_of("as_of"));
        params.finish(then)
    }
}

/// A user as they are, or as they were.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ShownUser)]
pub(crate) enum ShownUser {
    /// Now.
    Now(UserDetail),
    /// Then.
    Then(PastUser),
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
        (status = 200, description = "The user", body = ShownUser,
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
    Then(then): Then,
) -> Result<Response, Problem> {
    let node = app.node()?;
    let (version, user) = if let Some(then) = then {
        let past = node.history.as_of(id, then).await.map_err(beyond)?.ok_or(Problem::UserNotFound)?;
        (past.version, ShownUser::Then(past))
    } else {
        let row = node.user_rows.by_id(id).await?.ok_or(Problem::UserNotFound)?;
        (row.version, ShownUser::Now(UserDetail::of_row(&row)))
    };
    Ok((Version(version), Json(user)).into_response())
}

fn beyond(error: QueryError) -> Problem {
    match error {
        QueryError::BeyondHead { wanted, head } => Problem::beyond_head(Loc::Query("as_of"), wanted, head),
        error => error.into(),
    }
}
