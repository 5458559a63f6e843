//! `/auth`: sign-up, and login with the password grant of OAuth 2.0 (RFC 6749 §4.3), as FastAPI's
//! `OAuth2PasswordRequestForm` parses it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use domain::{EmailAddress, UserCommand, Username};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::app::App;
use crate::command::CommandContext;
use crate::config::Settings;
use crate::crypto::{NewPassword, Password};
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::credentials::{self, hash_new_password};
use crate::http::extract::{FieldReader, Form, FormValue, FromFields, JsonBody, MinPosition};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::password_client::PasswordClient;
use crate::http::state::{HttpState, Routes};
use crate::http::time_limit::TimeLimit;
use crate::http::token_view::TokenView;
use crate::http::users::view::UserView;

pub(super) fn routes() -> Routes {
    vec![routes!(sign_up), routes!(log_in)]
}

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
        let registration = UserCommand::Register { email, username, password_hash: Some(password_hash) };
        Ok(services.users.register(&context.request_id, context.idempotency, registration).await?)
    };
    let user = attempt.execute(UNAUTHENTICATED_SCOPE, register).await?;
    let location = app.settings.http.path(&format!("/users/{}", user.id));
    let view = UserView::from_state(&user)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], position_header(user.position), Json(view)))
}

const GRANT_TYPE_PATTERN: &str = "^password$";

/// Credentials. `grant_type` is optional and must be empty or `password`; `scope`, `client_id` and
/// `client_secret` are accepted and ignored.
pub(crate) struct LoginForm {
    email: String,
    password: Password,
}

impl FromRequest<HttpState> for LoginForm {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, ApiError> {
        let form = Form::from_request(request, state).await?;
        Self::read(form)
    }
}

impl LoginForm {
    /// Reports errors in the same order as FastAPI.
    fn read(mut form: Form) -> Result<Self, ApiError> {
        let mut errors = Vec::new();
        let mut error = "invalid_request";
        match form.take("grant_type") {
            None => {}
            Some(FormValue::Text(text)) if text == "password" => {}
            Some(FormValue::Text(text)) => {
                error = "unsupported_grant_type";
                errors.push(ValidationError::pattern_mismatch(
                    Loc::Field("grant_type"),
                    GRANT_TYPE_PATTERN,
                    text.into(),
                ));
            }
            Some(FormValue::File) => {
                errors.push(ValidationError::not_a_string(Loc::Field("grant_type"), Value::Null));
            }
        }
        let email = text(&mut form, "username", &mut errors);
        let password = text(&mut form, "password", &mut errors).map(Password::new);
        match (email, password) {
            (Some(email), Some(password)) if errors.is_empty() => Ok(Self { email, password }),
            _ => Err(ApiError::InvalidForm { errors, error }),
        }
    }
}

fn text(form: &mut Form, name: &'static str, errors: &mut Vec<ValidationError>) -> Option<String> {
    let error = match form.take(name) {
        Some(FormValue::Text(text)) => return Some(text),
        Some(FormValue::File) => ValidationError::not_a_string(Loc::Field(name), Value::Null),
        None => ValidationError::missing(Loc::Field(name), Value::Null),
    };
    errors.push(error);
    None
}

/// Logs in: exchanges e-mail address and password for an access token.
#[utoipa::path(
    post, path = "/auth/login/access-token",
    request_body(content(
        (LoginForm = "application/x-www-form-urlencoded"),
        (LoginForm = "multipart/form-data"),
    )),
    params(MinPosition),
    responses(
        (status = 200, description = "An access token", body = TokenView),
        (status = 400, description = "`invalid_credentials` or `inactive_user`"),
        (status = 422, description = "The form is not valid"),
        (status = 429, description = "`too_many_failures` or `rate_limited`, with `Retry-After`"),
        (status = 503, description = "`busy`, `unavailable` or `projection_behind`"),
    ),
)]
pub(crate) async fn log_in(
    State(app): State<Arc<App>>,
    client: PasswordClient,
    headers: HeaderMap,
    form: LoginForm,
) -> Result<Json<TokenView>, ApiError> {
    let position = MinPosition::from_headers(&headers)?;
    let authenticated = async {
        let user = credentials::authenticate(&app, &client, &form.email, form.password).await?;
        // Only now, as the answer depends on the head of the log.
        if let Some(position) = position {
            app.services()?.user_rows.wait_for_position(position).await?;
        }
        Ok(user)
    };
    // From now, when the form has arrived.
    let user = TimeLimit::from_now().read("the user who logs in", authenticated).await?;
    Ok(Json(TokenView::issue(&app, user.id, user.version)?))
}
