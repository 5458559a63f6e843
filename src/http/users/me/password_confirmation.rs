//! The caller's password, once more, before something that cannot be taken back.

use domain::UserCommand;
use utoipa::ToSchema;

use crate::config::Settings;
use crate::crypto::Password;
use crate::http::api_error::ApiError;
use crate::http::auth::credentials::verify_password;
use crate::http::extract::{CurrentUser, FieldReader, FromFields, RequestId, WriteAttempt};
use crate::http::headers::PositionHeader;
use crate::http::state::HttpState;
use crate::http::users::execute;

/// The caller's password, once more.
#[derive(ToSchema)]
#[schema(as = PasswordConfirmation)]
pub(crate) struct PasswordBody {
    /// The password that the caller logs in with.
    #[schema(value_type = String, format = Password)]
    password: Password,
}

impl FromFields for PasswordBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { password: fields.password("password")? })
    }
}

/// Carries out a command to the caller, if the password is theirs.
pub(super) async fn execute_confirmed(
    state: &HttpState,
    user: &CurrentUser,
    request_id: &RequestId,
    attempt: &WriteAttempt,
    body: PasswordBody,
    command: &UserCommand,
) -> Result<PositionHeader, ApiError> {
    if !verify_password(&state.app, body.password, &user.row).await? {
        return Err(ApiError::WrongPassword);
    }
    let done = execute(state, attempt, user.command_context(request_id), user.row.id, command, None).await?;
    Ok(PositionHeader(done.position))
}
