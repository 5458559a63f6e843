//! `POST /auth/login/access-token`: the password grant of OAuth 2.0 (RFC 6749 §4.3), as FastAPI's
//! `OAuth2PasswordRequestForm` parses it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderMap;
use serde_json::Value;
use store::Position;

use crate::app::App;
use crate::crypto::Password;
use crate::http::api_error::{ApiError, Loc, ValidationError};
use crate::http::credentials;
use crate::http::extract::{Form, FormValue, MinPosition};
use crate::http::password_client::PasswordClient;
use crate::http::sessions;
use crate::http::state::HttpState;
use crate::http::time_limit::TimeLimit;
use crate::http::token_view::{OFFLINE_ACCESS, TokenView};

const GRANT_TYPE_PATTERN: &str = "^password$";

/// Credentials. `grant_type` is optional and must be empty or `password`; `client_id` and `client_secret` are
/// accepted and ignored, and so is every `scope` but `offline_access`.
pub(crate) struct LoginForm {
    pub(super) email: String,
    pub(super) password: Password,
    pub(super) opens_session: bool,
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
            (Some(email), Some(password)) if errors.is_empty() => {
                Ok(Self { email, password, opens_session: grants_session(&mut form) })
            }
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

/// Whether the form asks for the scope that opens a session.
pub(super) fn grants_session(form: &mut Form) -> bool {
    match form.take("scope") {
        Some(FormValue::Text(scope)) => scope.split_ascii_whitespace().any(|one| one == OFFLINE_ACCESS),
        Some(FormValue::File) | None => false,
    }
}

/// Logs in: exchanges e-mail address and password for an access token. With the scope `offline_access` a session is
/// opened, whose tokens `POST /auth/token` renews.
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
    let min_position = MinPosition::from_headers(&headers)?;
    form.log_in(&app, &client, min_position).await.map(Json)
}

impl LoginForm {
    /// The same login, which opens a session in any case.
    pub(in crate::http) fn with_session(self) -> Self {
        Self { opens_session: true, ..self }
    }

    /// Issues tokens. The rows of the user must include `min_position` (read-your-writes).
    pub(in crate::http) async fn log_in(
        self,
        app: &Arc<App>,
        client: &PasswordClient,
        min_position: Option<Position>,
    ) -> Result<TokenView, ApiError> {
        let issued = async {
            let Self { email, password, opens_session } = self;
            let user = credentials::authenticate(app, client, &email, password, opens_session).await?;
            // Only now, as the answer depends on the head of the log.
            if let Some(position) = min_position {
                app.services()?.user_rows.wait_for_position(position).await?;
            }
            if opens_session {
                sessions::open(app, &client.login_client, &user).await
            } else {
                TokenView::issue(app, user.id, user.version)
            }
        };
        // From now, when the form has arrived.
        TimeLimit::from_now().read("the user who logs in", issued).await
    }
}
