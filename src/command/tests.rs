//! Commands over the reference backend: users who come from elsewhere, and users who are erased.

use std::sync::Arc;

use domain::{
    Command, EmailAddress, ErasureReason, LastAdministrator, Moment, PasswordHash, Personal, Refusal, Role,
    UserId, Username,
};
use store::memory::Memory;
use store::{Ambient, AppendError, EventQuery, EventStore, MasterKey, PersonalData};

use super::{Cause, CommandError, SignUp, UserCommands, UserState};

const ERASE: Command = Command::Erase { reason: ErasureReason::Request };

struct World {
    ambient: Ambient,
    store: EventStore,
    users: UserCommands,
}

impl World {
    async fn new() -> Self {
        let ambient = Ambient::system();
        let master = MasterKey::generate(&ambient);
        let store = EventStore::open(Arc::new(Memory::default()), master, ambient.clone()).await.unwrap();
        Self { users: UserCommands::new(store.clone(), ambient.clone()), ambient, store }
    }

    async fn sign_up(&self, name: &str) -> Result<UserId, CommandError> {
        Ok(self.users.sign_up("r", None, person(name)).await?.id)
    }

    async fn execute(&self, id: UserId, command: &Command) -> Result<UserState, CommandError> {
        self.users.execute(&Cause::new("operator:test", "r"), id, command, None).await
    }

    async fn types(&self) -> Vec<String> {
        let events = self.store.read(&EventQuery { limit: 100, ..EventQuery::default() }).await.unwrap();
        events.into_iter().map(|event| event.envelope.event_type).collect()
    }
}

fn person(name: &str) -> SignUp {
    SignUp {
        email: EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
        username: Username::parse(name).unwrap(),
        password_hash: PasswordHash::new("$argon2id$".to_owned()).unwrap(),
    }
}

#[tokio::test]
async fn who_is_erased_leaves_no_personal_value_and_no_claim() {
    let world = World::new().await;
    let id = world.sign_up("ada").await.unwrap();
    let left = world.execute(id, &ERASE).await.unwrap();
    assert_eq!(left.account.email, Personal::Erased);
    assert_eq!(left.account.password_hash, Personal::Erased);
    assert_eq!((left.account.is_active, left.version), (false, 3));
    assert_eq!(world.types().await, ["UserRegistered", "UserDeactivated", "UserErased"]);
    let events = world.store.read(&EventQuery { limit: 1, ..EventQuery::default() }).await.unwrap();
    assert_eq!(events[0].personal, PersonalData::Erased);
    assert!(world.users.state(id).await.unwrap().is_none());
    world.sign_up("ada").await.unwrap();
}

#[tokio::test]
async fn what_is_asked_of_an_erased_user_is_refused_whatever_version_is_expected() {
    let world = World::new().await;
    let id = world.sign_up("ada").await.unwrap();
    world.execute(id, &ERASE).await.unwrap();
    let cause = Cause::new("operator:test", "r");
    for if_match in [None, Some(1), Some(3)] {
        for command in [ERASE, Command::Reactivate { reason: None }] {
            let refused = world.users.execute(&cause, id, &command, if_match).await.unwrap_err();
            assert!(matches!(refused, CommandError::Refused(Refusal::Erased)), "{refused:?}");
        }
    }
    assert_eq!(world.types().await.len(), 3);
}

#[tokio::test]
async fn an_administrator_is_erased_only_if_another_remains() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await.unwrap(), world.sign_up("bob").await.unwrap());
    let grant = Command::GrantRole { role: Role::Admin };
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
async fn an_imported_user_registered_where_they_come_from() {
    let world = World::new().await;
    let SignUp { email, username, password_hash } = person("ada");
    let created_at = Moment::parse("2019-05-04T03:02:01.007Z").unwrap();
    let import = Command::Import { email, username, password_hash, is_active: false, created_at };
    let id = UserId::parse("507f1f77bcf86cd799439011").unwrap();
    let imported = world.execute(id, &import).await.unwrap();
    let read = world.users.state(id).await.unwrap().unwrap();
    for state in [&imported, &read] {
        assert_eq!(state.created_at, "2019-05-04T03:02:01.007Z".parse().unwrap());
        assert_eq!((state.account.is_active, state.version), (false, 1));
    }
    let again = world.execute(id, &import).await.unwrap_err();
    assert!(matches!(again, CommandError::Refused(Refusal::AlreadyRegistered)), "{again:?}");
    let elsewhere = UserId::from_uuid(world.ambient.uuid());
    let taken = world.execute(elsewhere, &import).await.unwrap_err();
    assert!(matches!(taken, CommandError::Append(AppendError::ClaimTaken { kind: "email" })), "{taken:?}");
}
