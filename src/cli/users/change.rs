//! `aegis users grant`, `revoke`, `deactivate`, `reactivate`, `unlock` and `erase`: a command to one user,
//! with the operator as actor.

use domain::{ErasureReason, Reason, Rejection, Role, UserCommand};

use crate::cli::arguments::one_of;
use crate::cli::error::{CliError, CliResult, warn};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::printable;
use crate::command::CommandError;

#[derive(Debug, clap::Args)]
pub(crate) struct RoleArguments {
    /// The user's username, e-mail address or id
    #[arg(value_name = "USERNAME|EMAIL|ID")]
    user: String,
    /// The role to grant or revoke
    #[arg(value_parser = one_of::<Role>(Role::ALL.map(Role::as_str)))]
    role: Role,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AccountArguments {
    /// The user's username, e-mail address or id
    #[arg(value_name = "USERNAME|EMAIL|ID")]
    user: String,
    /// The reason; stored with the event and visible to everyone who may see personal data
    #[arg(long, value_parser = Reason::parse)]
    reason: Option<Reason>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UnlockArguments {
    /// The user's username, e-mail address or id
    #[arg(value_name = "USERNAME|EMAIL|ID")]
    user: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ErasureArguments {
    /// The user's username, e-mail address or id
    #[arg(value_name = "USERNAME|EMAIL|ID")]
    user: String,
    /// The reason: `request` of the user, or `policy`; stays readable after the erasure
    #[arg(long, value_parser = one_of::<ErasureReason>(ErasureReason::ALL.map(ErasureReason::as_str)))]
    reason: ErasureReason,
    /// Confirm: erased data cannot be restored
    #[arg(long, required = true)]
    yes: bool,
}

/// A command to a user and the messages for its result.
pub(super) struct RequestedChange {
    user: String,
    command: UserCommand,
    success: String,
    no_op: String,
}

impl RequestedChange {
    pub(super) fn new(
        user: String,
        command: UserCommand,
        success: impl Into<String>,
        no_op: impl Into<String>,
    ) -> Self {
        Self { user, command, success: success.into(), no_op: no_op.into() }
    }
}

impl RoleArguments {
    pub(super) fn grant(self) -> RequestedChange {
        let Self { user, role } = self;
        let (success, no_op) =
            (format!("now holds the role {role}"), format!("already holds the role {role}"));
        RequestedChange::new(user, UserCommand::GrantRole { role }, success, no_op)
    }

    pub(super) fn revoke(self) -> RequestedChange {
        let Self { user, role } = self;
        let (success, no_op) =
            (format!("no longer holds the role {role}"), format!("does not hold the role {role}"));
        RequestedChange::new(user, UserCommand::RevokeRole { role }, success, no_op)
    }
}

impl AccountArguments {
    pub(super) fn deactivate(self) -> RequestedChange {
        let command = UserCommand::Deactivate { reason: self.reason };
        RequestedChange::new(self.user, command, "is deactivated", "is already deactivated")
    }

    pub(super) fn reactivate(self) -> RequestedChange {
        let command = UserCommand::Reactivate { reason: self.reason };
        RequestedChange::new(self.user, command, "is active again", "is already active")
    }
}

impl UnlockArguments {
    pub(super) fn unlock(self) -> RequestedChange {
        RequestedChange::new(self.user, UserCommand::Unlock, "is unlocked", "is not locked")
    }
}

impl ErasureArguments {
    pub(super) fn erase(self) -> RequestedChange {
        let Self { user, reason, yes: _ } = self;
        RequestedChange::new(user, UserCommand::Erase { reason }, "is erased", "is already erased")
    }
}

pub(super) async fn run(change: RequestedChange, session: &Session, out: &mut Output) -> CliResult {
    if let Some(error) = execute(change, session, out).await? {
        warn_of_lag(&error);
    }
    Ok(())
}

/// Brings the read models up to date after a command, which has succeeded even if that fails.
pub(super) async fn report_lag(session: &Session) {
    if let Err(error) = session.catch_up().await {
        warn_of_lag(&error);
    }
}

fn warn_of_lag(error: &CliError) {
    warn(&format!("the command succeeded, but the read models do not show it yet: {error}"));
}

/// Executes the command. Returns the error of the projections if they could not catch up with it.
async fn execute(
    change: RequestedChange,
    session: &Session,
    out: &mut Output,
) -> Result<Option<CliError>, CliError> {
    let RequestedChange { user, command, success, no_op } = change;
    let id = session.user_id(&user).await?;
    let executed = session.services.users.execute(&session.context, id, &command).await;
    let state = executed.map_err(|error| match error {
        CommandError::Rejected(Rejection::Unknown) => CliError::UserNotFound(user),
        error => error.into(),
    })?;
    let name = state.account.email.known().map_or_else(|| id.to_string(), |email| printable(email.as_str()));
    let Some(position) = state.position else {
        out.line(&format!("{name} {no_op}: nothing was done"))?;
        return Ok(None);
    };
    // The command has been executed: the projections are updated even if stdout is closed.
    let printed = out.line(&format!("{name} {success} (position {position})")).and_then(|()| out.flush());
    let error = session.catch_up().await.err();
    printed?;
    Ok(error)
}

#[cfg(test)]
mod tests {
    use domain::{EmailAddress, PasswordHash, UserId, Username};
    use serde_json::Map;
    use store::memory::Memory;
    use store::{Append, Env, ExpectedVersion, MasterKey, NewEvent, StreamId, StreamWrite};

    use super::*;
    use crate::app::{Database, ProjectionMode, Services};
    use crate::cli::tests::CapturedOutput;
    use crate::command::CommandContext;
    use crate::config::{MasterKeySetting, WebhookSettings};
    use crate::webhooks::WebhookSender;

    /// A database with one user, whose row is current, and after it an event at which the projection halts.
    async fn halted() -> (Session, UserId) {
        let env = Env::system();
        let master = MasterKeySetting::from(MasterKey::generate(&env));
        let database = Database::from_backend(Memory::default());
        let services = Services::open(&database, &master, &env, ProjectionMode::Disabled).await.unwrap();
        let registration = UserCommand::Register {
            email: EmailAddress::parse("ada@example.com").unwrap(),
            username: Username::parse("ada").unwrap(),
            password_hash: Some(PasswordHash::new("$argon2id$".to_owned()).unwrap()),
        };
        let id = services.users.register("r", None, registration).await.unwrap().id;
        let context = CommandContext::new("operator:test", "r");
        let sender = WebhookSender::new(&WebhookSettings::default());
        let (passwords, usernames) = (crate::crypto::test_settings(8), domain::UsernamePolicy::default());
        let session = Session { services, env, context, sender, passwords, usernames };
        session.catch_up().await.unwrap();
        let unknown_event = NewEvent {
            id: session.env.uuid(),
            event_type: "UserKnighted".to_owned(),
            schema: 1,
            data: Map::new(),
            personal: Map::new(),
        };
        let stream = StreamId::new(UserId::from_uuid(session.env.uuid()).stream()).unwrap();
        let writes = vec![StreamWrite::new(stream, ExpectedVersion::NoStream, vec![unknown_event])];
        let append = Append::new("system", "r", writes);
        session.services.store.append(&append).await.unwrap();
        (session, id)
    }

    fn deactivation(user: impl Into<String>) -> RequestedChange {
        AccountArguments { user: user.into(), reason: None }.deactivate()
    }

    #[tokio::test]
    async fn command_succeeds_while_projection_is_halted() {
        let (session, id) = Box::pin(halted()).await;
        let printed = CapturedOutput::default();
        let result = execute(deactivation(id.to_string()), &session, &mut printed.output()).await;
        assert_eq!(printed.text(), "ada@example.com is deactivated (position 3)\n");
        let warning = result.unwrap().unwrap();
        assert!(
            matches!(warning, CliError::Store(_)) && warning.to_string().contains("position 2"),
            "{warning}"
        );
        assert!(!session.services.users.state(id).await.unwrap().unwrap().account.is_active);
    }

    #[tokio::test]
    async fn unknown_id_is_reported() {
        let (session, _) = Box::pin(halted()).await;
        let unknown = UserId::from_uuid(session.env.uuid()).to_string();
        let printed = CapturedOutput::default();
        let result = execute(deactivation(&unknown), &session, &mut printed.output()).await;
        assert!(matches!(result, Err(CliError::UserNotFound(user)) if user == unknown));
        assert_eq!(printed.text(), "");
    }
}
