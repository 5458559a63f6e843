//! A log rewritten from some position on with recomputed leaves: the tiles locate the position as far as they
//! cover the log.

use aegis::app::Database;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::{Map, json};
use store::tiles::Proofs;
use store::{Append, Env, EventStore, ExpectedVersion, MasterKey, NewEvent, StreamId, StreamWrite};

use super::assert_detected;
use super::attacks::insert;
use super::raw_database::{RawDatabase, binary, connection_without_triggers};
use crate::support::{Deployment, MASTER_KEY, Store, on_both_stores};

on_both_stores! {
    rewritten_log_is_located_by_its_tiles
    changed_tiles_are_detected_and_rebuilt
}

const TILES: &str = "tile_leaf_mismatch";

/// A deployment whose log has 300 events, the first 256 of them in a tile.
async fn three_hundred_events(store: Store) -> Deployment {
    let database = Database::connect(&store.settings()).await.unwrap();
    let (env, master) = (Env::system(), MasterKey::from_base64(MASTER_KEY).unwrap());
    let events = EventStore::open(database.log, master, env.clone()).await.unwrap();
    let event = |_| NewEvent {
        id: env.uuid(),
        event_type: "RoleGranted".to_owned(),
        schema: 1,
        data: json!({"role": "auditor"}).as_object().unwrap().clone(),
        personal: Map::new(),
    };
    let stream = StreamId::new(format!("other-{}", env.uuid().hyphenated())).unwrap();
    let write = StreamWrite::new(stream, ExpectedVersion::NoStream, (0..300).map(event).collect());
    events.append(&Append::new("system", "test", vec![write])).await.unwrap();
    Proofs::new(events.clone(), database.tiles).extend_tiles().await.unwrap();
    events.close().await;
    Deployment::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY)
}

async fn rewritten_log_is_located_by_its_tiles(store: Store) {
    let deployment = three_hundred_events(store).await;
    deployment.run_ok(&["events", "verify"]).await;
    let original = RawDatabase::read(deployment.store()).await;
    let written = async |what: &str, change: &dyn Fn(&mut RawDatabase), position: u64, code: &str| {
        let mut log = original.clone();
        change(&mut log);
        log.write(deployment.store()).await;
        assert_detected(&deployment, what, position, code).await;
    };
    let rewrite = |log: &mut RawDatabase, from: u64| {
        log.events.iter_mut().filter(|event| event.position.get() >= from).for_each(|event| {
            "user-eve".clone_into(&mut event.actor);
        });
        log.recompute_leaves();
    };
    let with_head = |log: &mut RawDatabase, from: u64| {
        rewrite(log, from);
        log.recompute_head();
    };
    written("leaves recomputed", &|log| rewrite(log, 100), 100, TILES).await;
    written("leaves and head recomputed", &|log| with_head(log, 256), 256, TILES).await;
    written("beyond the tiles", &|log| with_head(log, 257), 300, "head_signature_mismatch").await;
    let inserted = |log: &mut RawDatabase| {
        insert(log, 50);
        log.recompute_leaves();
    };
    written("inserted", &inserted, 50, TILES).await;
}

/// Tiles are derived data: they can be discarded, and the message says that the log itself verifies.
async fn changed_tiles_are_detected_and_rebuilt(store: Store) {
    let deployment = three_hundred_events(store).await;
    let changed = if let Some((url, name)) = deployment.store().mongo_address() {
        let database = Client::with_uri_str(url).await.unwrap().database(name);
        let set = doc! { "$set": { "hashes": binary(&[0; 256 * 32]) } };
        let tiles = database.collection::<Document>("tiles");
        tiles.update_one(doc! { "_id": 0_i64 }, set).await.unwrap().modified_count
    } else {
        let zeros = "UPDATE tiles SET hashes = zeroblob(256 * 32) WHERE tile = 0";
        connection_without_triggers(deployment.store()).execute(zeros, []).unwrap().try_into().unwrap()
    };
    assert_eq!(changed, 1);
    assert_detected(&deployment, "tiles", 1, "tiles_damaged").await;
    deployment.store().drop_table("tiles").await;
    deployment.run_ok(&["events", "verify"]).await;
}
