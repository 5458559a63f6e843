//! `POST /auth/signup`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::{EmailAddress, UserCommand, Username};
use utoipa::ToSchema;

use crate::command::CommandContext;
use crate::config::Settings;
use crate::crypto::{NewPassword, Password};
use crate::http::api_error::ApiError;
use crate::http::credentials::hash_new_password;
use crate::http::extract::{FieldReader, FromFields, JsonBody};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::password_client::PasswordClient;
use crate::http::users::view::UserView;

/// Idempotency-key scope for unauthenticated requests. It is safe to share: the key store also compares a
/// fingerprint of the whole request, so a caller who guesses a key but not the body learns nothing.
const UNAUTHENTICATED_SCOPE: &str = "";

/// A new user. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(as = SignUp)]
pub(crate) struct SignUpBody {
    /// Trimmed; the domain is shown in lower case.
    #[schema(value_type = String, format = IdnEmail, max_length = 254, examples("ada@example.com"))]
    email: EmailAddress,
    /// Trimmed and normalised (NFKC), with single spaces; at least one visible character. Characters of one script,
    /// unless the service is set up to allow more (UTS 39).
    #[schema(
        value_type = String, min_length = 1, max_length = 64,
        pattern = r"^[^\u0000-\u001F\u007F-\u009F\u2028\u2029\u202A-\u202E\u2066-\u2069]*$",
        examples("ada"),
    )]
    username: Username,
    /// The minimum length is a setting of the service: 8 characters by default. It must not be easy to guess, also
    /// with e-mail address and username known: `ctx.reason` of the error says what makes it so.
    #[schema(
        value_type = String, format = Password, min_length = 8, max_length = 1024, pattern = r"^[^\u0000]*$",
        examples("correct horse battery"),
    )]
    password: Password,
}

impl FromFields for SignUpBody {
    fn from_fields(fields: &mut FieldReader, settings: &Settings) -> Option<Self> {
        let email = fields.email("email");
        let username = fields.username("username", settings.usernames);
        let password = fields.new_password("password", settings.passwords.min_length);
        Some(Self { email: email?, username: username?, password: password? })
    }
}

/// Registers a user.
#[utoipa::path(
    post, path = "/auth/signup",
    params(WriteAttempt),
    request_body = SignUpBody,
    responses(
        (status = 201, description = "The user is registered", body = UserView,
            headers(("Location" = String, description = "The path of the user"), ("Aegis-Position" = u64))),
        (status = 400, description = "`email_taken`, `username_taken`, or `username_confusable`: it looks like another"),
        (status = 409, description = "`still_running`: an earlier attempt with this `Idempotency-Key`"),
        (status = 410, description = "`erased`: the user that an earlier attempt registered"),
        (status = 422, description = "Missing or invalid fields, or `idempotency_key_reused`"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
        (status = 503, description = "`busy`, `unavailable` or `outcome_unknown`"),
    ),
)]
pub(crate) async fn sign_up(
    client: PasswordClient,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<SignUpBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    let services = app.services()?;
    let register = async |context: CommandContext| {
        let SignUpBody { email, username, password } = body;
        let admission = client.admit_sign_up(app)?;
        let password = NewPassword::new(password, &email, &username);
        let password_hash = hash_new_password(app, "password", password, admission.source).await?;
        drop(admission);
        app.hashing.join_group().await;
        let registration = UserCommand::Register { email, username, password_hash: Some(password_hash) };
        Ok(services.users.register(&context.request_id, context.idempotency, registration).await?)
    };
    let user = attempt.execute(UNAUTHENTICATED_SCOPE, register).await?;
    let location = app.settings.http.path(&format!("/users/{}", user.id));
    let view = UserView::from_state(&user)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], position_header(user.position), Json(view)))
}
