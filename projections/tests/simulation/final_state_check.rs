//! Checks the final state: log and tree head, key store, rows.

use std::collections::{BTreeMap, HashMap};

use projections::verify::verify;
use projections::{Projection, ProjectionContext};
use store::backend::Genesis;
use store::canonical::canonical_event;
use store::key_store::{ClaimKey, KeyEntry};
use store::merkle::{Frontier, Hash, leaf_hash, node_hash};
use store::{
    Backend, Envelope, EventStore, PersonalData, ReadModelStore, Row, RowPage, RowsDigest, StoredEvent,
    VersionStage,
};

use crate::history::AppendRecord;
use crate::reference_model::ReferenceModel;
use crate::shared_state::Simulation;

/// Leaves, root, frontier, signature, and monotonic time.
pub(crate) async fn check_seal(
    simulation: &Simulation,
    store: &EventStore,
    log: &[Envelope],
) -> Result<(), String> {
    let head = simulation.memory.head().await.unwrap();
    let mut frontier = Frontier::default();
    let mut at = jiff::Timestamp::UNIX_EPOCH;
    for (position, event) in (1..).zip(log) {
        if event.position.get() != position || event.at < at {
            return Err(format!("position {position} has {event:?}; the event before was of {at}"));
        }
        if event.leaf != leaf_hash(&canonical_event(event).unwrap()) {
            return Err(format!("the leaf of position {position} is wrong"));
        }
        frontier.push(event.leaf);
        at = event.at;
    }
    let leaves: Vec<_> = log.iter().map(|event| event.leaf).collect();
    let size = u64::try_from(log.len()).unwrap();
    let note = if log.is_empty() { String::new() } else { store.signer().sign(size, &root_of(&leaves)) };
    let (stored, expected) = (
        (head.position.get(), head.at, head.root, head.frontier, head.note),
        (size, at, root_of(&leaves), frontier, note),
    );
    if leaves.is_empty() || stored == expected {
        Ok(())
    } else {
        Err(format!("the head is {stored:?}, not {expected:?}"))
    }
}

/// RFC 6962 §2.1, literally.
fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Frontier::default().root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// Keys, tombstones and claims, none missing and none extra.
pub(crate) async fn check_vault(
    simulation: &Simulation,
    store: &EventStore,
    model: &ReferenceModel,
) -> Result<(), String> {
    // The database exists: this only reads its genesis.
    let nothing =
        Genesis { format: 0, log_id: store.log_id(), claim_key: Vec::new(), signing_key: Vec::new() };
    let genesis = simulation.memory.migrate(&nothing).await.unwrap();
    let claim_key = ClaimKey::new(&simulation.master.unwrap("keys/claims", &genesis.claim_key).unwrap());
    let mut claims = BTreeMap::<_, Vec<_>>::new();
    for (kind, value, owner) in model.claims() {
        claims.entry(owner.clone()).or_default().push(claim_key.hash(kind, value));
    }
    for hashes in claims.values_mut() {
        hashes.sort_unstable();
    }
    let held = simulation.memory.claims();
    if held != claims {
        return Err(format!("the key store has the claims {held:?}, expected from the log: {claims:?}"));
    }
    let streams: Vec<_> = model.streams().cloned().collect();
    let entries = simulation.memory.key_entries(&streams).await.unwrap();
    for stream in &streams {
        let right = match entries.get(stream) {
            None => !model.is_keyed(stream) && !model.is_erased(stream),
            Some(KeyEntry::Key(_)) => model.is_keyed(stream),
            Some(KeyEntry::Erased) => model.is_erased(stream),
        };
        if !right {
            return Err(format!("the key store has {:?} for {stream}", entries.get(stream)));
        }
    }
    Ok(())
}

/// Personal data is readable unless it was erased.
pub(crate) fn check_personal(
    log: &[StoredEvent],
    records: &[AppendRecord],
    model: &ReferenceModel,
) -> Result<(), String> {
    let writes = records.iter().flat_map(|record| &record.append.writes);
    let asked: HashMap<_, _> =
        writes.flat_map(|write| &write.events).map(|event| (event.id, event)).collect();
    for event in log {
        let envelope = &event.envelope;
        let was_told = envelope.sealed.is_some() && model.is_erased(&envelope.stream);
        let right = match &event.personal {
            PersonalData::Erased => was_told,
            PersonalData::Known(personal) => !was_told && *personal == asked[&envelope.id].personal,
        };
        if !right {
            return Err(format!("the personal part of position {} is not what it was", envelope.position));
        }
    }
    Ok(())
}

/// The rows and digest of every version equal the log folded up to its checkpoint.
pub(crate) async fn check_rows(
    simulation: &Simulation,
    projection: &'static dyn Projection,
    log: &[StoredEvent],
) -> Result<(), String> {
    let versions =
        simulation.memory.versions(projection.name()).await.unwrap().ok_or("there are no versions")?;
    for version in versions.kept.iter().filter(|version| version.stage != VersionStage::Dropping) {
        let fold = projection.with_version(version.fold).ok_or("no release supports the version")?;
        let table = fold.table(version.number);
        let RowPage { checkpoint, rows, .. } =
            simulation.memory.row_page(&table, None, usize::MAX).await.unwrap();
        let sum = rows.iter().fold(RowsDigest::default(), RowsDigest::plus);
        if sum != checkpoint.digest {
            return Err(format!("at {checkpoint:?} the sum of the rows of `{}` is {sum}", table.name));
        }
        let mut rows: BTreeMap<_, _> =
            rows.into_iter().map(|row| (row[table.key()].as_str().unwrap().to_owned(), row)).collect();
        let (taken_in, to_come) = log.split_at(usize::try_from(checkpoint.position.get()).unwrap());
        let mut wanted = folded(fold, taken_in)?;
        // Users erased after the checkpoint: a table filled before the erasure still has their row, one
        // filled later cannot. Both agree once the erasure is projected.
        for gone in to_come.iter().filter(|event| event.envelope.event_type == "UserErased") {
            let key = projection.key(&gone.envelope).unwrap_or_default();
            rows.remove(&key);
            wanted.remove(&key);
        }
        if rows != wanted {
            return Err(format!(
                "at {checkpoint:?} table `{}` holds {rows:#?}; the log says {wanted:#?}",
                table.name
            ));
        }
    }
    Ok(())
}

fn folded(projection: &dyn Projection, log: &[StoredEvent]) -> Result<BTreeMap<String, Row>, String> {
    let mut rows = BTreeMap::new();
    for event in log {
        if let Some(key) = projection.key(&event.envelope) {
            let row = projection.fold(rows.remove(&key), event).map_err(|poison| poison.to_string())?;
            rows.extend(row.map(|row| (key, row)));
        }
    }
    Ok(rows)
}

/// The product's own verification agrees.
pub(crate) async fn check_verified(
    context: &ProjectionContext,
    projection: &'static dyn Projection,
) -> Result<(), String> {
    let verified = verify(projection, context, None, &mut |_, _| {}).await;
    verified.map(|_| ()).map_err(|error| error.to_string())
}
