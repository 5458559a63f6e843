//! `POST /auth/verify-email/request` and `POST /auth/verify-email`: users prove that they receive mail at their
//! address.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::UserCommand;
use utoipa::ToSchema;

use crate::command::MailRequest;
use crate::config::Settings;
use crate::crypto::MailPurpose;
use crate::http::api_error::ApiError;
use crate::http::conditional::{IfMatch, entity_tag};
use crate::http::extract::{CurrentUser, FieldReader, FromFields, JsonBody, NoBody};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::mail_tokens;
use crate::http::password_client::PasswordClient;

/// Requests a mail with a link by which the caller verifies the e-mail address. If it is verified already, nothing
/// happens.
#[utoipa::path(
    post, path = "/auth/verify-email/request",
    params(IfMatch, WriteAttempt),
    responses(
        (status = 202, description = "A mail will be sent, unless the address is verified already",
            headers(("ETag" = String), ("Aegis-Position" = u64))),
        CurrentUser,
        IfMatch,
        (status = 429, description = "`rate_limited`, with `Retry-After`: three mails in an hour, or too many requests"),
    ),
)]
pub(crate) async fn request_email_verification(
    user: CurrentUser,
    client: PasswordClient,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    client.admit_mail_request(&attempt.state.app)?;
    let users = &attempt.state.app.services()?.users;
    let request =
        async |context| Ok(users.request_mail(&context, user.row.id, MailRequest::EmailVerification).await?);
    let requested = attempt.execute(&user.actor(), request).await?;
    Ok((StatusCode::ACCEPTED, entity_tag(requested.version), position_header(requested.position), ()))
}

/// The token of the link.
#[derive(ToSchema)]
#[schema(as = EmailVerification)]
pub(crate) struct VerificationBody {
    /// The token in the link of the mail.
    #[schema(value_type = String, min_length = 1, max_length = 4096)]
    token: String,
}

impl FromFields for VerificationBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { token: fields.mail_token("token")? })
    }
}

/// Verifies an e-mail address by the token of a mail, which can be used once. No other authentication is needed.
#[utoipa::path(
    post, path = "/auth/verify-email",
    params(IfMatch, WriteAttempt),
    request_body = VerificationBody,
    responses(
        (status = 204, description = "The address is verified", headers(("ETag" = String), ("Aegis-Position" = u64))),
        (status = 400, description = "`invalid_token`: used, expired, void, or not a token of such a mail"),
        IfMatch,
        (status = 422, description = "The token is missing"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
    ),
)]
pub(crate) async fn verify_email(
    client: PasswordClient,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<VerificationBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    client.admit_mail_token(app)?;
    let token = mail_tokens::verify(app, &body.token, &[MailPurpose::VerifyEmail]).await?;
    let users = &app.services()?.users;
    let command = UserCommand::VerifyEmail { token_version: token.version };
    let verify = async |context| Ok(users.execute(&context, token.user, &command).await?);
    let verified = mail_tokens::outcome(attempt.execute(&token.user.stream(), verify).await)?;
    Ok((StatusCode::NO_CONTENT, entity_tag(verified.version), position_header(verified.position), ()))
}
