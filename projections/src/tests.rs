//! The projector and the `users` fold over the reference backend.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    Command, EmailAddress, ErasureReason, Moment, PasswordHash, Role, User, UserEvent, UserId, Username, user,
};
use jiff::Timestamp;
use proptest::prelude::*;
use store::memory::Memory;
use store::{
    Ambient, Append, Checkpoint, EventStore, Expected, MasterKey, NewEvent, Position, ReadModels, Row,
    StreamId, StreamWrite, Table,
};
use tokio::runtime::Builder;

use crate::decode;
use crate::{Health, Projector, USERS, UserRow, Users, rebuild};

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    ambient: Ambient,
    memory: Memory,
    store: EventStore,
    users: Vec<(UserId, User, u64)>,
}

impl World {
    async fn new(users: usize) -> Self {
        let ambient = Ambient::system();
        let memory = Memory::default();
        let master = MasterKey::generate(&ambient);
        let store = EventStore::open(Arc::new(memory.clone()), master, ambient.clone()).await.unwrap();
        for table in USERS.tables {
            memory.prepare(table).await.unwrap();
        }
        let users = (0..users).map(|_| (UserId::from_uuid(ambient.uuid()), User::Absent, 0)).collect();
        Self { ambient, memory, store, users }
    }

    fn projector(&self) -> Projector {
        Projector::new(&Users, self.store.clone(), Arc::new(self.memory.clone()))
    }

    /// Judges a command to the user of that number and appends what it yields; gives the events.
    async fn command(&mut self, who: usize, command: Command) -> Vec<UserEvent> {
        let (id, state, version) = self.users[who].clone();
        let events = user::decide(&state, command).unwrap_or_default();
        if !events.is_empty() {
            let encoded = events.iter().map(UserEvent::encode);
            let new = encoded
                .map(|event| (event.event_type, event.schema, event.data, event.personal))
                .collect::<Vec<_>>();
            let mut write = self.write(id, version, new);
            write.erase = events.iter().any(UserEvent::erases);
            self.append(write).await;
        }
        let after = events.iter().fold(state, user::evolve);
        self.users[who] = (id, after, version + u64::try_from(events.len()).unwrap());
        events
    }

    fn write(&self, id: UserId, version: u64, events: Vec<(&str, u32, Row, Row)>) -> StreamWrite {
        let event = |(event_type, schema, data, personal): (&str, u32, Row, Row)| NewEvent {
            id: self.ambient.uuid(),
            event_type: event_type.to_owned(),
            schema,
            data,
            personal,
        };
        let events = events.into_iter().map(event).collect();
        StreamWrite::new(StreamId::new(id.stream()).unwrap(), Expected::version(version), events)
    }

    async fn append(&self, write: StreamWrite) -> Position {
        let append = Append::new("system", "test", vec![write]);
        self.store.append(&append).await.unwrap().position
    }

    fn live(&self) -> &'static Table {
        USERS.live(self.store.signal().switches(USERS.name))
    }

    async fn rebuild(&self) {
        rebuild(&Users, self.store.clone(), Arc::new(self.memory.clone()), &mut |_, _| {}).await.unwrap();
    }

    async fn rows(&self) -> Vec<UserRow> {
        let rows = self.memory.page(self.live(), None, 1000).await.unwrap();
        rows.iter().map(|row| UserRow::from_row(row).unwrap()).collect()
    }

    async fn reached(&self, position: Position) {
        assert!(
            self.store.projected(self.live().name, position, PATIENCE).await,
            "position {position} was not projected"
        );
    }
}

fn register(name: &str) -> Command {
    Command::Register {
        email: EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
        username: Username::parse(name).unwrap(),
        password_hash: PasswordHash::new("$argon2id$…".to_owned()).unwrap(),
    }
}

fn import(name: &str, is_active: bool) -> Command {
    let Command::Register { email, username, password_hash } = register(name) else { unreachable!() };
    Command::Import { email, username, password_hash, is_active, created_at: long_ago() }
}

fn long_ago() -> Moment {
    Moment::parse("2019-05-04T03:02:01.007Z").unwrap()
}

const ERASE: Command = Command::Erase { reason: ErasureReason::Request };

fn a_command() -> impl Strategy<Value = (usize, Command)> {
    let command = prop_oneof![
        3 => (0..5_usize).prop_map(|who| register(&format!("user{who}"))),
        2 => (0..5_usize, any::<bool>()).prop_map(|(who, is_active)| import(&format!("user{who}"), is_active)),
        2 => Just(Command::Deactivate { reason: None }),
        2 => Just(Command::Reactivate { reason: None }),
        1 => Just(Command::GrantRole { role: Role::Auditor }),
        1 => Just(Command::RevokeRole { role: Role::Auditor }),
        1 => Just(ERASE),
    ];
    (0..5_usize, command)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, and however it was cut into batches, the rows are what the log says.
    #[test]
    fn rebuilt_rows_equal_rows_kept_step_by_step(commands in proptest::collection::vec(a_command(), 0..60)) {
        Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
            let mut world = World::new(5).await;
            let projector = world.projector();
            for (who, command) in commands {
                world.command(who, command).await;
                projector.catch_up().await.unwrap();
            }
            let kept = world.rows().await;
            world.rebuild().await;
            assert_eq!(world.rows().await, kept);
            let present = world.users.iter().filter(|(_, user, _)| matches!(user, User::Present(_))).count();
            assert_eq!(kept.len(), present);
            for row in kept {
                let (_, user, version) = world.users.iter().find(|(id, _, _)| *id == row.id).unwrap();
                let User::Present(account) = user else { panic!("a row of somebody who never registered") };
                assert_eq!((row.version, row.is_active, &row.roles), (*version, account.is_active, &account.roles));
                assert_eq!(account.email.known(), Some(&row.email));
                let registered_here = account.created_at.is_none();
                assert_eq!(row.created_at == decode::timestamp(long_ago()), !registered_here);
            }
        });
    }
}

#[tokio::test]
async fn events_that_end_tokens_raise_tokens_from_and_others_do_not() {
    let mut world = World::new(1).await;
    let projector = world.projector();
    let mut seen = Vec::new();
    for command in [
        register("ada"),
        Command::GrantRole { role: Role::Auditor },
        Command::Deactivate { reason: None },
        Command::Reactivate { reason: None },
        Command::RevokeRole { role: Role::Auditor },
    ] {
        world.command(0, command).await;
        projector.catch_up().await.unwrap();
        let row = world.rows().await.remove(0);
        seen.push((row.version, row.tokens_from));
    }
    assert_eq!(seen, [(1, 0), (2, 0), (3, 3), (4, 3), (5, 5)]);
}

#[tokio::test]
async fn an_imported_user_keeps_what_they_were_and_one_who_registers_begins_now() {
    let mut world = World::new(3).await;
    let before = world.ambient.now();
    world.command(0, import("ada", false)).await;
    world.command(1, import("bob", true)).await;
    world.command(2, register("eve")).await;
    world.projector().catch_up().await.unwrap();
    let rows = world.rows().await;
    let row = |who: usize| rows.iter().find(|row| row.id == world.users[who].0).unwrap();
    let long_ago: Timestamp = "2019-05-04T03:02:01.007Z".parse().unwrap();
    assert_eq!((row(0).is_active, row(0).created_at), (false, long_ago));
    assert_eq!((row(1).is_active, row(1).created_at), (true, long_ago));
    assert!(row(2).is_active && row(2).created_at >= before);
    let ada = row(0);
    assert_eq!((ada.email.as_str(), ada.username.as_str()), ("ada@example.com", "ada"));
    assert_eq!((ada.password_hash.expose(), ada.roles.len()), ("$argon2id$…", 0));
    assert_eq!((ada.version, ada.tokens_from, ada.position), (1, 0, Position::new(1)));
}

#[tokio::test]
async fn an_erased_user_has_no_row_neither_now_nor_after_a_rebuild() {
    let mut world = World::new(3).await;
    let projector = world.projector();
    world.command(0, register("ada")).await;
    world.command(1, import("bob", false)).await;
    world.command(2, register("eve")).await;
    projector.catch_up().await.unwrap();
    assert_eq!(world.rows().await.len(), 3);
    // She is deactivated first; he was inactive already.
    assert_eq!(world.command(0, ERASE).await.len(), 2);
    assert_eq!(world.command(1, ERASE).await.len(), 1);
    projector.catch_up().await.unwrap();
    let kept = world.rows().await;
    assert_eq!(kept.iter().map(|row| row.id).collect::<Vec<_>>(), [world.users[2].0]);
    world.rebuild().await;
    assert_eq!(world.rows().await, kept);
}

#[tokio::test]
async fn a_poison_event_halts_after_what_was_good_until_another_node_passes_it() {
    let mut world = World::new(3).await;
    let projector = world.projector().start();
    world.command(0, register("ada")).await;
    let poison = world.write(world.users[1].0, 0, vec![("FromTheFuture", 1, Row::new(), Row::new())]);
    let poison = world.append(poison).await;
    world.command(2, register("bob")).await;

    world.reached(Position::new(1)).await;
    let mut progress = projector.watch();
    let halted = progress.wait_for(|progress| matches!(progress.health, Health::Halted(_)));
    let health = tokio::time::timeout(PATIENCE, halted).await.unwrap().unwrap().health.clone();
    let Health::Halted(halt) = health else { panic!("{health:?}") };
    assert_eq!((halt.after, poison), (Position::new(1), Position::new(2)));
    assert!(halt.reason.contains("position 2") && halt.reason.contains("FromTheFuture"), "{}", halt.reason);
    assert_eq!(world.rows().await.len(), 1, "nothing after a poison event is projected");

    // A node that knows the event moves the checkpoint past it.
    let from = Checkpoint { rebuilds: 0, position: Position::new(1) };
    world.memory.apply(world.live(), from, poison, Vec::new()).await.unwrap();
    world.reached(Position::new(3)).await;
    assert_eq!(world.rows().await.len(), 2);
}

#[tokio::test]
async fn two_projectors_at_once_give_the_same_rows_as_one() {
    let mut world = World::new(200).await;
    let projectors = [world.projector().start(), world.projector().start()];
    for who in 0..200 {
        world.command(who, register(&format!("user{who}"))).await;
        if who % 3 == 0 {
            world.command(who, Command::Deactivate { reason: None }).await;
        }
    }
    let head = world.store.head().await.unwrap().position;
    world.reached(head).await;
    drop(projectors);
    let together = world.rows().await;
    world.rebuild().await;
    assert_eq!(world.rows().await, together);
    assert_eq!(together.iter().filter(|row| !row.is_active).count(), 67);
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_is_seen_by_nobody_until_it_is_as_far_as_what_it_replaces() {
    let mut world = World::new(60).await;
    let projector = world.projector().start();
    for who in 0..60 {
        world.command(who, register(&format!("user{who}"))).await;
        world.command(who, Command::Deactivate { reason: None }).await;
    }
    let head = world.store.head().await.unwrap().position;
    world.reached(head).await;
    let before = world.rows().await;
    let mut each_batch = |_, _| {};
    let rebuilding = rebuild(&Users, world.store.clone(), Arc::new(world.memory.clone()), &mut each_batch);
    tokio::pin!(rebuilding);
    let reached = loop {
        tokio::select! {
            biased;
            done = &mut rebuilding => break done.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        // Whatever moment it is: nobody is missing, and nobody who was deactivated is active again.
        assert_eq!(world.rows().await, before);
    };
    assert_eq!((reached, world.live()), (head, USERS.live(1)));
    assert_eq!(world.rows().await, before);
    assert!(world.memory.page(USERS.idle(1), None, 10).await.unwrap().is_empty(), "the old copy is gone");

    // The projector has followed to the new table.
    world.command(0, Command::Reactivate { reason: None }).await;
    world.reached(head.next()).await;
    assert_eq!(world.rows().await.iter().filter(|row| row.is_active).count(), 1);
    assert_eq!(projector.progress().health, Health::Running);
}
