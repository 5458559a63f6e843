//! The caller's password, once more, before something that cannot be taken back.

use domain::Command;
use utoipa::ToSchema;

use crate::config::Settings;
use crate::crypto::Password;
use crate::http::auth::credentials::belong_together;
use crate::http::extract::{CurrentUser, Fields, RequestId, Sent, Validated};
use crate::http::headers::Written;
use crate::http::problem::Problem;
use crate::http::state::HttpState;
use crate::http::users::carry_out;

/// The caller's password, once more.
#[derive(ToSchema)]
#[schema(as = PasswordConfirmation)]
pub(crate) struct PasswordBody {
    /// The password that the caller logs in with.
    #[schema(value_type = String, format = Password)]
    password: Password,
}

impl Validated for PasswordBody {
    fn read(fields: &mut Fields, _: &Settings) -> Option<Self> {
        Some(Self { password: fields.password("password")? })
    }
}

/// Carries out a command to the caller, if the password is theirs.
pub(super) async fn confirmed(
    state: &HttpState,
    user: &CurrentUser,
    request_id: &RequestId,
    sent: &Sent,
    body: PasswordBody,
    command: &Command,
) -> Result<Written, Problem> {
    if !belong_together(&state.app, body.password, &user.row).await? {
        return Err(Problem::WrongPassword);
    }
    let done = carry_out(state, sent, user.cause(request_id), user.row.id, command, None).await?;
    Ok(Written(done.position))
}
