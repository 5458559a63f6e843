//! Whole imports into the in-memory backend.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{EmailAddress, PasswordHash, Role, UserCommand, UserId, Username};
use serde_json::{Value, json};
use store::memory::Memory;
use store::{Env, EventQuery, EventStore, MasterKey, StoredEvent};

use super::*;
use crate::command::{CommandContext, ImportResult, UserCommands, UserToImport, UsernameNumbers};

const HASH: &str = include_str!("../crypto/hashes/argon2_cffi_hash.txt");

/// Records that are already read.
struct Records(VecDeque<SourceRecord>);

#[async_trait]
impl RecordSource for Records {
    async fn next_batch(&mut self, limit: usize) -> Result<Vec<SourceRecord>, ImportError> {
        let count = limit.min(self.0.len());
        Ok(self.0.drain(..count).collect())
    }
}

#[derive(Default)]
struct Notices(Vec<(RecordOrigin, String)>);

impl ImportListener for Notices {
    fn notice(&mut self, notice: &Notice) -> std::io::Result<()> {
        let renamed = match &notice.reason {
            NoticeReason::Renamed(username) => format!(" {}", username.as_str()),
            _ => String::new(),
        };
        self.0.push((notice.origin.clone(), notice.reason.code().to_owned() + &renamed));
        Ok(())
    }

    fn progress(&mut self, _: &ImportSummary) -> std::io::Result<()> {
        Ok(())
    }
}

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
        let users = UserCommands::new(store.clone(), env.clone());
        Self { env, store, users }
    }

    async fn import_as(
        &self,
        mode: ImportMode,
        records: &[Value],
    ) -> (ImportSummary, Vec<(RecordOrigin, String)>) {
        let record = |(line, fields): (u64, &Value)| SourceRecord {
            origin: RecordOrigin::Line(line),
            fields: Ok(fields.as_object().unwrap().clone()),
        };
        let mut source = Records((1..).zip(records).map(record).collect());
        let (context, mut notices) = (CommandContext::new("operator:test", "r"), Notices::default());
        let summary =
            import(&mut source, mode, &self.users, &context, &self.env, &mut notices).await.unwrap();
        (summary, notices.0)
    }

    async fn import(&self, records: &[Value]) -> (ImportSummary, Vec<(RecordOrigin, String)>) {
        self.import_as(ImportMode::default(), records).await
    }

    async fn events(&self) -> Vec<StoredEvent> {
        self.store.read(&EventQuery { limit: 100_000, ..EventQuery::default() }).await.unwrap()
    }
}

fn user(email: &str, username: &str) -> Value {
    json!({"email": format!("{email}@example.com"), "username": username, "password_hash": HASH.trim()})
}

fn with_id(mut user: Value, number: u32) -> Value {
    user["id"] = json!(format!("65a1b2c3{number:016x}"));
    user
}

fn line(number: u64, code: &str) -> (RecordOrigin, String) {
    (RecordOrigin::Line(number), code.to_owned())
}

#[tokio::test]
async fn first_of_twins_wins_across_batches() {
    let world = World::new().await;
    // Further apart than a batch, and closer than those in flight together.
    let mut records: Vec<_> =
        (0..2_000).map(|n| with_id(user(&format!("u{n}"), &format!("user {n}")), n)).collect();
    records[700] = with_id(user("U3", "seven hundred"), 700);
    records[1_200] = with_id(user("u1200", "USER 3"), 1_200);
    records[1_900] = with_id(user("u1900", "user 3"), 1_900);
    let (summary, notices) = world.import(&records).await;
    assert_eq!(
        notices,
        [line(701, "email_taken"), line(1201, "renamed USER 3-2"), line(1901, "renamed user 3-3")]
    );
    let expected = ImportSummary { imported: 1_999, renamed: 2, refused: 1, ..ImportSummary::default() };
    assert_eq!(summary, expected);
    assert_eq!(world.events().await.len(), 1_999);
    let (again, notices) = world.import(&records).await;
    assert_eq!(again, ImportSummary { already_present: 1_999, refused: 1, ..ImportSummary::default() });
    assert_eq!(notices, [line(701, "email_taken")]);
    assert_eq!(world.events().await.len(), 1_999);
}

#[tokio::test]
async fn dry_run_finds_what_an_import_finds() {
    let world = World::new().await;
    let mut records: Vec<_> =
        (0..1_200).map(|n| user(&format!("u{n}"), &format!("user {}", n % 1_150))).collect();
    records.push(user("u7", "seven"));
    records.push(json!({"email": "x"}));
    let dry = ImportMode { is_dry_run: true, ..ImportMode::default() };
    let planned = world.import_as(dry, &records).await;
    assert_eq!(world.events().await, []);
    assert_eq!(world.import(&records).await, planned);
    assert_eq!((planned.0.imported, planned.0.renamed, planned.0.refused), (1_200, 50, 2));
    assert_eq!(planned.1.last(), Some(&line(1202, "invalid_email")));
}

#[tokio::test]
async fn users_without_ids_are_recognised_by_their_address() {
    let world = World::new().await;
    let registration = UserCommand::Register {
        email: EmailAddress::parse("cy@example.com").unwrap(),
        username: Username::parse("cy").unwrap(),
        password_hash: Some(PasswordHash::new(HASH.trim().to_owned()).unwrap()),
    };
    world.users.register("r", None, registration).await.unwrap();
    let records = [user("ada", "ada"), user("cy", "other"), user("Ada", "second"), user("bob", "cy")];
    let (summary, notices) = world.import(&records).await;
    assert_eq!(notices, [line(2, "email_taken"), line(3, "repeated"), line(4, "renamed cy-2")]);
    assert_eq!((summary.imported, summary.refused), (2, 2));
    let (again, notices) = world.import(&records).await;
    assert_eq!(notices, [line(2, "email_taken"), line(3, "repeated")]);
    assert_eq!((again.imported, again.already_present), (0, 2));
}

#[tokio::test]
async fn many_twins_of_one_name_are_numbered() {
    let world = World::new().await;
    let long = "x".repeat(64);
    let mut records: Vec<_> = (0..300).map(|n| user(&format!("u{n}"), "user")).collect();
    records.push(user("five", "user-5"));
    records.extend((0..3).map(|n| user(&format!("long{n}"), &long)));
    let (summary, notices) = world.import(&records).await;
    assert_eq!((summary.imported, summary.renamed, summary.refused), (304, 301, 0));
    let kept = "x".repeat(62);
    assert_eq!(notices.last(), Some(&line(304, &format!("renamed {kept}-3"))));
    let names: std::collections::BTreeSet<_> = notices.iter().map(|(_, name)| name).collect();
    assert_eq!(names.len(), 301);
    assert!(!notices.contains(&line(301, "renamed user-5-2")), "the name of a record goes before a number");
}

/// The names and their results in one batch.
async fn import_twins(world: &World, numbers: &UsernameNumbers, emails: &[String]) -> Vec<ImportResult> {
    let twin = |email: &String| UserToImport {
        id: None,
        email: EmailAddress::parse(&format!("{email}@example.com")).unwrap(),
        username: Username::parse("user").unwrap(),
        password_hash: None,
        is_active: true,
        created_at: domain::Moment::from_millisecond(7).unwrap(),
        roles: std::collections::BTreeSet::new(),
    };
    let twins: Vec<_> = emails.iter().map(twin).collect();
    world.users.import(&CommandContext::new("operator:test", "r"), &twins, numbers).await.unwrap()
}

#[tokio::test]
async fn numbers_of_twins_continue_after_those_of_earlier_batches() {
    let (world, numbers) = (World::new().await, UsernameNumbers::default());
    let emails: Vec<_> = (0..40).map(|number| format!("u{number}")).collect();
    let results = import_twins(&world, &numbers, &emails).await;
    let renamed = |number| ImportResult::Renamed(Username::from_stored(&format!("user-{number}")));
    assert_eq!((&results[0], &results[39]), (&ImportResult::Imported, &renamed(40)));
    // A number that has become free since is not looked up again.
    let second = world.events().await.into_iter().nth(1).unwrap().envelope.stream;
    let second = UserId::from_stream(second.as_str()).unwrap();
    let context = CommandContext::new("operator:test", "r");
    let erase = UserCommand::Erase { reason: domain::ErasureReason::Request };
    world.users.execute(&context, second, &erase).await.unwrap();
    assert_eq!(import_twins(&world, &numbers, &["a".to_owned()]).await, [renamed(41)]);
    // Another writer may have taken the next one.
    let registration = UserCommand::Register {
        email: EmailAddress::parse("next@example.com").unwrap(),
        username: Username::parse("user-42").unwrap(),
        password_hash: None,
    };
    world.users.register("r", None, registration).await.unwrap();
    assert_eq!(import_twins(&world, &numbers, &["b".to_owned()]).await, [renamed(43)]);
    // Another import begins at the beginning.
    assert_eq!(import_twins(&world, &UsernameNumbers::default(), &["c".to_owned()]).await, [renamed(2)]);
}

#[tokio::test]
async fn look_alikes_are_imported_and_protected() {
    let world = World::new().await;
    let (summary, notices) = world.import(&[user("ada", "bob"), user("twin", "b0b"), user("cy", "cy")]).await;
    assert_eq!((summary.imported, notices), (3, vec![]));
    // The name that looks like another one's is as protected as any other.
    for name in ["b0b", "bоb", "CY"] {
        let registration = UserCommand::Register {
            email: EmailAddress::parse("new@example.com").unwrap(),
            username: Username::parse(name).unwrap(),
            password_hash: None,
        };
        world.users.register("r", None, registration).await.unwrap_err();
    }
}

#[tokio::test]
async fn roles_and_administrators_are_imported_with_their_users() {
    let world = World::new().await;
    let admin = |number: u32, is_active: bool| {
        let mut admin = with_id(user(&format!("a{number}"), &format!("a{number}")), number);
        admin["roles"] = json!(["admin", "auditor"]);
        admin["is_active"] = json!(is_active);
        admin
    };
    let (summary, _) = world.import(&[admin(1, true), admin(2, false), admin(3, true)]).await;
    assert_eq!(summary.imported, 3);
    let types: Vec<_> = world.events().await.into_iter().map(|event| event.envelope.event_type).collect();
    assert_eq!(types.iter().filter(|name| *name == "AdministratorAdded").count(), 2);
    assert_eq!(types.iter().filter(|name| *name == "RoleGranted").count(), 6);
    let inactive = UserId::parse("65a1b2c30000000000000002").unwrap();
    let account = world.users.state(inactive).await.unwrap().unwrap().account;
    assert!(!account.is_active && account.roles.contains(&Role::Admin));
    let revoke = UserCommand::RevokeRole { role: Role::Admin };
    let context = CommandContext::new("operator:test", "r");
    let [first, third] =
        ["65a1b2c30000000000000001", "65a1b2c30000000000000003"].map(|id| UserId::parse(id).unwrap());
    world.users.execute(&context, first, &revoke).await.unwrap();
    world.users.execute(&context, third, &revoke).await.unwrap_err();
}
