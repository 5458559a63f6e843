//! `POST /auth/password/forgot`: requests a mail with a link for another password. The answer does not tell whether
//! there is a user, by its content or its time.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use domain::{EmailAddress, SYSTEM_ACTOR};
use utoipa::ToSchema;

use crate::app::App;
use crate::command::{CommandContext, CommandError, MailRequest};
use crate::config::Settings;
use crate::http::answer_tick::AnswerTicks;
use crate::http::api_error::ApiError;
use crate::http::extract::{FieldReader, FromFields, JsonBody};
use crate::http::password_client::PasswordClient;
use crate::http::time_limit::TimeLimit;

/// Whose password was forgotten.
#[derive(ToSchema)]
#[schema(as = ForgottenPassword)]
pub(crate) struct ForgotBody {
    /// The e-mail address of the account.
    #[schema(value_type = String, format = IdnEmail, max_length = 254, examples("ada@example.com"))]
    email: EmailAddress,
}

impl FromFields for ForgotBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { email: fields.email("email")? })
    }
}

/// Requests a mail with a link by which the user of that address sets another password. The answer is the same
/// whether there is such a user or not. There is no `Idempotency-Key`, whose record would tell; a repetition sends
/// another mail, at most three in an hour.
#[utoipa::path(
    post, path = "/auth/password/forgot",
    request_body = ForgotBody,
    responses(
        (status = 202, description = "If there is an active user with this address, a mail will be sent"),
        (status = 422, description = "Not an e-mail address"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
        (status = 503, description = "`busy`, `unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn forgot_password(
    State(app): State<Arc<App>>,
    client: PasswordClient,
    JsonBody(body): JsonBody<ForgotBody>,
) -> Result<StatusCode, ApiError> {
    client.admit_mail_request(&app)?;
    // From now, when the body has arrived.
    let limit = TimeLimit::from_now();
    let requested = AnswerTicks::from_now().after(limit.write(request(&app, &client, &body.email))).await;
    requested.map(|()| StatusCode::ACCEPTED)
}

/// Finds the user by the claim on the address, which takes the same time if there is none; read models may lag.
async fn request(app: &App, client: &PasswordClient, email: &EmailAddress) -> Result<(), ApiError> {
    let services = app.services()?;
    let Some(user) = services.user_rows.claimant_of_email(email).await? else { return Ok(()) };
    // Not the user: anyone who knows the address may have sent the request.
    let context = CommandContext::new(SYSTEM_ACTOR, client.request_id.as_str());
    match services.users.request_mail(&context, user, MailRequest::PasswordReset).await {
        Ok(_) | Err(CommandError::TooManyMailRequests { .. } | CommandError::Rejected(_)) => Ok(()),
        Err(error) if error.is_erased() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
