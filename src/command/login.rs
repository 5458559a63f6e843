//! Records the logins of a user, in a stream beside that of the user.

use domain::{LatestLogin, LoginCommand, UserId, login};
use store::{Appended, Env, EventStore, ExpectedVersion, PersonalData, Position, StoredEvent, StreamId};

use super::executor::{Decider, Decision, execute};
use super::{Aggregate, CommandContext, CommandError};

/// Executes commands to the logins of users.
#[derive(Clone)]
pub struct LoginCommands {
    store: EventStore,
    env: Env,
}

impl LoginCommands {
    #[must_use]
    pub fn new(store: EventStore, env: Env) -> Self {
        Self { store, env }
    }

    /// Executes a command. Returns the position of the event; `None` if there is nothing to record, or the log has
    /// had an event of these logins too recently.
    ///
    /// # Errors
    /// [`store::AppendError::Erased`] if the user was erased.
    pub async fn execute(
        &self,
        context: &CommandContext,
        user: UserId,
        command: LoginCommand,
    ) -> Result<Option<Position>, CommandError> {
        execute(&self.store, &self.env, context, &LoginDecider { user, command, store: &self.store }).await
    }
}

/// A command to the logins of one user.
struct LoginDecider<'a> {
    user: UserId,
    command: LoginCommand,
    /// Its clock stamps the events.
    store: &'a EventStore,
}

/// The newest event, and its version; zero if there is none.
#[derive(Default)]
struct Newest {
    login: Option<LatestLogin>,
    version: u64,
}

impl Decider for LoginDecider<'_> {
    type State = Newest;
    type Output = Option<Position>;

    fn aggregate(&self) -> Aggregate {
        Aggregate::Logins(self.user)
    }

    fn command(&self) -> &'static str {
        match self.command {
            LoginCommand::Succeed { .. } => "record_login",
            LoginCommand::BeginSpell { .. } => "begin_failed_logins",
            LoginCommand::EndSpell { .. } => "end_failed_logins",
        }
    }

    /// A success is recorded whatever came before, so nothing is read.
    async fn load(&self, store: &EventStore) -> Result<Newest, CommandError> {
        if matches!(self.command, LoginCommand::Succeed { .. }) {
            return Ok(Newest::default());
        }
        let stream = StreamId::from_trusted(self.user.logins_stream())?;
        let Some(newest) = store.last_of_stream(&stream).await? else { return Ok(Newest::default()) };
        let (at, version) = (newest.at, newest.version);
        let newest = StoredEvent { envelope: newest, personal: PersonalData::Erased };
        let event = event_codec::decode_login_event(&newest)?;
        let age = self.store.clock().now().duration_since(at).try_into().unwrap_or_default();
        Ok(Newest { login: Some(LatestLogin { event, age }), version })
    }

    fn decide(&self, newest: Newest, env: &Env) -> Result<Decision<Option<Position>>, CommandError> {
        let event = login::decide(newest.login.as_ref(), self.command.clone());
        let mut writes = Vec::new();
        if let Some(event) = event {
            let stream = self.user.logins_stream();
            let mut write = event_codec::stream_write(env, &stream, newest.version, [event.encode()])?;
            if matches!(self.command, LoginCommand::Succeed { .. }) {
                write.expected = ExpectedVersion::Any;
            }
            writes.push(write);
        }
        Ok(Decision { writes, guards: Vec::new(), output: None })
    }

    fn complete(output: &mut Option<Position>, appended: &Appended) {
        *output = Some(appended.position);
    }
}
