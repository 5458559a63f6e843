//! An in-memory log with users, and nodes that project it.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    EmailAddress, ErasureReason, EventPayload, Moment, PasswordHash, Reason, Role, System, User, UserCommand,
    UserEvent, UserId, Username, system, user,
};
use proptest::prelude::*;
use store::memory::Memory;
use store::{
    Append, Env, EventStore, LeaseStore, MasterKey, Position, ProjectionVersions, ReadModelStore, Row,
    StreamWrite, Table,
};

use crate::runner::{ProjectionHandle, ProjectionLeadership, ProjectionRunner};
use crate::{Projection, ProjectionContext, UserRow, Users, VersionReport, lifecycle};

pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) const ERASE: UserCommand = UserCommand::Erase { reason: ErasureReason::Request };

pub(super) struct Fixture {
    pub(super) env: Env,
    pub(super) memory: Memory,
    pub(super) store: EventStore,
    pub(super) users: Vec<(UserId, User, u64)>,
}

impl Fixture {
    /// Unregistered users, and the read models of this release.
    pub(super) async fn new(users: usize) -> Self {
        let env = Env::system();
        let memory = Memory::default();
        let master = MasterKey::generate(&env);
        let store = EventStore::open(Arc::new(memory.clone()), master, env.clone()).await.unwrap();
        let users = (0..users).map(|_| (UserId::from_uuid(env.uuid()), User::Absent, 0)).collect();
        let fixture = Self { env, memory, store, users };
        for projection in crate::all() {
            lifecycle::open(projection, &fixture.context(), "system", fixture.env.now()).await.unwrap();
        }
        fixture
    }

    /// Registered users with that many events each.
    pub(super) async fn with_users(users: usize, events: usize) -> Self {
        let mut fixture = Self::new(users).await;
        for who in 0..users {
            fixture.command(who, register(&format!("user{who}"))).await;
            for number in 1..events {
                let role = Role::Auditor;
                let granted = number % 2 == 1;
                let command =
                    if granted { UserCommand::GrantRole { role } } else { UserCommand::RevokeRole { role } };
                fixture.command(who, command).await;
            }
        }
        fixture
    }

    pub(super) fn context(&self) -> ProjectionContext {
        self.context_over(Arc::new(self.memory.clone()), Arc::new(self.memory.clone()))
    }

    pub(super) fn context_over(
        &self,
        rows: Arc<dyn ReadModelStore>,
        leases: Arc<dyn LeaseStore>,
    ) -> ProjectionContext {
        ProjectionContext { events: self.store.clone(), rows, leases }
    }

    /// A node that runs a projection.
    pub(super) fn node(&self, projection: &'static dyn Projection, holder: &str) -> ProjectionHandle {
        self.node_over(self.context(), projection, holder)
    }

    pub(super) fn node_over(
        &self,
        context: ProjectionContext,
        projection: &'static dyn Projection,
        holder: &str,
    ) -> ProjectionHandle {
        ProjectionRunner::new(&[projection], context, self.env.clone(), holder).start()
    }

    /// A node that runs several projections.
    pub(super) fn node_of(&self, projections: &[&'static dyn Projection], holder: &str) -> ProjectionHandle {
        ProjectionRunner::new(projections, self.context(), self.env.clone(), holder).start()
    }

    /// Decides a command on a user and appends the events; returns them.
    pub(super) async fn command(&mut self, who: usize, command: UserCommand) -> Vec<UserEvent> {
        let (id, state, version) = self.users[who].clone();
        let events = user::decide(&state, command).unwrap_or_default();
        if !events.is_empty() {
            let encoded = events.iter().map(UserEvent::encode);
            let mut write = event_codec::stream_write(&self.env, &id.stream(), version, encoded).unwrap();
            write.erase = events.iter().any(UserEvent::erases);
            self.append(write).await;
        }
        let after = events.iter().fold(state, user::evolve);
        self.users[who] = (id, after, version + u64::try_from(events.len()).unwrap());
        events
    }

    /// Appends an event of an unknown type to the stream of a user.
    pub(super) async fn append_unknown_event(&mut self, who: usize) -> Position {
        let (id, _, version) = self.users[who].clone();
        self.users[who].2 += 1;
        let (data, personal) = (Row::new(), Row::new());
        let event = EventPayload { event_type: "FromTheFuture", schema: 1, data, personal };
        self.append(event_codec::stream_write(&self.env, &id.stream(), version, [event]).unwrap()).await
    }

    /// Records a skip decision.
    pub(super) async fn skip(&self, projection: &str, position: Position) {
        let reason = Reason::parse("ticket 7").unwrap();
        let skip = system::Skip { projection: projection.to_owned(), position: position.get(), reason };
        let events = system::decide_skip(&System::default(), skip);
        self.append(event_codec::system_write(&self.env, 0, &events).unwrap()).await;
    }

    async fn append(&self, write: StreamWrite) -> Position {
        let append = Append::new("system", "test", vec![write]);
        self.store.append(&append).await.unwrap().position
    }

    pub(super) async fn head(&self) -> Position {
        self.store.head().await.unwrap().position
    }

    pub(super) async fn versions(&self, projection: &dyn Projection) -> ProjectionVersions {
        self.memory.versions(projection.name()).await.unwrap().unwrap()
    }

    pub(super) async fn rows(&self, table: &Table) -> Vec<Row> {
        self.memory.row_page(table, None, usize::MAX).await.unwrap().rows
    }

    /// The rows of the live version.
    pub(super) async fn live_rows(&self, projection: &'static dyn Projection) -> Vec<Row> {
        self.rows(&projection.table(self.store.progress().live_version(projection.name()))).await
    }

    /// The users of the live version.
    pub(super) async fn live_users(&self) -> Vec<UserRow> {
        self.live_rows(&Users).await.iter().map(|row| UserRow::from_row(row).unwrap()).collect()
    }

    /// Waits until a version has projected that position.
    pub(super) async fn reached(&self, projection: &'static dyn Projection, number: u64, position: Position) {
        let table = projection.table(number);
        let reached = self.store.wait_until_applied(&table.name, position, TIMEOUT).await;
        assert!(reached, "position {position} is not in `{}`", table.name);
    }

    /// Waits until the versions match.
    pub(super) async fn until(
        &self,
        projection: &dyn Projection,
        wanted: impl Fn(&ProjectionVersions) -> bool,
    ) -> ProjectionVersions {
        let (name, mut updates) = (projection.name(), self.store.watch_progress());
        let seen =
            updates.wait_for(|progress| progress.versions.get(name).is_some_and(|versions| wanted(versions)));
        let seen = tokio::time::timeout(TIMEOUT, seen).await;
        let Ok(seen) = seen else { panic!("it stays at {:?}", self.versions(projection).await) };
        seen.unwrap().versions[name].as_ref().clone()
    }

    /// Rebuilds and waits for the cutover.
    pub(super) async fn rebuild(&self, projection: &'static dyn Projection) -> ProjectionVersions {
        let asked = self.begin_rebuild(projection).await.unwrap();
        self.until(projection, |versions| versions.live == asked.last).await
    }

    pub(super) async fn begin_rebuild(
        &self,
        projection: &'static dyn Projection,
    ) -> Result<ProjectionVersions, crate::ChangeError> {
        lifecycle::rebuild(projection, &self.context(), "operator:ada", self.env.now()).await
    }
}

/// Waits until the status of a node matches.
pub(super) async fn wait_for_status(
    node: &ProjectionHandle,
    wanted: impl Fn(&ProjectionLeadership) -> bool,
) -> ProjectionLeadership {
    let mut status = node.watch();
    let said = tokio::time::timeout(TIMEOUT, status.wait_for(|status| wanted(status))).await;
    let Ok(said) = said else { panic!("it says {:?}", node.status()) };
    said.unwrap().clone()
}

/// The report on a version of `users`.
pub(super) fn users_version(status: &ProjectionLeadership, number: u64) -> Option<&VersionReport> {
    status.report.get("users")?.versions.get(&number)
}

pub(super) fn register(name: &str) -> UserCommand {
    UserCommand::Register {
        email: EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
        username: Username::parse(name).unwrap(),
        password_hash: Some(PasswordHash::new("$argon2id$…".to_owned()).unwrap()),
    }
}

pub(super) fn import(name: &str, is_active: bool) -> UserCommand {
    let UserCommand::Register { email, username, password_hash } = register(name) else { unreachable!() };
    UserCommand::Import { email, username, password_hash, is_active, created_at: long_ago() }
}

pub(super) fn long_ago() -> Moment {
    Moment::parse("2019-05-04T03:02:01.007Z").unwrap()
}

/// Changes the e-mail address, and the username too.
pub(super) fn rename(name: &str, both: bool) -> UserCommand {
    let email = Some(EmailAddress::parse(&format!("{name}@example.com")).unwrap());
    let username = both.then(|| Username::parse(name).unwrap());
    UserCommand::ChangeIdentity { email, username, confirmed: None }
}

pub(super) fn change_password() -> UserCommand {
    let password_hash = PasswordHash::new("$argon2id$… again".to_owned()).unwrap();
    UserCommand::ChangePassword { confirmed: None, password_hash }
}

/// Any command on one of five users.
pub(super) fn any_command() -> impl Strategy<Value = (usize, UserCommand)> {
    let command = prop_oneof![
        3 => (0..5_usize).prop_map(|who| register(&format!("user{who}"))),
        2 => (0..5_usize, any::<bool>()).prop_map(|(who, is_active)| import(&format!("user{who}"), is_active)),
        2 => Just(UserCommand::Deactivate { reason: None }),
        2 => Just(UserCommand::Reactivate { reason: None }),
        1 => Just(UserCommand::GrantRole { role: Role::Auditor }),
        1 => Just(UserCommand::RevokeRole { role: Role::Auditor }),
        1 => (0..5_usize, any::<bool>()).prop_map(|(name, both)| rename(&format!("name{name}"), both)),
        1 => Just(change_password()),
        1 => Just(UserCommand::RequestEmailVerification),
        2 => (1..8_u64).prop_map(|token_version| UserCommand::VerifyEmail { token_version }),
        1 => Just(ERASE),
    ];
    (0..5_usize, command)
}
