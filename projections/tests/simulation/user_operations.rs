//! Commands on users, decided by the domain against the stream, and decided again after a conflict; and reads of
//! users, as the check of a token does them.

use domain::{
    EmailAddress, ErasureReason, Moment, PasswordHash, Reason, Role, SYSTEM_STREAM, System, User,
    UserCommand, UserEvent, UserId, Username, administrator_change, system, user,
};
use projections::users::lookup;
use projections::{Projection, UserLookup, Users};
use store::{AppendError, Backend, StoreError, StreamId};

use crate::client::Client;
use crate::node::Node;

/// How often a command is decided.
const ATTEMPTS: usize = 3;

impl Client {
    /// Registers or imports a user under a contended name; now and then an administrator.
    pub(crate) async fn sign_up(&self) {
        let id = UserId::from_uuid(self.node.env.uuid());
        self.simulation.users.lock().unwrap().push(id);
        let email = EmailAddress::parse(&format!("{}@example.com", self.name())).unwrap();
        let username = Username::parse(self.name()).unwrap();
        let password_hash = PasswordHash::new("$argon2id$…".to_owned()).unwrap();
        let password_hash = self.random.permille(900).then_some(password_hash);
        let come = if self.random.permille(250) {
            let is_active = self.random.permille(700);
            let created_at = Moment::from_millisecond(1_556_938_921_007).unwrap();
            UserCommand::Import { email, username, password_hash, is_active, created_at }
        } else {
            UserCommand::Register { email, username, password_hash }
        };
        let grant = UserCommand::GrantRole { role: Role::Admin };
        let commands = if self.random.permille(300) { vec![come, grant] } else { vec![come] };
        self.decide_and_append(id, &User::Absent, 0, &commands).await;
    }

    /// Changes a contended user.
    pub(crate) async fn change_user(&self) {
        let Some(id) = self.random_user() else { return };
        let reason = self.random.permille(500).then(|| Reason::parse("it was asked for").unwrap());
        let command = match self.random.below(10) {
            0 | 1 => UserCommand::Deactivate { reason },
            2 => UserCommand::Reactivate { reason },
            3 => UserCommand::GrantRole { role: Role::Admin },
            4 => UserCommand::RevokeRole { role: Role::Admin },
            5 => UserCommand::Erase { reason: ErasureReason::Request },
            6 => self.rename(),
            8 => UserCommand::RevokeTokens { presented: None },
            7 => {
                let password_hash = PasswordHash::new("$argon2id$… again".to_owned()).unwrap();
                UserCommand::ChangePassword { confirmed: None, password_hash }
            }
            _ => UserCommand::GrantRole { role: Role::Auditor },
        };
        for _ in 0..ATTEMPTS {
            let Ok((user, version)) = self.load(id).await else { return };
            if !self.decide_and_append(id, &user, version, std::slice::from_ref(&command)).await {
                return;
            }
        }
    }

    /// Changes e-mail address, username or both to contended ones.
    fn rename(&self) -> UserCommand {
        let email = EmailAddress::parse(&format!("{}@example.com", self.name())).unwrap();
        let username = Username::parse(self.name()).unwrap();
        let (with_email, with_username) = (self.random.permille(600), self.random.permille(600));
        UserCommand::ChangeIdentity {
            email: with_email.then_some(email),
            username: with_username.then_some(username),
            confirmed: None,
        }
    }

    /// Reads a user as the check of a token does. A row that is trusted must show everything that was committed
    /// before: it might be a revocation.
    pub(crate) async fn check_token(&self) {
        let Some(id) = self.random_user() else { return };
        let stream = StreamId::new(id.stream()).unwrap();
        let committed = self.simulation.memory.stream(&stream, 0, usize::MAX).await.unwrap();
        let committed = committed.last().map_or(0, |event| event.version);
        self.check_lag();
        let Node { store, context, .. } = &*self.node;
        let Ok(confirmation) = store.confirm_head().await else { return };
        let users: &dyn Projection = &Users;
        let table = users.table(store.progress().live_version(users.name()));
        let Ok(page) = context.rows.find(&table, "id", &id.to_string()).await else { return };
        match lookup::evaluate(store, &page, confirmation).await {
            Ok(UserLookup::Found(row, _)) if row.version < committed => {
                self.simulation.report_violation(format!(
                    "a token check trusted version {} of {stream}, though version {committed} was committed before",
                    row.version
                ));
            }
            Ok(UserLookup::Found(..)) => self.simulation.coverage.count("token checks that trusted a row"),
            Ok(UserLookup::Behind(_)) => self.simulation.coverage.count("token checks that a lag held back"),
            Ok(UserLookup::NotFound(_) | UserLookup::Unconfirmed) | Err(_) => {}
        }
    }

    /// The lag of a read model is never shorter than this process has known of an event that it lacks.
    fn check_lag(&self) {
        let progress = self.node.store.progress();
        for projection in self.node.projections {
            let table = projection.table(progress.live_version(projection.name())).name;
            let known = self.node.progress.age_after(progress.applied_position(&table));
            let lag = progress.lag(&table).unwrap_or_default();
            if lag.age < known && !lag.is_lower_bound {
                self.simulation.report_violation(format!(
                    "the lag of `{table}` is {:?}, though the process has known for {known:?} of an event that it lacks",
                    lag.age
                ));
            }
        }
    }

    fn random_user(&self) -> Option<UserId> {
        let users = self.simulation.users.lock().unwrap();
        (!users.is_empty()).then(|| *self.random.pick(&users))
    }

    /// Returns whether there was a conflict.
    async fn decide_and_append(
        &self,
        id: UserId,
        before: &User,
        version: u64,
        commands: &[UserCommand],
    ) -> bool {
        let (mut after, mut events) = (before.clone(), Vec::new());
        for command in commands {
            let decided = user::decide(&after, command.clone()).unwrap_or_default();
            after = decided.iter().fold(after, user::evolve);
            events.extend(decided);
        }
        if events.is_empty() {
            return false;
        }
        let env = &self.node.env;
        let encoded = events.iter().map(UserEvent::encode);
        let mut write = event_codec::stream_write(env, &id.stream(), version, encoded).unwrap();
        write.release = events.iter().flat_map(event_codec::claims_released).collect();
        write.take = events.iter().flat_map(event_codec::claims_taken).collect();
        write.erase = events.iter().any(UserEvent::erases);
        let mut writes = vec![write];
        if let Some(change) = administrator_change(id, before, &after) {
            let Ok((system, version)) = self.load_system().await else { return false };
            let Ok(events) = system::decide(&system, change) else { return false };
            if !events.is_empty() {
                writes.push(event_codec::system_write(env, version, &events).unwrap());
            }
        }
        matches!(self.append(writes).await, Some(Err(AppendError::Conflict { .. })))
    }

    async fn load(&self, id: UserId) -> Result<(User, u64), StoreError> {
        let events = self.read(&StreamId::new(id.stream()).unwrap()).await?;
        let folded = events.iter().map(|event| event_codec::decode_user_event(event).unwrap());
        let user = folded.fold(User::Absent, |user, event| user::evolve(user, &event));
        Ok((user, u64::try_from(events.len()).unwrap()))
    }

    async fn load_system(&self) -> Result<(System, u64), StoreError> {
        let events = self.read(&StreamId::new(SYSTEM_STREAM).unwrap()).await?;
        let folded = events.iter().map(|event| event_codec::decode_system_event(event).unwrap());
        let system = folded.fold(System::default(), |system, event| system::evolve(system, &event));
        Ok((system, u64::try_from(events.len()).unwrap()))
    }
}
