//! `aegis users grant`, `revoke`, `deactivate`, `reactivate` and `erase`: a command to one user, caused by the operator.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use domain::{ErasureReason, Reason, Rejection, Role, UserCommand, UserId};

use super::{find, user_not_found};
use crate::cli::error::{CliError, warn};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::printable;
use crate::command::{CommandContext, CommandError};

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

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ErasureArguments {
    /// The user's e-mail address or id
    #[arg(value_name = "EMAIL|ID")]
    user: String,
    /// Why: `request` if they asked for it, `policy` if a rule asks for it; stays readable for ever
    #[arg(long, value_parser = PossibleValuesParser::new(ErasureReason::ALL.map(ErasureReason::as_str)).try_map(|name| name.parse::<ErasureReason>()))]
    reason: ErasureReason,
    /// Say that you mean it: nothing brings back what is erased
    #[arg(long, required = true)]
    yes: bool,
}

/// What to do to whom, and how to say that it was done.
pub(super) struct UserAction {
    user: String,
    command: UserCommand,
    success: String,
    no_op: String,
}

impl RoleArguments {
    pub(super) fn grant(self) -> UserAction {
        let Self { user, role } = self;
        UserAction {
            user,
            command: UserCommand::GrantRole { role },
            success: format!("now holds the role {role}"),
            no_op: format!("holds the role {role} already"),
        }
    }

    pub(super) fn revoke(self) -> UserAction {
        let Self { user, role } = self;
        UserAction {
            user,
            command: UserCommand::RevokeRole { role },
            success: format!("no longer holds the role {role}"),
            no_op: format!("does not hold the role {role}"),
        }
    }
}

impl AccountArguments {
    pub(super) fn deactivate(self) -> UserAction {
        let Self { user, reason } = self;
        UserAction {
            user,
            command: UserCommand::Deactivate { reason },
            success: "is deactivated".to_owned(),
            no_op: "is deactivated already".to_owned(),
        }
    }

    pub(super) fn reactivate(self) -> UserAction {
        let Self { user, reason } = self;
        UserAction {
            user,
            command: UserCommand::Reactivate { reason },
            success: "is active again".to_owned(),
            no_op: "is active already".to_owned(),
        }
    }
}

impl ErasureArguments {
    pub(super) fn erase(self) -> UserAction {
        let Self { user, reason, yes: _ } = self;
        UserAction {
            user,
            command: UserCommand::Erase { reason },
            success: "is erased".to_owned(),
            no_op: "is erased already".to_owned(),
        }
    }
}

pub(super) async fn run(
    change: UserAction,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<(), CliError> {
    if let Some(late) = execute(change, session, context, out).await? {
        warn(&late);
    }
    Ok(())
}

/// What the operator is told beside the fact that it was done, if anything.
async fn execute(
    change: UserAction,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<Option<String>, CliError> {
    let UserAction { user, command, success, no_op } = change;
    // By id it works without the rows: whatever holds those up, an account can be closed.
    let id = match UserId::parse(&user) {
        Ok(id) => id,
        Err(_) => find(session, &user).await?.id,
    };
    let state =
        session.services.users.execute(context, id, &command, None).await.map_err(|error| match error {
            CommandError::Rejected(Rejection::Unknown) => user_not_found(&user),
            error => error.into(),
        })?;
    let name = state.account.email.known().map_or_else(|| id.to_string(), |email| printable(email.as_str()));
    let Some(position) = state.position else {
        out.line(&format!("{name} {no_op}: nothing was done"))?;
        return Ok(None);
    };
    // It is done, whatever comes after; that nobody reads it does not keep the rows from being brought up to date.
    let told = out.line(&format!("{name} {success} (position {position})")).and_then(|()| out.flush());
    let late = session.catch_up().await.err();
    told?;
    Ok(late.map(|late| {
        let why = match late {
            CliError::Failed(why) | CliError::VerificationFailed(why) => why,
            CliError::OutputClosed => "the output was closed".to_owned(),
        };
        format!("it is done, but the read models do not show it yet: {why}")
    }))
}

#[cfg(test)]
mod tests {
    use domain::{EmailAddress, PasswordHash, Username};
    use serde_json::Map;
    use store::memory::Memory;
    use store::{Append, Env, ExpectedVersion, MasterKey, NewEvent, StreamId, StreamWrite};

    use super::*;
    use crate::app::{Database, ProjectionMode, Services};
    use crate::cli::tests::CapturedOutput;
    use crate::config::MasterKeySetting;
    use crate::config::WebhookSettings;
    use crate::webhooks::WebhookSender;

    /// A database with one user, whom the rows show, and after them an event that the projection halts at.
    async fn halted() -> (Session, UserId) {
        let env = Env::system();
        let master = MasterKeySetting::from(MasterKey::generate(&env));
        let database = Database::from_backend(Memory::default());
        let services = Services::open(&database, &master, &env, ProjectionMode::Disabled).await.unwrap();
        let registration = UserCommand::Register {
            email: EmailAddress::parse("ada@example.com").unwrap(),
            username: Username::parse("ada").unwrap(),
            password_hash: PasswordHash::new("$argon2id$".to_owned()).unwrap(),
        };
        let id = services.users.register("r", None, registration).await.unwrap().id;
        let session = Session { services, env, sender: WebhookSender::new(&WebhookSettings::default()) };
        session.catch_up().await.unwrap();
        let unheard_of = NewEvent {
            id: session.env.uuid(),
            event_type: "UserKnighted".to_owned(),
            schema: 1,
            data: Map::new(),
            personal: Map::new(),
        };
        let stream = StreamId::new(UserId::from_uuid(session.env.uuid()).stream()).unwrap();
        let writes = vec![StreamWrite::new(stream, ExpectedVersion::NoStream, vec![unheard_of])];
        let append = Append::new("system", "r", writes);
        session.services.store.append(&append).await.unwrap();
        (session, id)
    }

    fn deactivation(user: impl Into<String>) -> UserAction {
        AccountArguments { user: user.into(), reason: None }.deactivate()
    }

    fn command_context() -> CommandContext {
        CommandContext::new("operator:test", "r")
    }

    #[tokio::test]
    async fn command_succeeds_while_projection_is_halted() {
        let (session, id) = Box::pin(halted()).await;
        let printed = CapturedOutput::default();
        let told =
            execute(deactivation(id.to_string()), &session, &command_context(), &mut printed.output()).await;
        assert_eq!(printed.text(), "ada@example.com is deactivated (position 3)\n");
        let warning = told.unwrap().unwrap();
        assert!(warning.contains("it is done, but") && warning.contains("position 2"), "{warning}");
        assert!(!session.services.users.state(id).await.unwrap().unwrap().account.is_active);
    }

    #[tokio::test]
    async fn unknown_id_is_reported() {
        let (session, _) = Box::pin(halted()).await;
        let nobody = UserId::from_uuid(session.env.uuid()).to_string();
        let printed = CapturedOutput::default();
        let told = execute(deactivation(&nobody), &session, &command_context(), &mut printed.output()).await;
        assert_eq!(told, Err(CliError::Failed(format!("no user with e-mail address or id `{nobody}`"))));
        assert_eq!(printed.text(), "");
    }
}
