//! `/users`: accounts, seen by their owners (`me`) and by administrators.

mod account_change;
pub(crate) mod deactivate;
pub(crate) mod me;
pub(crate) mod reactivate;
mod reason;
pub(crate) mod roles;
pub(crate) mod show;
mod view;

pub(crate) use reason::ReasonBody;
pub(crate) use view::{UserDetail, UserView};

use domain::{Command, UserId};

use super::problem::Problem;
use crate::app::App;
use crate::command::{Cause, UserState};

/// Carries out a command and waits until its author can read it back.
async fn carry_out(
    app: &App,
    cause: &Cause,
    id: UserId,
    command: &Command,
    if_match: Option<u64>,
) -> Result<UserState, Problem> {
    let node = app.node()?;
    let user = node.users.execute(cause, id, command, if_match).await?;
    if let Some(position) = user.position {
        node.user_rows.settle(position).await;
    }
    Ok(user)
}
