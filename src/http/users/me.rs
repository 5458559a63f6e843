//! `/users/me`: the caller's own account, and its export, which is the data subject's right of access (GDPR,
//! article 15).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use domain::{ErasureReason, UserCommand};
use futures::stream::{self, StreamExt, TryStreamExt};
use utoipa::ToSchema;

use super::commands::execute;
use super::view::OwnUserView;
use crate::app::App;
use crate::config::Settings;
use crate::crypto::Password;
use crate::http::api_error::ApiError;
use crate::http::conditional::{IfMatch, IfNoneMatch, entity_tag};
use crate::http::credentials::confirm_password;
use crate::http::extract::{CurrentUser, FieldReader, FromFields, JsonBody, MinPosition, QueryParams};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::openapi::builders::one_of;
use crate::http::openapi::parameters::{document_extractors, query_parameter};
use crate::http::password_client::PasswordClient;
use crate::query::{PersonalRecord, QueryError};

/// Documents the parameter `fields`.
pub(crate) struct FieldsParameter;

document_extractors! {
    FieldsParameter: [query_parameter("fields", one_of(["all"], "Shows more than the fields of the legacy service"))];
}

/// Shows the caller's account.
#[utoipa::path(
    get, path = "/users/me",
    params(FieldsParameter, MinPosition, IfNoneMatch),
    responses(
        (status = 200, description = "The caller", body = OwnUserView,
            headers(("ETag" = String))),
        IfNoneMatch,
        CurrentUser,
        (status = 404, description = "The token's user does not exist"),
        (status = 422, description = "Another value of `fields`, which is repeated, or not a position"),
        (status = 503, description = "`unavailable` or `projection_behind`"),
    ),
)]
pub(crate) async fn show_me(
    user: CurrentUser,
    mut params: QueryParams,
) -> Result<impl IntoResponse, ApiError> {
    let all = params.choice("fields", &[("all", ())]);
    let view = match params.finish(all)? {
        Some(()) => OwnUserView::with_all_fields(&user.row),
        None => OwnUserView::from_row(&user.row),
    };
    Ok((entity_tag(user.row.version), Json(view)))
}

/// The caller's current password, which irreversible requests ask for again.
#[derive(ToSchema)]
#[schema(as = PasswordConfirmation)]
pub(crate) struct PasswordBody {
    /// The caller's current password.
    #[schema(value_type = String, format = Password)]
    password: Password,
}

impl FromFields for PasswordBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { password: fields.password("password")? })
    }
}

/// Deactivates the caller's account: logins are rejected and every token becomes invalid.
#[utoipa::path(
    post, path = "/users/me/deactivate",
    params(IfMatch, WriteAttempt),
    request_body = PasswordBody,
    responses(
        (status = 204, description = "The account is deactivated", headers(("Aegis-Position" = u64))),
        (status = 400, description = "`wrong_password`"),
        CurrentUser,
        (status = 409, description = "`last_admin`"),
        IfMatch,
        (status = 422, description = "The password is missing"),
        (status = 429, description = "`too_many_failures` or `rate_limited`, with `Retry-After`"),
    ),
)]
pub(crate) async fn deactivate_me(
    user: CurrentUser,
    client: PasswordClient,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<PasswordBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Deactivate { reason: None };
    execute_confirmed(&user, &client, &attempt, body, &command).await
}

/// Erases the caller's personal data permanently, by crypto-shredding. The caller's tokens become invalid,
/// and the e-mail address and the username can be registered again. A repetition is answered with 404,
/// because the token's user no longer exists.
#[utoipa::path(
    delete, path = "/users/me",
    params(IfMatch, WriteAttempt),
    request_body = PasswordBody,
    responses(
        (status = 204, description = "The user is erased", headers(("Aegis-Position" = u64))),
        (status = 400, description = "`wrong_password`"),
        CurrentUser,
        (status = 404, description = "The token's user does not exist, or is erased"),
        (status = 409, description = "`last_admin`"),
        IfMatch,
        (status = 422, description = "The password is missing"),
        (status = 429, description = "`too_many_failures` or `rate_limited`, with `Retry-After`"),
    ),
)]
pub(crate) async fn erase_me(
    user: CurrentUser,
    client: PasswordClient,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<PasswordBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let command = UserCommand::Erase { reason: ErasureReason::Request };
    execute_confirmed(&user, &client, &attempt, body, &command).await
}

/// Executes a command on the caller, if the password is correct.
async fn execute_confirmed(
    user: &CurrentUser,
    client: &PasswordClient,
    attempt: &WriteAttempt,
    body: PasswordBody,
    command: &UserCommand,
) -> Result<impl IntoResponse + use<>, ApiError> {
    confirm_password(&attempt.state.app, client, body.password, &user.row).await?;
    let done = execute(attempt, &user.actor(), user.row.id, command).await?;
    Ok((StatusCode::NO_CONTENT, position_header(done.position), ()))
}

const ATTACHMENT: &str = "attachment; filename=\"my-data.json\"";
const JSON: &str = "application/json";

/// Exports all data stored about the caller: the account, its events, open sessions, webhooks, logins, and the caller's
/// actions.
#[utoipa::path(
    get, path = "/users/me/export",
    responses(
        (status = 200, description = "All data stored about the caller", body = PersonalRecord,
            headers(("Content-Disposition" = String, description = "Makes browsers store a file"))),
        CurrentUser,
        (status = 404, description = "The token's user does not exist, or is erased"),
    ),
)]
pub(crate) async fn export_me(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<impl IntoResponse, ApiError> {
    let export = app.services()?.history.export(user.row.id, app.env.now()).await?;
    let mut parts = Box::pin(export.ok_or(ApiError::UserNotFound)?.into_json());
    // Before the answer begins, so that an error of an export in one part has a status of its own.
    let first = parts.try_next().await?.unwrap_or_default();
    let second = parts.try_next().await?.unwrap_or_default();
    let broken_off = |error: &QueryError| tracing::warn!(%error, "export of personal data broken off");
    let rest = parts.inspect_err(broken_off);
    let body = Body::from_stream(stream::iter([Ok(first), Ok(second)]).chain(rest));
    Ok(([(CONTENT_DISPOSITION, ATTACHMENT), (CONTENT_TYPE, JSON)], body))
}
