//! `POST /auth/signup`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::{EmailAddress, Username};
use utoipa::ToSchema;

use crate::app::App;
use crate::command::SignUp;
use crate::config::Settings;
use crate::crypto::Password;
use crate::http::extract::{Fields, RequestId, Valid, Validated};
use crate::http::headers::Written;
use crate::http::openapi::{ErrorBody, ValidationErrorBody};
use crate::http::problem::Problem;
use crate::http::users::UserView;

/// A new user. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(as = SignUp)]
pub(crate) struct SignUpBody {
    /// Trimmed; the domain is shown in lower case.
    #[schema(value_type = String, format = Email, max_length = 254, examples("ada@example.com"))]
    email: EmailAddress,
    /// Trimmed and normalised (NFKC); at least one visible character.
    #[schema(value_type = String, min_length = 1, max_length = 64, examples("ada"))]
    username: Username,
    /// At least as many characters as the service is set to ask for: 8 by default.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024, examples("correct horse battery"))]
    password: Password,
}

impl Validated for SignUpBody {
    fn read(fields: &mut Fields, settings: &Settings) -> Option<Self> {
        let email = fields.email("email");
        let username = fields.username("username");
        let password = fields.new_password("password", settings.passwords.min_length);
        Some(Self { email: email?, username: username?, password: password? })
    }
}

/// Opens an account.
#[utoipa::path(
    post,
    path = "/auth/signup",
    tag = "auth",
    operation_id = "sign_up",
    request_body = SignUpBody,
    responses(
        (status = 201, description = "The account is open", body = UserView,
            headers(("Location" = String, description = "Where the user is"), ("Aegis-Position" = u64))),
        (status = 400, description = "`email_taken` or `username_taken`", body = ErrorBody),
        (status = 422, description = "Missing or bad fields", body = ValidationErrorBody),
        (status = 503, description = "`busy`, `unavailable` or `outcome_unknown`", body = ErrorBody),
    ),
)]
pub(crate) async fn sign_up(
    State(app): State<Arc<App>>,
    request_id: RequestId,
    Valid(SignUpBody { email, username, password }): Valid<SignUpBody>,
) -> Result<impl IntoResponse, Problem> {
    let node = app.node()?;
    let password_hash = app.hashing.hash(password).await?;
    let user = node.users.sign_up(request_id.as_str(), SignUp { email, username, password_hash }).await?;
    if let Some(position) = user.position {
        node.user_rows.settle(position).await;
    }
    let location = format!("{}/users/{}", app.settings.http.api_prefix.trim_end_matches('/'), user.id);
    let view = UserView::of_state(&user)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Written(user.position), Json(view)))
}
