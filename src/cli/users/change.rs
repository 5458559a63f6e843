//! `aegis users grant`, `revoke`, `deactivate`, `reactivate` and `erase`: a command to one user, caused by the operator.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use domain::{Command, ErasureReason, Reason, Refusal, Role, UserId};

use super::{find, unknown};
use crate::cli::failure::{Failure, warn};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::printable;
use crate::command::{Cause, CommandError};

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

impl ErasureArguments {
    pub(super) fn erase(self) -> Change {
        let Self { user, reason, yes: _ } = self;
        Change {
            user,
            command: Command::Erase { reason },
            done: "is erased".to_owned(),
            already: "is erased already".to_owned(),
        }
    }
}

pub(super) async fn run(
    change: Change,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<(), Failure> {
    if let Some(late) = carry_out(change, session, cause, out).await? {
        warn(&late);
    }
    Ok(())
}

/// What the operator is told beside the fact that it was done, if anything.
async fn carry_out(
    change: Change,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<Option<String>, Failure> {
    let Change { user, command, done, already } = change;
    // By id it works without the rows: whatever holds those up, an account can be closed.
    let id = match UserId::parse(&user) {
        Ok(id) => id,
        Err(_) => find(session, &user).await?.id,
    };
    let state = session.node.users.execute(cause, id, &command, None).await.map_err(|error| match error {
        CommandError::Refused(Refusal::Unknown) => unknown(&user),
        error => error.into(),
    })?;
    let name = state.account.email.known().map_or_else(|| id.to_string(), |email| printable(email.as_str()));
    let Some(position) = state.position else {
        out.line(&format!("{name} {already}: nothing was done"))?;
        return Ok(None);
    };
    // It is done, whatever comes after; that nobody reads it does not keep the rows from being brought up to date.
    let told = out.line(&format!("{name} {done} (position {position})")).and_then(|()| out.flush());
    let late = session.catch_up().await.err();
    told?;
    Ok(late.map(|late| {
        let why = match late {
            Failure::Failed(why) | Failure::Found(why) => why,
            Failure::OutputClosed => "the output was closed".to_owned(),
        };
        format!("it is done, but the read models do not show it yet: {why}")
    }))
}

#[cfg(test)]
mod tests {
    use domain::{EmailAddress, PasswordHash, Username};
    use serde_json::Map;
    use store::memory::Memory;
    use store::{Ambient, Append, Expected, MasterKey, NewEvent, StreamId, StreamWrite};

    use super::*;
    use crate::app::{Database, Node, Projecting};
    use crate::cli::tests::Captured;
    use crate::command::SignUp;
    use crate::config::MasterKeySetting;
    use crate::config::WebhookSettings;
    use crate::webhooks::Sender;

    /// A database with one user, whom the rows show, and after them an event that the projection halts at.
    async fn halted() -> (Session, UserId) {
        let ambient = Ambient::system();
        let master = MasterKeySetting::from(MasterKey::generate(&ambient));
        let database = Database::of(Memory::default());
        let node = Node::open(&database, &master, &ambient, Projecting::No).await.unwrap();
        let sign_up = SignUp {
            email: EmailAddress::parse("ada@example.com").unwrap(),
            username: Username::parse("ada").unwrap(),
            password_hash: PasswordHash::new("$argon2id$".to_owned()).unwrap(),
        };
        let id = node.users.sign_up("r", None, sign_up).await.unwrap().id;
        let session = Session { node, ambient, sender: Sender::new(&WebhookSettings::default()) };
        session.catch_up().await.unwrap();
        let unheard_of = NewEvent {
            id: session.ambient.uuid(),
            event_type: "UserKnighted".to_owned(),
            schema: 1,
            data: Map::new(),
            personal: Map::new(),
        };
        let stream = StreamId::new(UserId::from_uuid(session.ambient.uuid()).stream()).unwrap();
        let writes = vec![StreamWrite::new(stream, Expected::NoStream, vec![unheard_of])];
        let append = Append::new("system", "r", writes);
        session.node.store.append(&append).await.unwrap();
        (session, id)
    }

    fn deactivation(user: impl Into<String>) -> Change {
        AccountArguments { user: user.into(), reason: None }.deactivate()
    }

    fn cause() -> Cause {
        Cause::new("operator:test", "r")
    }

    #[tokio::test]
    async fn what_was_written_is_done_also_where_the_rows_do_not_follow() {
        let (session, id) = Box::pin(halted()).await;
        let printed = Captured::default();
        let told = carry_out(deactivation(id.to_string()), &session, &cause(), &mut printed.output()).await;
        assert_eq!(printed.text(), "ada@example.com is deactivated (position 3)\n");
        let warning = told.unwrap().unwrap();
        assert!(warning.contains("it is done, but") && warning.contains("position 2"), "{warning}");
        assert!(!session.node.users.state(id).await.unwrap().unwrap().account.is_active);
    }

    #[tokio::test]
    async fn an_id_that_nobody_has_is_told() {
        let (session, _) = Box::pin(halted()).await;
        let nobody = UserId::from_uuid(session.ambient.uuid()).to_string();
        let printed = Captured::default();
        let told = carry_out(deactivation(&nobody), &session, &cause(), &mut printed.output()).await;
        assert_eq!(told, Err(Failure::Failed(format!("no user with e-mail address or id `{nobody}`"))));
        assert_eq!(printed.text(), "");
    }
}
