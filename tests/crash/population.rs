//! A log with many users in it, imported in batches as an importer would: long logs are made in minutes.

use std::sync::Arc;

use aegis::app::Database;
use aegis::config::DatabaseSettings;
use domain::{Command, EmailAddress, Moment, PasswordHash, User, UserEvent, UserId, Username, user};
use store::{Ambient, Append, Claim, EventStore, Expected, MasterKey, NewEvent, StreamId, StreamWrite};
use tokio::task::JoinSet;

/// Users in one append.
const TOGETHER: u64 = 100;
/// Appends under way at a time.
const UNDER_WAY: u64 = 8;

/// Imports so many users into an empty database.
pub(crate) async fn import(database: &DatabaseSettings, master: MasterKey, users: u64) {
    let ambient = Ambient::system();
    let log = Database::connect(database).await.unwrap().log;
    let store = Arc::new(EventStore::open(log, master, ambient.clone()).await.unwrap());
    let mut importing = JoinSet::new();
    for first in (0..users).step_by(usize::try_from(TOGETHER).unwrap()) {
        if importing.len() >= usize::try_from(UNDER_WAY).unwrap() {
            importing.join_next().await.unwrap().unwrap();
        }
        let (store, ambient) = (Arc::clone(&store), ambient.clone());
        importing.spawn(async move {
            let numbers = first..(first + TOGETHER).min(users);
            let writes = numbers.map(|number| newcomer(number, &ambient)).collect();
            store.append(&Append::new("operator:test", "import", writes)).await.unwrap();
        });
    }
    while let Some(done) = importing.join_next().await {
        done.unwrap();
    }
    store.close().await;
}

fn newcomer(number: u64, ambient: &Ambient) -> StreamWrite {
    let import = Command::Import {
        email: EmailAddress::parse(&format!("imported{number}@example.com")).unwrap(),
        username: Username::parse(&format!("imported {number}")).unwrap(),
        password_hash: PasswordHash::new(HASH.to_owned()).unwrap(),
        is_active: !number.is_multiple_of(10),
        created_at: Moment::from_millisecond(1_600_000_000_000).unwrap(),
    };
    let events = user::decide(&User::Absent, import).unwrap();
    let take = events.iter().flat_map(UserEvent::claims_taken);
    let take = take.map(|(kind, value)| Claim { kind: kind.as_str(), value }).collect();
    let new = events.iter().map(UserEvent::encode).map(|encoded| NewEvent {
        id: ambient.uuid(),
        event_type: encoded.event_type.to_owned(),
        schema: encoded.schema,
        data: encoded.data,
        personal: encoded.personal,
    });
    let stream = StreamId::new(UserId::from_uuid(ambient.uuid()).stream()).unwrap();
    StreamWrite { take, ..StreamWrite::new(stream, Expected::NoStream, new.collect()) }
}

/// As long as a real one with the default costs.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBhIGhhc2ghIQ";
