//! Tampered exports and forged manifests.

use std::fs;

use serde_json::{Value, json};

use super::Audit;
use crate::support::Store;

const SHA256_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn base64_of(bytes: impl AsRef<[u8]>) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}

pub(super) async fn tampered_export_is_located(store: Store) {
    let audit = Audit::of(store).await;
    audit.export(&[]).await;
    let file = fs::read_to_string(audit.path("log.jsonl")).unwrap();
    let lines: Vec<_> = file.split_inclusive('\n').collect();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed: Vec<_> = lines.iter().map(|&line| line.to_owned()).collect();
        change(&mut changed);
        changed.concat()
    };
    let cases: [(&str, String, &str); 11] = [
        (
            "changed",
            with(&|lines| lines[4] = lines[4].replace("\"version\":", "\"version\":1")),
            "position 5: |[leaf_mismatch]",
        ),
        ("removed", with(&|lines| drop(lines.remove(3))), "position 4: |[event_missing]"),
        ("swapped", with(&|lines| lines.swap(5, 6)), "position 6: |[event_missing]"),
        ("duplicated", with(&|lines| lines.insert(3, lines[2].clone())), "position 4: |[event_replaced]"),
        (
            "line without an event",
            with(&|lines| "{}\n".clone_into(&mut lines[7])),
            "position 8: |[invalid_line]",
        ),
        ("truncated", with(&|lines| lines.truncate(9)), "position 10: |[export_truncated]"),
        ("last line truncated", with(&|lines| lines[11].truncate(40)), "position 12: |[invalid_line]"),
        (
            "personal",
            with(&|lines| lines[0] = lines[0].replace("admin@example.com", "eve@example.com")),
            "SHA-256",
        ),
        // Most JSON parsers return the last of duplicate keys.
        (
            "two events",
            with(&|lines| lines[4] = lines[4].replacen("}\n", ",\"event\":{}}\n", 1)),
            "position 5: |[invalid_line]",
        ),
        (
            "an unknown field",
            with(&|lines| lines[4] = lines[4].replacen("}\n", ",\"note\":1}\n", 1)),
            "position 5: |[invalid_line]",
        ),
        ("empty", String::new(), "position 1: |[export_truncated]"),
    ];
    for (what, changed, named) in cases {
        assert_ne!(changed, file, "{what}");
        fs::write(audit.path("log.jsonl"), changed).unwrap();
        let (code, output) = audit.verify_export().await;
        assert_eq!(code, Some(3), "{what}: {output}");
        assert!(names(&output, named), "{what}: {output}");
    }
    fs::write(audit.path("log.jsonl"), &file).unwrap();
    assert_forged_manifests_are_detected(&audit).await;
    // An event changed together with its leaf is detected by the root.
    let event = lines[4].replace("\"version\":", "\"version\":1");
    let canonical = &event["{\"event\":".len()..event.find(",\"leaf\":").unwrap()];
    let leaf = store::merkle::leaf_hash(canonical.as_bytes());
    let leaf = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, leaf);
    let changed = with(&|lines| lines[4] = format!("{{\"event\":{canonical},\"leaf\":\"{leaf}\"}}\n"));
    fs::write(audit.path("log.jsonl"), changed).unwrap();
    let (code, output) = audit.verify_export().await;
    assert!(code == Some(3) && names(&output, "position 12: |[checkpoint_mismatch]"), "{output}");

    fs::write(audit.path("log.jsonl"), &file).unwrap();
    assert_eq!(audit.verify_export().await.0, Some(0));
    let key = fs::read_to_string(audit.path("key")).unwrap();
    let note = fs::read_to_string(audit.path("checkpoint")).unwrap();
    fs::write(audit.path("checkpoint"), note.replace("\n12\n", "\n11\n")).unwrap();
    let (code, output) = audit.verify_export().await;
    assert!(code == Some(3) && output.contains("has no valid signature by the key"), "{output}");
    fs::write(audit.path("checkpoint"), note).unwrap();
    fs::write(audit.path("key"), key.replace('A', "B")).unwrap();
    let (code, output) = audit.verify_export().await;
    assert!(code == Some(1) && output.contains("not a verifier key"), "{output}");
}

/// Whether the output has all of these parts, which are separated by `|`.
fn names(output: &str, parts: &str) -> bool {
    parts.split('|').all(|part| output.contains(part))
}

async fn assert_forged_manifests_are_detected(audit: &Audit) {
    let (path, file) = (audit.path("log.jsonl.manifest.json"), fs::read(audit.path("log.jsonl")).unwrap());
    let right: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let cases = [
        (json!({"count": 11}), Some(3), "the number of events"),
        (json!({"root": right["before"]}), Some(3), "the root"),
        (json!({"log": "aegis/another"}), Some(1), "the export is of the log aegis/another"),
        (json!({"sha256": "00"}), Some(3), "SHA-256"),
        (json!({"to": 11}), Some(3), "position 12: |[export_truncated]"),
    ];
    for (change, code, named) in cases {
        let mut manifest = right.clone();
        manifest.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        fs::write(&path, manifest.to_string()).unwrap();
        let (exit, output) = audit.verify_export().await;
        assert!(exit == code && names(&output, named), "{named}: {output}");
    }
    // An empty export proves nothing.
    fs::write(audit.path("log.jsonl"), "").unwrap();
    let nothing = json!({"to": 0, "count": 0, "root": base64_of(store::merkle::empty_root()), "sha256": SHA256_OF_NOTHING});
    let mut manifest = right.clone();
    manifest.as_object_mut().unwrap().extend(nothing.as_object().unwrap().clone());
    fs::write(&path, manifest.to_string()).unwrap();
    let (exit, output) = audit.verify_export().await;
    assert!(exit == Some(1) && output.contains("has no events"), "{output}");
    fs::write(audit.path("log.jsonl"), file).unwrap();
    fs::write(&path, right.to_string()).unwrap();
}
