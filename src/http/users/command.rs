//! Executes the command of a request on a user.

use domain::{UserCommand, UserId};

use crate::command::{CommandContext, UserState};
use crate::http::api_error::ApiError;
use crate::http::idempotency::{WriteAttempt, execute_once};
use crate::http::state::HttpState;

/// Executes the command once per idempotency key, and waits until its author can read the result back.
pub(super) async fn execute(
    state: &HttpState,
    attempt: &WriteAttempt,
    context: CommandContext,
    id: UserId,
    command: &UserCommand,
    if_match: Option<u64>,
) -> Result<UserState, ApiError> {
    let services = state.app.services()?;
    let caller = context.actor.clone();
    execute_once(services, &caller, attempt, async |idempotency| {
        let context = CommandContext { idempotency, ..context };
        Ok(services.users.execute(&context, id, command, if_match).await?)
    })
    .await
}
