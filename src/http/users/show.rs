//! `GET /users/{id}`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;

use super::UserDetail;
use crate::app::App;
use crate::http::extract::{Auditor, UserPath};
use crate::http::headers::Version;
use crate::http::openapi::ErrorBody;
use crate::http::problem::Problem;

/// Shows a user.
#[utoipa::path(
    get,
    path = "/users/{id}",
    tag = "users",
    operation_id = "show_user",
    security(("OAuth2PasswordBearer" = [])),
    params(
        ("id" = String, Path, description = "The user's id"),
        ("Aegis-Min-Position" = Option<u64>, Header, description = "Show at least this position of the log"),
    ),
    responses(
        (status = 200, description = "The user", body = UserDetail,
            headers(("ETag" = String, description = "The version of the user's stream"))),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "A bad token, or neither administrator nor auditor", body = ErrorBody),
        (status = 404, description = "No such user", body = ErrorBody),
    ),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    _: Auditor,
    UserPath(id): UserPath,
) -> Result<impl IntoResponse, Problem> {
    let row = app.node()?.user_rows.by_id(id).await?.ok_or(Problem::UserNotFound)?;
    Ok((Version(row.version), Json(UserDetail::of_row(&row))))
}
