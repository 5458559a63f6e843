//! `/users`: accounts, seen by their owners (`me`) and by administrators.

mod account_change;
pub(crate) mod deactivate;
pub(crate) mod erase;
pub(crate) mod history;
pub(crate) mod me;
pub(crate) mod reactivate;
mod reason;
pub(crate) mod roles;
pub(crate) mod show;
mod view;

pub(crate) use reason::ReasonBody;
pub(crate) use view::{UserDetail, UserView};

use domain::{UserCommand, UserId};

use super::api_error::ApiError;
use super::extract::WriteAttempt;
use super::idempotency::execute_once;
use super::state::HttpState;
use crate::command::{CommandContext, UserState};

/// Carries out a command to a user, once if it was sent under a key, and waits until its author can read it back.
async fn execute(
    state: &HttpState,
    attempt: &WriteAttempt,
    context: CommandContext,
    id: UserId,
    command: &UserCommand,
    if_match: Option<u64>,
) -> Result<UserState, ApiError> {
    let caller = context.actor.clone();
    execute_once(state, &caller, attempt, async |idempotency| {
        let context = CommandContext { idempotency, ..context };
        Ok(state.app.services()?.users.execute(&context, id, command, if_match).await?)
    })
    .await
}
