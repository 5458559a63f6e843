//! `/log`: checkpoints, inclusion and consistency proofs, and tiles, verified independently with the public
//! key.

use base64::prelude::{BASE64_STANDARD, Engine};
use domain::Role;
use serde_json::{Value, json};
use store::checkpoint::{SignedHead, VerifierKey};
use store::merkle::{Frontier, Hash, leaf_hash, verify_consistency, verify_inclusion};
use store::{Append, Env, ExpectedVersion, NewEvent, StreamId, StreamWrite};

use crate::support::{Store, TestApp, User, on_both_stores};

on_both_stores! {
    every_event_has_an_inclusion_proof_under_a_signed_checkpoint
    consistency_proof_links_two_checkpoints
    tiles_follow_the_tlog_tiles_specification
    proofs_of_missing_positions_are_rejected
}

/// A log of at least `events` events, with an auditor and the verification key.
async fn audited(app: &TestApp, events: usize) -> (User, VerifierKey) {
    let auditor = app.user_with(Role::Auditor).await;
    fill(app, events).await;
    let key = auditor.get("/log/key").send().await.expect(200).text();
    (auditor, key.parse().unwrap())
}

/// Appends events that no read model uses.
async fn fill(app: &TestApp, events: usize) {
    let event = |_| NewEvent {
        id: Env::system().uuid(),
        event_type: "RoleGranted".to_owned(),
        schema: 1,
        data: json!({"role": "auditor"}).as_object().unwrap().clone(),
        personal: serde_json::Map::new(),
    };
    let stream = StreamId::new(format!("token-{}", Env::system().uuid().hyphenated())).unwrap();
    let write = StreamWrite::new(stream, ExpectedVersion::NoStream, (0..events).map(event).collect());
    app.services().store.append(&Append::new("system", "test", vec![write])).await.unwrap();
}

async fn checkpoint(auditor: &User, key: &VerifierKey) -> SignedHead {
    let answer = auditor.get("/log/checkpoint").send().await.expect(200);
    assert_eq!(answer.header("Content-Type"), "text/plain; charset=utf-8");
    key.open(&answer.text()).unwrap()
}

fn hash(value: &Value) -> Hash {
    BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

async fn every_event_has_an_inclusion_proof_under_a_signed_checkpoint(store: Store) {
    let app = TestApp::start(store).await;
    let (auditor, key) = audited(&app, 300).await;
    let head = checkpoint(&auditor, &key).await;
    for position in [1, 2, 255, 256, 257, head.size - 1, head.size] {
        let proof = auditor.get(&format!("/log/proof/{position}")).send().await.expect(200).json();
        assert_eq!((&proof["position"], &proof["size"]), (&json!(position), &json!(head.size)));
        let signed = key.open(proof["checkpoint"].as_str().unwrap()).unwrap();
        assert_eq!((signed.size, signed.root), (head.size, hash(&proof["root"])));
        let event = proof["event"].as_str().unwrap();
        let leaf = leaf_hash(event.as_bytes());
        assert_eq!(hash(&proof["leaf"]), leaf);
        let proof = hashes(&proof["proof"]);
        assert!(verify_inclusion(position - 1, signed.size, &leaf, &proof, &signed.root), "{position}");
        let event: Value = serde_json::from_str(event).unwrap();
        assert_eq!(event["position"], position);
        assert!(!event.to_string().contains("auditor@example.com"), "personal values stay sealed: {event}");
    }
}

async fn consistency_proof_links_two_checkpoints(store: Store) {
    let app = TestApp::start(store).await;
    let (auditor, key) = audited(&app, 300).await;
    let earlier = checkpoint(&auditor, &key).await;
    fill(&app, 500).await;
    let now = checkpoint(&auditor, &key).await;
    assert_eq!(now.size, earlier.size + 500);
    for path in [format!("from={}", earlier.size), format!("from={}&to={}", earlier.size, now.size)] {
        let proof = auditor.get(&format!("/log/consistency?{path}")).send().await.expect(200).json();
        assert_eq!((hash(&proof["from_root"]), hash(&proof["to_root"])), (earlier.root, now.root));
        let proof = hashes(&proof["proof"]);
        assert!(verify_consistency((earlier.size, &earlier.root), (now.size, &now.root), &proof));
    }
}

async fn tiles_follow_the_tlog_tiles_specification(store: Store) {
    let app = TestApp::start(store).await;
    let (auditor, key) = audited(&app, 700).await;
    let head = checkpoint(&auditor, &key).await;
    let tile = async |path: &str| auditor.get(&format!("/log/tile/{path}")).send().await.expect(200);
    let rest = head.size % 256;
    let mut frontier = Frontier::default();
    for (number, width) in [(0, String::new()), (1, String::new()), (2, format!(".p/{rest}"))] {
        let leaves = tile(&format!("0/{number:03}{width}")).await;
        assert_eq!(leaves.header("Content-Type"), "application/octet-stream");
        assert!(leaves.header("Cache-Control").contains("immutable"));
        let entries = tile(&format!("entries/{number:03}{width}")).await;
        let (mut entries, mut count) = (entries.bytes(), 0);
        for leaf in leaves.bytes().as_chunks::<32>().0 {
            let (length, rest) = entries.split_first_chunk().unwrap();
            let (event, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
            assert_eq!(leaf_hash(event), *leaf);
            frontier.push(*leaf);
            (entries, count) = (rest, count + 1);
        }
        assert!(entries.is_empty() && (count == 256 || count == rest), "{count} in tile {number}");
    }
    assert_eq!((frontier.size(), frontier.root()), (head.size, head.root));
    assert_eq!(tile("1/000.p/2").await.bytes().len(), 64);
    assert_eq!(tile("1/000.p/1").await.bytes(), &tile("1/000.p/2").await.bytes()[..32]);
    for none in
        ["0/003", "0/002", "1/000", "1/000.p/3", "2/000.p/1", "0/2", "7/x001/000", "0/..", "entries/999"]
    {
        let answer = auditor.get(&format!("/log/tile/{none}")).send().await;
        assert_eq!(answer.code(404), "not_found", "{none}");
    }
}

async fn proofs_of_missing_positions_are_rejected(store: Store) {
    let app = TestApp::start(store).await;
    let (auditor, key) = audited(&app, 5).await;
    let size = checkpoint(&auditor, &key).await.size;
    for none in [0, size + 1, u64::try_from(i64::MAX).unwrap()] {
        assert_eq!(auditor.get(&format!("/log/proof/{none}")).send().await.code(404), "not_found");
    }
    for (query, place) in [
        (format!("from=1&to={}", size + 1), "to"),
        (format!("from={}", size + 1), "from"),
        ("from=3&to=2".to_owned(), "from"),
        ("from=x".to_owned(), "from"),
    ] {
        let faults = auditor.get(&format!("/log/consistency?{query}")).send().await.validation_error_kinds();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].1, json!(["query", place]), "{query}");
    }
    let faults = auditor.get("/log/proof/first").send().await.validation_error_kinds();
    assert_eq!(faults, [("int_parsing".to_owned(), json!(["path", "position"]))]);
}
