//! `PATCH /users/me` and `POST /users/me/password`: users change what they log in with.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::{EmailAddress, UserCommand, Username};
use utoipa::ToSchema;

use super::commands::execute;
use super::view::UserView;
use crate::command::CommandContext;
use crate::config::Settings;
use crate::crypto::{NewPassword, Password};
use crate::http::api_error::ApiError;
use crate::http::conditional::{IfMatch, entity_tag};
use crate::http::credentials::{confirm_password, hash_new_password};
use crate::http::extract::{CurrentUser, FieldReader, FromFields, JsonBody, Prefer, REPRESENTATION_APPLIED};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::password_client::PasswordClient;
use crate::http::sessions;
use crate::http::token_view::TokenView;

/// What is to change. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(as = IdentityChange)]
pub(crate) struct IdentityBody {
    /// The new e-mail address. Trimmed; the domain is shown in lower case.
    #[schema(value_type = Option<String>, format = IdnEmail, max_length = 254, examples("ada@example.com"))]
    email: Option<EmailAddress>,
    /// The new username. Trimmed and normalised (NFKC), with single spaces; as for sign-up.
    #[schema(
        value_type = Option<String>, min_length = 1, max_length = 64,
        pattern = r"^[^\u0000-\u001F\u007F-\u009F\u2028\u2029\u202A-\u202E\u2066-\u2069]*$",
        examples("ada"),
    )]
    username: Option<Username>,
    /// The caller's current password; required with an e-mail address.
    #[schema(value_type = Option<String>, format = Password, max_length = 1024)]
    current_password: Option<Password>,
}

impl FromFields for IdentityBody {
    fn from_fields(fields: &mut FieldReader, settings: &Settings) -> Option<Self> {
        let is_email_given = fields.is_given("email");
        let email = fields.optional_email("email");
        let username = fields.optional_username("username", settings.usernames);
        let current_password = if is_email_given { fields.password("current_password") } else { None };
        Some(Self { email, username, current_password })
    }
}

/// Changes the caller's e-mail address, username, or both in one step. The previous ones can be registered by others
/// from then on. Tokens stay valid.
#[utoipa::path(
    patch, path = "/users/me",
    params(IfMatch, WriteAttempt),
    request_body = IdentityBody,
    responses(
        (status = 200, description = "The changed user", body = UserView,
            headers(("ETag" = String), ("Aegis-Position" = u64))),
        (status = 400, description = "`wrong_password`, `email_taken`, `username_taken`, or `username_confusable`: it looks like another"),
        CurrentUser,
        (status = 409, description = "`password_changed`: the confirmed password was replaced meanwhile"),
        IfMatch,
        (status = 422, description = "Invalid fields, or an e-mail address without the current password"),
        (status = 429, description = "`too_many_failures` or `rate_limited`, with `Retry-After`"),
    ),
)]
pub(crate) async fn change_me(
    user: CurrentUser,
    client: PasswordClient,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<IdentityBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    app.limits.change_identity(user.row.id)?;
    let IdentityBody { email, username, current_password } = body;
    let mut confirmed = None;
    if let Some(password) = current_password {
        confirm_password(app, &client, password, &user.row).await?;
        confirmed = user.row.password_hash.clone();
    }
    let command = UserCommand::ChangeIdentity { email, username, confirmed };
    let changed = execute(&attempt, &user.actor(), user.row.id, &command).await?;
    let view = UserView::from_state(&changed)?;
    Ok((entity_tag(changed.version), position_header(changed.position), Json(view)))
}

/// The current and the new password.
#[derive(ToSchema)]
#[schema(as = PasswordChange)]
pub(crate) struct PasswordChangeBody {
    /// The caller's current password.
    #[schema(value_type = String, format = Password, max_length = 1024)]
    current_password: Password,
    /// The minimum length is a setting of the service: 8 characters by default. It must not be easy to guess, also
    /// with e-mail address and username known: `ctx.reason` of the error says what makes it so.
    #[schema(
        value_type = String, format = Password, min_length = 8, max_length = 1024, pattern = r"^[^\u0000]*$",
        examples("correct horse battery"),
    )]
    new_password: Password,
}

impl FromFields for PasswordChangeBody {
    fn from_fields(fields: &mut FieldReader, settings: &Settings) -> Option<Self> {
        let current_password = fields.password("current_password");
        let new_password = fields.new_password("new_password", settings.passwords.min_length);
        Some(Self { current_password: current_password?, new_password: new_password? })
    }
}

/// Changes the caller's password. Every token of the caller becomes invalid, the one of this request included, and
/// every session ends but that of this request; with `Prefer: return=representation` the answer carries new tokens.
#[utoipa::path(
    post, path = "/users/me/password",
    params(IfMatch, Prefer, WriteAttempt),
    request_body = PasswordChangeBody,
    responses(
        (status = 200, description = "The password is changed; a new access token", body = TokenView,
            headers(("ETag" = String), ("Aegis-Position" = u64),
                ("Preference-Applied" = String, description = "`return=representation`"))),
        (status = 204, description = "The password is changed", headers(("ETag" = String), ("Aegis-Position" = u64))),
        (status = 400, description = "`wrong_password`"),
        CurrentUser,
        (status = 409, description = "`password_changed`: the confirmed password was replaced meanwhile"),
        IfMatch,
        (status = 422, description = "Missing or invalid fields, or a weak password"),
        (status = 429, description = "`too_many_failures` or `rate_limited`, with `Retry-After`"),
    ),
)]
pub(crate) async fn change_password(
    user: CurrentUser,
    client: PasswordClient,
    preference: Prefer,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<PasswordChangeBody>>,
) -> Result<Response, ApiError> {
    let (app, row) = (&attempt.state.app, &user.row);
    let PasswordChangeBody { current_password, new_password } = body;
    let users = &app.services()?.users;
    let change = async |context: CommandContext| {
        app.limits.change_identity(row.id)?;
        confirm_password(app, &client, current_password, row).await?;
        let new_password = NewPassword::new(new_password, &row.email, &row.username);
        let admission = client.admit(app)?;
        let password_hash = hash_new_password(app, "new_password", new_password, admission.source).await?;
        let confirmed = row.password_hash.clone();
        let command = UserCommand::ChangePassword { confirmed, password_hash };
        let context = CommandContext { kept_session: user.session, ..context };
        Ok(users.execute(&context, row.id, &command).await?)
    };
    let changed = attempt.execute(&user.actor(), change).await?;
    if changed.position.is_some() {
        row.password_hash.iter().for_each(|hash| app.hashing.costs_in_use().remove(hash));
    }
    let headers = (entity_tag(changed.version), position_header(changed.position));
    let token = match user.session {
        _ if !preference.representation => None,
        // It may have ended meanwhile, and must not go on as a token without one. The change is committed in any case.
        Some(session) => sessions::renew(app, row, session).await.unwrap_or_else(|error| {
            tracing::warn!(cause = error.cause(), "no new tokens after a change of the password");
            None
        }),
        None => Some(TokenView::issue(app, row.id, changed.version)?),
    };
    Ok(match token {
        Some(token) => (headers, REPRESENTATION_APPLIED, Json(token)).into_response(),
        None => (StatusCode::NO_CONTENT, headers.0, headers.1, ()).into_response(),
    })
}
