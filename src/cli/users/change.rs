//! `aegis users grant`, `revoke`, `deactivate` and `reactivate`: a command to one user, caused by the operator.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use domain::{Command, Reason, Role};

use super::find;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::printable;
use crate::command::Cause;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RoleArguments {
    /// The user's e-mail address or id
    #[arg(value_name = "EMAIL|ID")]
    user: String,
    /// The role
    #[arg(value_parser = PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|name| name.parse::<Role>()))]
    role: Role,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AccountArguments {
    /// The user's e-mail address or id
    #[arg(value_name = "EMAIL|ID")]
    user: String,
    /// Why; kept with the event and shown to those who may see personal data
    #[arg(long, value_parser = Reason::parse)]
    reason: Option<Reason>,
}

/// What to do to whom, and how to say that it was done.
pub(super) struct Change {
    user: String,
    command: Command,
    done: String,
    already: String,
}

impl RoleArguments {
    pub(super) fn grant(self) -> Change {
        let Self { user, role } = self;
        Change {
            user,
            command: Command::GrantRole { role },
            done: format!("now holds the role {role}"),
            already: format!("holds the role {role} already"),
        }
    }

    pub(super) fn revoke(self) -> Change {
        let Self { user, role } = self;
        Change {
            user,
            command: Command::RevokeRole { role },
            done: format!("no longer holds the role {role}"),
            already: format!("does not hold the role {role}"),
        }
    }
}

impl AccountArguments {
    pub(super) fn deactivate(self) -> Change {
        let Self { user, reason } = self;
        Change {
            user,
            command: Command::Deactivate { reason },
            done: "is deactivated".to_owned(),
            already: "is deactivated already".to_owned(),
        }
    }

    pub(super) fn reactivate(self) -> Change {
        let Self { user, reason } = self;
        Change {
            user,
            command: Command::Reactivate { reason },
            done: "is active again".to_owned(),
            already: "is active already".to_owned(),
        }
    }
}

pub(super) async fn run(
    change: Change,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<(), Failure> {
    let Change { user, command, done, already } = change;
    let row = find(session, &user).await?;
    let state = session.node.users.execute(cause, row.id, &command, None).await?;
    let name = printable(row.email.as_str());
    match state.position {
        Some(position) => {
            session.catch_up().await?;
            out.line(&format!("{name} {done} (position {position})"))
        }
        None => out.line(&format!("{name} {already}: nothing was done")),
    }
}
