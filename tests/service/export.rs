//! Exports of the log, verified offline; and the log verified against an earlier checkpoint.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use domain::Role;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::service::{MASTER_KEY, SECRET_KEY};

use crate::support::{Deployment, Store, TestApp, User, on_both_stores};

mod database_copy;
mod forged_manifests;

use database_copy::DatabaseCopy;
use forged_manifests::tampered_export_is_located;

on_both_stores! {
    export_is_verified_without_the_database
    independent_program_verifies_an_export_and_an_event
    tampered_export_is_located
    exported_range_is_verifiable_and_filtered_export_is_not
    csv_export_is_safe_against_formula_injection
    existing_export_file_is_not_overwritten
    truncated_log_is_detected_by_an_earlier_checkpoint
}

/// A log of 12 events with an erased user; its checkpoint and verification key in files, as an auditor stores
/// them.
struct Audit {
    app: TestApp,
    auditor: User,
    deployment: Deployment,
    folder: TempDir,
}

impl Audit {
    async fn of(store: Store) -> Self {
        let app = TestApp::start(store.clone()).await;
        let (admin, auditor) = (app.admin().await, app.user_with(Role::Auditor).await);
        for name in ["ada", "bob", "gone"] {
            let user = app.sign_up(name).await;
            let reason = json!({"reason": "=cmd|' /C calc'!A0, \"quoted\"\nand more"});
            admin.post(&format!("/users/{}/deactivate", user.id)).json(&reason).send().await.expect(200);
            if name == "gone" {
                let body = json!({"reason": "request"});
                admin.post(&format!("/users/{}/erase", user.id)).json(&body).send().await.expect(204);
            }
        }
        let audit = {
            // The keys of the service in this process.
            let deployment =
                Deployment::of(store).with("AEGIS_MASTER_KEY", MASTER_KEY).with("SECRET_KEY", SECRET_KEY);
            Self { app, auditor, deployment, folder: TempDir::new().unwrap() }
        };
        audit.download("checkpoint").await;
        audit.download("key").await;
        audit
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Downloads `/log/{name}` into a file of that name.
    async fn download(&self, name: &str) {
        let answer = self.auditor.get(&format!("/log/{name}")).send().await.expect(200);
        fs::write(self.path(name), answer.bytes()).unwrap();
    }

    async fn export(&self, arguments: &[&str]) -> Value {
        let out = self.text("log.jsonl");
        let command = [&["events", "export", "--out", &out, "--force"], arguments].concat();
        self.deployment.json(&command).await.remove(0)
    }

    /// Verifies the export; returns exit code and output.
    async fn verify_export(&self) -> (Option<i32>, String) {
        let [export, checkpoint, key] = ["log.jsonl", "checkpoint", "key"].map(|name| self.text(name));
        let arguments = ["events", "verify", "--export", &export, "--checkpoint", &checkpoint, "--key", &key];
        // Verification needs no database.
        let done = self.without_database().run(&arguments).await;
        (done.code, done.stdout + &done.stderr)
    }

    /// The binary without a database.
    fn without_database(&self) -> testkit::service::Deployment {
        testkit::service::Deployment::embedded(env!("CARGO_BIN_EXE_aegis"), &self.path("without_database"))
    }

    fn python(arguments: &[&str]) -> std::process::Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_log.py");
        testkit::python().arg(script).args(arguments).output().unwrap()
    }
}

async fn export_is_verified_without_the_database(store: Store) {
    let audit = Audit::of(store).await;
    let manifest = audit.export(&[]).await;
    let head = audit.app.head().await;
    assert_eq!(
        (&manifest["from"], &manifest["to"], &manifest["count"]),
        (&json!(1), &json!(head), &json!(head))
    );
    let file = fs::read_to_string(audit.path("log.jsonl")).unwrap();
    assert!(!file.contains("argon2") && !file.contains("gone@"), "{file}");
    for (line, position) in file.lines().zip(1..) {
        let line: Value = serde_json::from_str(line).unwrap();
        let proof = audit.auditor.get(&format!("/log/proof/{position}")).send().await.expect(200).json();
        assert_eq!(line["event"], serde_json::from_str::<Value>(proof["event"].as_str().unwrap()).unwrap());
    }
    let first: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    assert_eq!(first["personal"], json!({"email": "admin@example.com", "username": "admin"}));
    let erased = file.lines().filter(|line| line.contains("\"erased\":true")).count();
    assert_eq!(erased, 2, "both events of the erased user");
    for name in ["log.jsonl", "log.jsonl.manifest.json"] {
        let mode = fs::metadata(audit.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let (code, output) = audit.verify_export().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains(&format!("positions 1 to {head} match the checkpoint of {head} events")),
        "{output}"
    );

    // The checkpoint does not cover later events.
    audit.app.sign_up("later").await;
    audit.export(&[]).await;
    let (code, output) = audit.verify_export().await;
    assert_eq!(code, Some(0), "{output}");
    assert!(
        output.contains(&format!("positions 1 to {head} match")) && output.contains("the 1 events after"),
        "{output}"
    );
}

async fn independent_program_verifies_an_export_and_an_event(store: Store) {
    let audit = Audit::of(store).await;
    audit.export(&[]).await;
    let [export, checkpoint, key, proof] =
        ["log.jsonl", "checkpoint", "key", "proof"].map(|name| audit.text(name));
    let done = Audit::python(&["export", &key, &export, &checkpoint]);
    assert!(done.status.success() && done.stdout.ends_with(b" events verified\n"), "{done:?}");
    for position in [1, 5, 7, 12] {
        let answer = audit.auditor.get(&format!("/log/proof/{position}")).send().await.expect(200);
        fs::write(&proof, answer.bytes()).unwrap();
        let done = Audit::python(&["proof", &key, &proof]);
        assert!(done.status.success(), "{done:?}");
        fs::write(&proof, answer.text().replace("UserDeactivated", "UserReactivated")).unwrap();
        let changed = answer.text().contains("UserDeactivated");
        assert_eq!(Audit::python(&["proof", &key, &proof]).status.success(), !changed);
    }
    let file = fs::read_to_string(&export).unwrap();
    fs::write(&export, file.replacen("\"actor\":\"user-", "\"actor\":\"user-0", 1)).unwrap();
    let done = Audit::python(&["export", &key, &export, &checkpoint]);
    assert!(
        !done.status.success() && String::from_utf8_lossy(&done.stderr).contains("differ from those"),
        "{done:?}"
    );
}

async fn exported_range_is_verifiable_and_filtered_export_is_not(store: Store) {
    let audit = Audit::of(store).await;
    for (from, to) in [("4", "9"), ("1", "8"), ("12", "12"), ("2", "12")] {
        let manifest = audit.export(&["--from", from, "--to", to]).await;
        assert_eq!(
            manifest["checkpoint"].as_str().unwrap().as_bytes(),
            fs::read(audit.path("checkpoint")).unwrap()
        );
        let (code, output) = audit.verify_export().await;
        assert!(code == Some(0) && output.contains(&format!("positions {from} to {to} match")), "{output}");
        let mut manifest: Value =
            serde_json::from_slice(&fs::read(audit.path("log.jsonl.manifest.json")).unwrap()).unwrap();
        if from != "1" {
            let size = manifest["before"].as_str().unwrap().len();
            manifest["before"] = json!("A".repeat(size - 1) + "=");
            fs::write(audit.path("log.jsonl.manifest.json"), manifest.to_string()).unwrap();
            assert_eq!(audit.verify_export().await.0, Some(3), "another tree before it");
        }
    }
    // A time in the future exports the current log.
    let manifest = audit.export(&["--from", "2020-01-01T00:00:00Z", "--to", "2999-01-01T00:00:00Z"]).await;
    assert_eq!((&manifest["from"], &manifest["to"]), (&json!(1), &json!(12)));
    let manifest = audit.export(&["--types", "UserDeactivated,UserErased"]).await;
    assert_eq!((&manifest["count"], &manifest["complete"]), (&json!(4), &json!(false)));
    let (code, output) = audit.verify_export().await;
    assert!(code == Some(1) && output.contains("without `--types`"), "{output}");

    // A checkpoint later than the end of the export.
    audit.export(&[]).await;
    audit.app.sign_up("later").await;
    audit.download("checkpoint").await;
    let (code, output) = audit.verify_export().await;
    assert!(code == Some(1) && output.contains("take an earlier checkpoint"), "{output}");
    for wrong in [&["--from", "5", "--to", "4"][..], &["--from", "0"], &["--to", "99"]] {
        let out = audit.text("log.jsonl");
        let refused = audit.deployment.run(&[&["events", "export", "--out", &out], wrong].concat()).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
    }
}

async fn csv_export_is_safe_against_formula_injection(store: Store) {
    let audit = Audit::of(store).await;
    let manifest = audit.export(&["--format", "csv"]).await;
    assert_eq!((&manifest["count"], &manifest["complete"]), (&json!(12), &json!(false)));
    let table = fs::read_to_string(audit.path("log.jsonl")).unwrap();
    assert!(table.starts_with("position,time,type,"), "{table}");
    assert_eq!(table.matches("\"'=cmd|' /C calc'!A0, \"\"quoted\"\"\nand more\"").count(), 2, "{table}");
    assert!(
        table.contains(",ada@example.com,ada,,,") && !table.contains("gone@") && !table.contains("argon2")
    );
    let (code, output) = audit.verify_export().await;
    assert!(code == Some(1) && output.contains("as `jsonl`"), "{output}");
}

async fn existing_export_file_is_not_overwritten(store: Store) {
    let audit = Audit::of(store).await;
    let out = audit.text("log.jsonl");
    fs::write(&out, "mine").unwrap();
    let refused = audit.deployment.run(&["events", "export", "--out", &out]).await;
    assert!(refused.code == Some(1) && refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
    let without_database = audit.text("no/such/folder");
    let failed = audit.deployment.run(&["events", "export", "--out", &without_database]).await;
    assert!(failed.code == Some(1) && failed.stderr.contains("no/such/folder"), "{failed:?}");
    assert_eq!(audit.deployment.run(&["events", "verify", "--export", &out]).await.code, Some(2));
}

async fn truncated_log_is_detected_by_an_earlier_checkpoint(store: Store) {
    let audit = Audit::of(store.clone()).await;
    let earlier = audit.text("checkpoint");
    let Audit { app, auditor, deployment, folder } = audit;
    app.stopped().await;
    let before = DatabaseCopy::of(&store).await;
    let service = deployment.serve().await;
    let client = service.client();
    for name in ["dora", "emil"] {
        client.post("/auth/signup").json(&crate::support::credentials(name)).send().await.expect(201);
    }
    let later = folder.path().join("later");
    fs::write(&later, auditor.at(client).get("/log/checkpoint").send().await.expect(200).bytes()).unwrap();
    let later = later.to_str().unwrap();
    for checkpoint in [&earlier, later] {
        deployment.run_ok(&["events", "verify", "--since", checkpoint]).await;
    }
    service.kill();
    before.restore(&store).await;
    deployment.run_ok(&["events", "verify"]).await;
    deployment.run_ok(&["events", "verify", "--since", &earlier]).await;
    let found = deployment.run(&["events", "verify", "--since", later]).await;
    assert_eq!(found.code, Some(3), "{found:?}");
    assert!(found.stderr.contains("position 13: ") && found.stderr.contains("[log_truncated]"), "{found:?}");

    // A different history of the same length is not what was signed.
    let service = deployment.serve().await;
    for name in ["eve", "mallory"] {
        service
            .client()
            .post("/auth/signup")
            .json(&crate::support::credentials(name))
            .send()
            .await
            .expect(201);
    }
    deployment.run_ok(&["events", "verify"]).await;
    let found = deployment.run(&["events", "verify", "--since", later]).await;
    assert!(
        found.code == Some(3)
            && found.stderr.contains("position 14: ")
            && found.stderr.contains("[checkpoint_mismatch]"),
        "{found:?}"
    );
    let forged = folder.path().join("forged");
    fs::write(&forged, fs::read_to_string(later).unwrap().replace("\n14\n", "\n13\n")).unwrap();
    let found = deployment.run(&["events", "verify", "--since", forged.to_str().unwrap()]).await;
    assert!(found.code == Some(3) && found.stderr.contains("[checkpoint_not_signed]"), "{found:?}");
}
