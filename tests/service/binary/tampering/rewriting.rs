//! A log that was rewritten from some place on, so that every leaf fits: the tiles tell the place, as far as they reach.

use aegis::app::Database;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::{Map, json};
use store::tiles::Proofs;
use store::{Ambient, Append, EventStore, Expected, MasterKey, NewEvent, StreamId, StreamWrite};

use super::is_found;
use super::kinds::insert;
use super::record::{Record, binary, unguarded};
use crate::support::{Installation, MASTER_KEY, Store, on_both_stores};

on_both_stores! {
    a_rewritten_log_is_found_where_it_parts_from_its_tiles
    tiles_that_were_changed_are_found_and_made_anew
}

const TILES: &str = "its leaf is not the one in the tiles; and position 300: ";

/// An installation whose log has 300 events, the first 256 of them in a tile.
async fn three_hundred_events(store: Store) -> Installation {
    let database = Database::connect(&store.settings()).await.unwrap();
    let (ambient, master) = (Ambient::system(), MasterKey::from_base64(MASTER_KEY).unwrap());
    let events = EventStore::open(database.log, master, ambient.clone()).await.unwrap();
    let event = |_| NewEvent {
        id: ambient.uuid(),
        event_type: "RoleGranted".to_owned(),
        schema: 1,
        data: json!({"role": "auditor"}).as_object().unwrap().clone(),
        personal: Map::new(),
    };
    let stream = StreamId::new(format!("token-{}", ambient.uuid().hyphenated())).unwrap();
    let write = StreamWrite::new(stream, Expected::NoStream, (0..300).map(event).collect());
    events.append(&Append::new("system", "test", vec![write])).await.unwrap();
    Proofs::new(events.clone(), database.tiles).grow().await.unwrap();
    events.close().await;
    Installation::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY)
}

async fn a_rewritten_log_is_found_where_it_parts_from_its_tiles(store: Store) {
    let installation = three_hundred_events(store).await;
    installation.done(&["events", "verify"]).await;
    let honest = Record::read(installation.store()).await;
    let written = async |what: &str, change: &dyn Fn(&mut Record), position: u64, said: &str| {
        let mut log = honest.clone();
        change(&mut log);
        log.write(installation.store()).await;
        is_found(&installation, what, position, said).await;
    };
    let rewrite = |log: &mut Record, from: u64| {
        log.events.iter_mut().filter(|event| event.position.get() >= from).for_each(|event| {
            "user-eve".clone_into(&mut event.actor);
        });
        log.make_leaves();
    };
    let with_head = |log: &mut Record, from: u64| {
        rewrite(log, from);
        log.make_head();
    };
    written("leaves made", &|log| rewrite(log, 100), 100, TILES).await;
    written("leaves and head made", &|log| with_head(log, 256), 256, TILES).await;
    written("behind the tiles", &|log| with_head(log, 257), 300, "the signature in the head").await;
    let inserted = |log: &mut Record| {
        insert(log, 50);
        log.make_leaves();
    };
    written("inserted", &inserted, 50, TILES).await;
}

/// What is derived may be thrown away: it is said that the log itself is right.
async fn tiles_that_were_changed_are_found_and_made_anew(store: Store) {
    let installation = three_hundred_events(store).await;
    let changed = if let Some((url, name)) = installation.store().mongo_address() {
        let database = Client::with_uri_str(url).await.unwrap().database(name);
        let set = doc! { "$set": { "hashes": binary(&[0; 256 * 32]) } };
        let tiles = database.collection::<Document>("tiles");
        tiles.update_one(doc! { "_id": 0_i64 }, set).await.unwrap().modified_count
    } else {
        let zeros = "UPDATE tiles SET hashes = zeroblob(256 * 32) WHERE tile = 0";
        unguarded(installation.store()).execute(zeros, []).unwrap().try_into().unwrap()
    };
    assert_eq!(changed, 1);
    is_found(&installation, "tiles", 1, "the log is the one that was signed: drop `tiles`").await;
    installation.store().drop_table("tiles").await;
    installation.done(&["events", "verify"]).await;
}
