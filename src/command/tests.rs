//! User commands against the in-memory backend: imports, erasure, the last administrator.

use std::sync::Arc;

use domain::{
    EmailAddress, Erasable, ErasureReason, LastAdministrator, Moment, PasswordHash, Rejection, Role,
    UserCommand, UserId, Username,
};
use store::memory::Memory;
use store::{AppendError, Env, EventQuery, EventStore, MasterKey, PersonalData};

use super::{CommandContext, CommandError, UserCommands, UserState, VersionCondition, Versions};

const ERASE: UserCommand = UserCommand::Erase { reason: ErasureReason::Request };

struct World {
    env: Env,
    store: EventStore,
    users: UserCommands,
}

impl World {
    async fn new() -> Self {
        let env = Env::system();
        let master = MasterKey::generate(&env);
        let store = EventStore::open(Arc::new(Memory::default()), master, env.clone()).await.unwrap();
        Self { users: UserCommands::new(store.clone(), env.clone()), env, store }
    }

    async fn sign_up(&self, name: &str) -> Result<UserId, CommandError> {
        Ok(self.users.register("r", None, person(name)).await?.id)
    }

    async fn execute(&self, id: UserId, command: &UserCommand) -> Result<UserState, CommandError> {
        self.users.execute(&CommandContext::new("operator:test", "r"), id, command).await
    }

    async fn types(&self) -> Vec<String> {
        let events = self.store.read(&EventQuery { limit: 100, ..EventQuery::default() }).await.unwrap();
        events.into_iter().map(|event| event.envelope.event_type).collect()
    }
}

fn person(name: &str) -> UserCommand {
    UserCommand::Register {
        email: EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
        username: Username::parse(name).unwrap(),
        password_hash: Some(PasswordHash::new("$argon2id$".to_owned()).unwrap()),
    }
}

#[tokio::test]
async fn erasure_removes_personal_values_and_claims() {
    let world = World::new().await;
    let id = world.sign_up("ada").await.unwrap();
    let left = world.execute(id, &ERASE).await.unwrap();
    assert_eq!(left.account.email, Erasable::Erased);
    assert_eq!(left.account.password_hash, Some(Erasable::Erased));
    assert_eq!((left.account.is_active, left.version), (false, 3));
    assert_eq!(world.types().await, ["UserRegistered", "UserDeactivated", "UserErased"]);
    let events = world.store.read(&EventQuery { limit: 1, ..EventQuery::default() }).await.unwrap();
    assert_eq!(events[0].personal, PersonalData::Erased);
    assert!(world.users.state(id).await.unwrap().is_none());
    world.sign_up("ada").await.unwrap();
}

#[tokio::test]
async fn commands_to_an_erased_user_are_rejected_at_any_expected_version() {
    let world = World::new().await;
    let id = world.sign_up("ada").await.unwrap();
    world.execute(id, &ERASE).await.unwrap();
    for one_of in [None, Some(Versions::OneOf(vec![1])), Some(Versions::OneOf(vec![3]))] {
        let condition = VersionCondition { one_of, none_of: None };
        let context = CommandContext { condition, ..CommandContext::new("operator:test", "r") };
        for command in [ERASE, UserCommand::Reactivate { reason: None }] {
            let refused = world.users.execute(&context, id, &command).await.unwrap_err();
            assert!(matches!(refused, CommandError::Rejected(Rejection::Erased)), "{refused:?}");
        }
    }
    assert_eq!(world.types().await.len(), 3);
}

#[tokio::test]
async fn last_administrator_cannot_be_erased() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await.unwrap(), world.sign_up("bob").await.unwrap());
    let grant = UserCommand::GrantRole { role: Role::Admin };
    world.execute(ada, &grant).await.unwrap();
    let refused = world.execute(ada, &ERASE).await.unwrap_err();
    assert!(matches!(refused, CommandError::LastAdministrator(LastAdministrator)), "{refused:?}");
    assert!(world.users.state(ada).await.unwrap().unwrap().account.is_active);
    world.execute(bob, &grant).await.unwrap();
    world.execute(ada, &ERASE).await.unwrap();
    assert!(world.types().await.ends_with(&[
        "UserDeactivated".to_owned(),
        "UserErased".to_owned(),
        "AdministratorRemoved".to_owned()
    ]));
    assert!(world.execute(bob, &ERASE).await.is_err());
}

#[tokio::test]
async fn imported_user_keeps_their_registration_date() {
    let world = World::new().await;
    let UserCommand::Register { email, username, password_hash } = person("ada") else { unreachable!() };
    let created_at = Moment::parse("2019-05-04T03:02:01.007Z").unwrap();
    let import = UserCommand::Import { email, username, password_hash, is_active: false, created_at };
    let id = UserId::parse("507f1f77bcf86cd799439011").unwrap();
    let imported = world.execute(id, &import).await.unwrap();
    let read = world.users.state(id).await.unwrap().unwrap();
    for state in [&imported, &read] {
        assert_eq!(state.created_at, "2019-05-04T03:02:01.007Z".parse().unwrap());
        assert_eq!((state.account.is_active, state.version), (false, 1));
    }
    let again = world.execute(id, &import).await.unwrap_err();
    assert!(matches!(again, CommandError::Rejected(Rejection::AlreadyRegistered)), "{again:?}");
    let elsewhere = UserId::from_uuid(world.env.uuid());
    let taken = world.execute(elsewhere, &import).await.unwrap_err();
    assert!(matches!(taken, CommandError::Append(AppendError::ClaimTaken { kind: "email" })), "{taken:?}");
}
