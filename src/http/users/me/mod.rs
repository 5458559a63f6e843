//! `GET /users/me`, and what the caller does with their own account.

pub(crate) mod deactivate;
pub(crate) mod erase;
pub(crate) mod export;
mod password_confirmation;

use axum::Json;

use super::UserView;
use crate::http::extract::CurrentUser;
use crate::http::openapi::ErrorBody;

/// Shows the caller.
#[utoipa::path(
    get,
    path = "/users/me",
    tag = "users",
    operation_id = "show_me",
    security(("OAuth2PasswordBearer" = [])),
    params(("Aegis-Min-Position" = Option<u64>, Header, description = "Show at least this position of the log")),
    responses(
        (status = 200, description = "The caller", body = UserView),
        (status = 401, description = "No token", body = ErrorBody),
        (status = 403, description = "`invalid_token`, `inactive_user` or `token_revoked`", body = ErrorBody),
        (status = 404, description = "The token's user does not exist", body = ErrorBody),
        (status = 503, description = "`unavailable` or `projection_behind`", body = ErrorBody),
    ),
)]
pub(crate) async fn me(user: CurrentUser) -> Json<UserView> {
    Json(UserView::from_row(&user.row))
}
