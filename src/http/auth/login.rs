//! `POST /auth/login/access-token`: the password grant of OAuth 2.0 (RFC 6749 §4.3), as FastAPI's
//! `OAuth2PasswordRequestForm` parses it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::crypto::Password;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::credentials;
use crate::http::extract::{Form, FormValue, MinPosition};
use crate::http::state::HttpState;

const GRANT_TYPE_PATTERN: &str = "^password$";

/// Credentials. `grant_type` is optional and must be empty or `password`; `scope`, `client_id` and
/// `client_secret` are accepted and ignored.
#[derive(ToSchema)]
#[schema(as = Login)]
pub(crate) struct LoginForm {
    /// The e-mail address.
    #[schema(rename = "username", examples("ada@example.com"))]
    email: String,
    /// The password.
    #[schema(value_type = String, format = Password, examples("correct horse battery"))]
    password: Password,
}

/// An access token.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessToken)]
pub(crate) struct TokenView {
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// The validity in seconds.
    expires_in: i64,
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
        (status = 503, description = "`busy`, `unavailable` or `projection_behind`"),
    ),
)]
pub(crate) async fn log_in(
    State(app): State<Arc<App>>,
    _: MinPosition,
    form: LoginForm,
) -> Result<Json<TokenView>, ApiError> {
    let user = credentials::authenticate(&app, &form.email, form.password).await?;
    let issued = app.tokens.issue(user.id, user.version).map_err(|error| ApiError::internal(&error))?;
    Ok(Json(TokenView { access_token: issued.token, token_type: "bearer", expires_in: issued.expires_in }))
}
