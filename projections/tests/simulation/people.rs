//! What clients do to users: commands, judged by the domain against the stream, and judged anew when somebody else was
//! quicker.

use domain::{
    Command, EmailAddress, Encoded, ErasureReason, Moment, PasswordHash, Reason, Role, SYSTEM_STREAM, System,
    User, UserEvent, UserId, Username, administrator_change, system, user,
};
use projections::decode;
use store::{AppendError, Claim, Expected, NewEvent, StoreError, StreamId, StreamWrite};

use crate::client::Client;

/// How often a command is judged anew.
const ATTEMPTS: usize = 3;

impl Client {
    /// Registers or imports a new user under a name that others want too; now and then an administrator.
    pub(crate) async fn sign_up(&self) {
        let id = UserId::from_uuid(self.node.ambient.uuid());
        self.world.people.lock().unwrap().push(id);
        let email = EmailAddress::parse(&format!("{}@example.com", self.name())).unwrap();
        let username = Username::parse(self.name()).unwrap();
        let password_hash = PasswordHash::new("$argon2id$…".to_owned()).unwrap();
        let come = if self.chance.happens(250) {
            let is_active = self.chance.happens(700);
            let created_at = Moment::from_millisecond(1_556_938_921_007).unwrap();
            Command::Import { email, username, password_hash, is_active, created_at }
        } else {
            Command::Register { email, username, password_hash }
        };
        let grant = Command::GrantRole { role: Role::Admin };
        let commands = if self.chance.happens(300) { vec![come, grant] } else { vec![come] };
        self.decide_and_append(id, &User::Absent, 0, &commands).await;
    }

    /// Changes a user whom others may be changing at the same time.
    pub(crate) async fn change_somebody(&self) {
        let Some(id) = self.somebody() else { return };
        let reason = self.chance.happens(500).then(|| Reason::parse("it was asked for").unwrap());
        let command = match self.chance.below(7) {
            0 | 1 => Command::Deactivate { reason },
            2 => Command::Reactivate { reason },
            3 => Command::GrantRole { role: Role::Admin },
            4 => Command::RevokeRole { role: Role::Admin },
            5 => Command::Erase { reason: ErasureReason::Request },
            _ => Command::GrantRole { role: Role::Auditor },
        };
        for _ in 0..ATTEMPTS {
            let Ok((user, version)) = self.load(id).await else { return };
            if !self.decide_and_append(id, &user, version, std::slice::from_ref(&command)).await {
                return;
            }
        }
    }

    fn somebody(&self) -> Option<UserId> {
        let people = self.world.people.lock().unwrap();
        (!people.is_empty()).then(|| *self.chance.pick(&people))
    }

    /// Whether somebody else was quicker.
    async fn decide_and_append(&self, id: UserId, before: &User, version: u64, commands: &[Command]) -> bool {
        let (mut after, mut events) = (before.clone(), Vec::new());
        for command in commands {
            let decided = user::decide(&after, command.clone()).unwrap_or_default();
            after = decided.iter().fold(after, user::evolve);
            events.extend(decided);
        }
        if events.is_empty() {
            return false;
        }
        let mut write = self.write(&id.stream(), version, events.iter().map(UserEvent::encode));
        let claims = events.iter().flat_map(UserEvent::claims_taken);
        write.take = claims.map(|(kind, value)| Claim { kind: kind.as_str(), value }).collect();
        write.erase = events.iter().any(UserEvent::erases);
        let mut writes = vec![write];
        if let Some(change) = administrator_change(id, before, &after) {
            let Ok((system, version)) = self.load_system().await else { return false };
            let Ok(events) = system::decide(&system, change) else { return false };
            if !events.is_empty() {
                writes.push(self.write(
                    SYSTEM_STREAM,
                    version,
                    events.iter().map(domain::SystemEvent::encode),
                ));
            }
        }
        matches!(self.append(writes).await, Some(Err(AppendError::Conflict { .. })))
    }

    fn write(&self, stream: &str, version: u64, events: impl Iterator<Item = Encoded>) -> StreamWrite {
        let event = |event: Encoded| NewEvent {
            schema: event.schema,
            ..self.event(event.event_type, event.data, event.personal)
        };
        StreamWrite::new(
            StreamId::new(stream).unwrap(),
            Expected::version(version),
            events.map(event).collect(),
        )
    }

    async fn load(&self, id: UserId) -> Result<(User, u64), StoreError> {
        let events = self.read(&StreamId::new(id.stream()).unwrap()).await?;
        let folded = events.iter().map(|event| decode::user_event(event).unwrap());
        let user = folded.fold(User::Absent, |user, event| user::evolve(user, &event));
        Ok((user, u64::try_from(events.len()).unwrap()))
    }

    async fn load_system(&self) -> Result<(System, u64), StoreError> {
        let events = self.read(&StreamId::new(SYSTEM_STREAM).unwrap()).await?;
        let folded = events.iter().map(|event| decode::system_event(event).unwrap());
        let system = folded.fold(System::default(), |system, event| system::evolve(system, &event));
        Ok((system, u64::try_from(events.len()).unwrap()))
    }
}
