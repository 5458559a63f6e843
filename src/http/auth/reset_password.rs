//! `POST /auth/password/reset`: sets a password by the token of a mail.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{EmailAddress, Erasable, UserCommand, Username};
use utoipa::ToSchema;

use crate::app::App;
use crate::command::{CommandContext, UserState};
use crate::config::Settings;
use crate::crypto::{MailPurpose, MailToken, NewPassword, Password};
use crate::http::api_error::ApiError;
use crate::http::conditional::{IfMatch, entity_tag};
use crate::http::credentials::hash_new_password;
use crate::http::extract::{FieldReader, FromFields, JsonBody};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::mail_tokens;
use crate::http::password_client::PasswordClient;

/// The token of the link, and the password to be set.
#[derive(ToSchema)]
#[schema(as = PasswordReset)]
pub(crate) struct ResetBody {
    /// The token in the link of the mail, or of an invitation.
    #[schema(value_type = String, min_length = 1, max_length = 4096)]
    token: String,
    /// As for sign-up: the minimum length is a setting of the service, and it must not be easy to guess.
    #[schema(
        value_type = String, format = Password, min_length = 8, max_length = 1024, pattern = r"^[^\u0000]*$",
        examples("correct horse battery"),
    )]
    new_password: Password,
}

impl FromFields for ResetBody {
    fn from_fields(fields: &mut FieldReader, settings: &Settings) -> Option<Self> {
        let token = fields.mail_token("token");
        let new_password = fields.new_password("new_password", settings.passwords.min_length);
        Some(Self { token: token?, new_password: new_password? })
    }
}

/// Sets a password by the token of a mail, which can be used once: for a forgotten one, or the first one of an invited
/// user. Every token and every session of the user ends, and the e-mail address is verified, as the mail was received
/// there. No other authentication is needed. After 422 the token is still valid.
#[utoipa::path(
    post, path = "/auth/password/reset",
    params(IfMatch, WriteAttempt),
    request_body = ResetBody,
    responses(
        (status = 204, description = "The password is set", headers(("ETag" = String), ("Aegis-Position" = u64))),
        (status = 400, description = "`invalid_token`: used, expired, void, or not a token of such a mail"),
        IfMatch,
        (status = 422, description = "Missing or invalid fields, or a weak password"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
        (status = 503, description = "`busy`, `unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn reset_password(
    client: PasswordClient,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<ResetBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    client.admit_mail_token(app)?;
    let ResetBody { token, new_password } = body;
    let purposes = [MailPurpose::ResetPassword, MailPurpose::Invitation];
    let token = mail_tokens::verify(app, &token, &purposes).await?;
    let write = async |context| reset(app, &client, &context, token, new_password).await;
    let changed = mail_tokens::outcome(attempt.execute(&token.user.stream(), write).await)?;
    Ok((StatusCode::NO_CONTENT, entity_tag(changed.version), position_header(changed.position), ()))
}

/// Checks the token against the log before a hash is computed for it, and again when the event is decided.
async fn reset(
    app: &App,
    client: &PasswordClient,
    context: &CommandContext,
    token: MailToken,
    new_password: Password,
) -> Result<UserState, ApiError> {
    let users = &app.services()?.users;
    let user = users.state(token.user).await?.ok_or(ApiError::InvalidMailToken)?;
    if !user.account.accepts_reset_token(token.version) {
        return Err(ApiError::InvalidMailToken);
    }
    let new_password = NewPassword::new(new_password, known_email(&user)?, known_username(&user)?);
    let admission = client.admit(app)?;
    let password_hash = hash_new_password(app, "new_password", new_password, admission.source).await?;
    drop(admission);
    let command = UserCommand::ResetPassword { token_version: token.version, password_hash };
    let changed = users.execute(context, token.user, &command).await?;
    if changed.position.is_some()
        && let Some(previous) = user.account.password_hash.as_ref().and_then(Erasable::known)
    {
        app.hashing.costs_in_use().remove(previous);
    }
    Ok(changed)
}

fn known_email(user: &UserState) -> Result<&EmailAddress, ApiError> {
    user.account.email.known().ok_or(ApiError::InvalidMailToken)
}

fn known_username(user: &UserState) -> Result<&Username, ApiError> {
    user.account.username.known().ok_or(ApiError::InvalidMailToken)
}
