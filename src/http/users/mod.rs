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

use domain::{Command, UserId};

use super::extract::Sent;
use super::problem::Problem;
use super::repeat::once;
use super::state::HttpState;
use crate::command::{Cause, UserState};

/// Carries out a command to a user, once if it was sent under a key, and waits until its author can read it back.
async fn carry_out(
    state: &HttpState,
    sent: &Sent,
    cause: Cause,
    id: UserId,
    command: &Command,
    if_match: Option<u64>,
) -> Result<UserState, Problem> {
    let caller = cause.actor.clone();
    once(state, &caller, sent, async |idempotency| {
        let cause = Cause { idempotency, ..cause };
        Ok(state.app.node()?.users.execute(&cause, id, command, if_match).await?)
    })
    .await
}
