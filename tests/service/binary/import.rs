//! `aegis users import`: from the database of the legacy service, and from files.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};
use testkit::TestDatabase;
use testkit::service::{CommandOutput, SECRET_KEY};

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, token};
use crate::support::{
    Deployment, LEGACY_PASSWORD, LEGACY_PASSWORD_HASH, Store, assert_no_gap, credentials, eventually,
    on_both_stores, on_one_store, sign_token,
};

on_both_stores! {
    legacy_users_log_in_with_their_ids_and_old_tokens
    twins_and_unusable_records_are_reported
    report_replaces_no_file
    report_has_the_notices_of_finished_batches_when_the_import_is_killed
    undecodable_document_is_refused_and_the_next_one_imported
    second_run_imports_only_what_is_new
    dry_run_reports_the_same_and_writes_nothing
    erased_user_is_not_imported_again
    roles_are_granted_and_imported_administrators_count
    files_are_imported_with_and_without_ids
    imported_user_without_a_password_sets_one
}

mod on_mongodb {
    use super::{on_one_store, serve_names_the_command_until_users_are_there};

    on_one_store! { mongo: serve_names_the_command_until_users_are_there }
}

const ADA: &str = "65a1b2c3d4e5f60718293a4b";
const BOB: &str = "65a1b2c3d4e5f60718293a4c";

/// The database of a legacy service.
struct LegacyDatabase(TestDatabase);

impl LegacyDatabase {
    async fn with(users: &[Document]) -> Self {
        let database = Self(testkit::shared_mongodb().await.database());
        database.insert(users).await;
        database
    }

    async fn insert(&self, users: &[Document]) {
        if !users.is_empty() {
            let client = mongodb::Client::with_uri_str(self.0.url()).await.unwrap();
            let collection = client.database(self.0.name()).collection::<Document>("users");
            collection.insert_many(users).await.unwrap();
        }
    }

    async fn import(&self, into: &Deployment, options: &[&str]) -> CommandOutput {
        let source = ["users", "import", "--from-mongodb", self.0.url(), "--database", self.0.name()];
        into.run(&[&source[..], options].concat()).await
    }
}

/// A user as FastAPI with Beanie and argon2-cffi stores it.
fn legacy_user(id: &str, email: &str, username: &str) -> Document {
    doc! {
        "_id": ObjectId::parse_str(id).unwrap(),
        "email": email,
        "username": username,
        "hashed_password": LEGACY_PASSWORD_HASH,
        "is_active": true,
        "created_at": DateTime::parse_rfc3339_str("2024-01-12T21:46:11.123Z").unwrap(),
    }
}

fn ada() -> Document {
    legacy_user(ADA, "Ada@example.com", "ada")
}

fn bob() -> Document {
    legacy_user(BOB, "bob@example.com", "bob")
}

#[track_caller]
fn assert_done(output: &CommandOutput, summary: &str) {
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains(summary), "{output:?}");
}

/// The lines of a report.
struct ReportFile(tempfile::TempDir);

impl ReportFile {
    fn new() -> Self {
        Self(tempfile::TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("report.jsonl")
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn line_of(&self, id: &str) -> Value {
        self.lines().into_iter().find(|line| line["_id"] == id).unwrap()
    }
}

async fn imported(deployment: &Deployment) -> Vec<Value> {
    let events = deployment.json(&["events", "list"]).await;
    assert_no_gap(&events);
    events.into_iter().filter(|event| event["type"] == "UserImported").collect()
}

async fn legacy_users_log_in_with_their_ids_and_old_tokens(store: Store) {
    let legacy = LegacyDatabase::with(&[ada(), bob()]).await;
    let deployment = Deployment::of(store).with("SECRET_KEY", SECRET_KEY);
    let service = deployment.serve().await;
    let client = service.client();
    assert_done(&legacy.import(&deployment, &[]).await, "2 users imported");

    let issued = token(client, "ada@example.com", LEGACY_PASSWORD).await;
    let me = client.me(&issued).await.expect(200).json();
    let expected = json!({"id": ADA, "email": "Ada@example.com", "username": "ada"});
    for field in ["id", "email", "username"] {
        assert_eq!(me[field], expected[field], "{me}");
    }
    let listed = deployment.json(&["users", "list"]).await;
    assert_eq!(listed[0]["created_at"], "2024-01-12T21:46:11.123Z", "{listed:?}");

    // A token that the legacy service has issued.
    let old = sign_token(&json!({"sub": BOB, "exp": 4_000_000_000_u64}), Algorithm::HS256, SECRET_KEY);
    assert_eq!(client.me(&old).await.expect(200).json()["id"], BOB);
    // An address that the import has claimed is refused at sign-up.
    let mut twin = credentials("other");
    twin["email"] = json!("ada@EXAMPLE.com");
    assert_eq!(client.post("/auth/signup").json(&twin).send().await.code(400), "email_taken");
    // The first event that revokes tokens ends the old one too.
    deployment.run_ok(&["users", "deactivate", BOB]).await;
    deployment.run_ok(&["users", "reactivate", BOB]).await;
    assert_eq!(client.me(&old).await.code(403), "token_revoked");
    token(client, "bob@example.com", LEGACY_PASSWORD).await;
    deployment.run_ok(&["events", "verify"]).await;
    deployment.run_ok(&["projections", "verify", "users"]).await;
}

/// Records that are refused or changed, and what is reported about each: `_id`, whether the user is imported, code.
fn odd_records() -> (Vec<Document>, Vec<(&'static str, bool, &'static str)>) {
    let id = |digit: char| format!("65a1b2c3d4e5f60718293b0{digit}");
    let user = |digit, email, username| legacy_user(&id(digit), email, username);
    let with = |mut user: Document, field: &str, value: Option<&str>| {
        user.insert(field, value);
        user
    };
    let mut textual_id = user('9', "text@example.com", "text");
    textual_id.insert("_id", "ada");
    let documents = vec![
        ada(),
        user('1', "ADA@example.com", "ada the second"),
        user('2', "second@example.com", "ADA"),
        user('3', "third@example.com", "Ada"),
        user('4', "no address", "four"),
        user('5', "five@example.com", "a\u{202E}b"),
        with(user('6', "six@example.com", "six"), "hashed_password", None),
        with(user('7', "seven@example.com", "seven"), "hashed_password", Some("md5$1$2")),
        // Names that are not accepted at sign-up: mixed scripts, a look-alike, a single accent.
        user('8', "eight@example.com", "аda"),
        legacy_user("65a1b2c3d4e5f60718293b0a", "ten@example.com", "O´Brien"),
        textual_id,
    ];
    let reported = vec![
        ("65a1b2c3d4e5f60718293b01", false, "email_taken"),
        ("65a1b2c3d4e5f60718293b02", true, "renamed"),
        ("65a1b2c3d4e5f60718293b03", true, "renamed"),
        ("65a1b2c3d4e5f60718293b04", false, "invalid_email"),
        ("65a1b2c3d4e5f60718293b05", false, "invalid_username"),
        ("65a1b2c3d4e5f60718293b06", false, "unusable_password_hash"),
        ("65a1b2c3d4e5f60718293b07", false, "unusable_password_hash"),
        ("ada", false, "invalid_field"),
    ];
    (documents, reported)
}

#[track_caller]
fn assert_reported(report: &ReportFile, expected: &[(&str, bool, &str)]) {
    let lines = report.lines();
    let mut found: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |field: &str| line[field].as_str().unwrap();
            assert!(!text("reason").is_empty() && line.get("line").is_none(), "{line}");
            (text("_id"), line["imported"].as_bool().unwrap(), text("code"))
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}

async fn twins_and_unusable_records_are_reported(store: Store) {
    let (documents, expected) = odd_records();
    let legacy = LegacyDatabase::with(&documents).await;
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    let report = ReportFile::new();
    let path = report.path();
    let output = legacy.import(&deployment, &["--strict", "--report", path.to_str().unwrap()]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("5 users imported") && output.stdout.contains("6 refused"), "{output:?}");
    assert!(output.stderr.contains("_id 65a1b2c3d4e5f60718293b01: refused: "), "{output:?}");
    assert!(
        output.stderr.contains("document 1: refused: ") && !output.stderr.contains("_id ada"),
        "{output:?}"
    );
    // Addresses are in the report only.
    assert!(!output.stderr.contains("@example.com"), "{output:?}");
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777,
        0o600
    );
    assert_reported(&report, &expected);
    let twin = report.line_of("65a1b2c3d4e5f60718293b01");
    assert_eq!(twin["email"], "ADA@example.com", "{twin}");
    assert!(twin["reason"].as_str().unwrap().contains("earlier record"), "{twin}");

    let listed = deployment.json(&["users", "list"]).await;
    let names: Vec<_> = listed.iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(names, ["ada", "ADA-2", "Ada-3", "аda", "O \u{301}Brien"]);
    token(service.client(), "third@example.com", LEGACY_PASSWORD).await;

    // The same again: what was refused is refused, what was imported is there. Refusals are no failure.
    // The report of the first run is kept.
    let before = std::fs::read(&path).unwrap();
    let output = legacy.import(&deployment, &["--report", path.to_str().unwrap()]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("exists already; choose another name"), "{output:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let report = ReportFile::new();
    let path = report.path();
    let output = legacy.import(&deployment, &["--report", path.to_str().unwrap()]).await;
    assert_done(&output, "0 users imported");
    let refused: Vec<_> = expected.into_iter().filter(|(_, is_imported, _)| !is_imported).collect();
    assert_reported(&report, &refused);
    let twin = report.line_of("65a1b2c3d4e5f60718293b01");
    assert!(twin["reason"].as_str().unwrap().contains(ADA), "{twin}");
    deployment.run_ok(&["events", "verify"]).await;
}

async fn report_replaces_no_file(store: Store) {
    let deployment = Deployment::of(store);
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (source, link) = (path("users.jsonl"), path("link.jsonl"));
    let user = json!({"email": "ada@example.com", "username": "ada", "password_hash": LEGACY_PASSWORD_HASH});
    std::fs::write(&source, format!("{user}\nnonsense\n")).unwrap();
    std::os::unix::fs::symlink(path("target.jsonl"), &link).unwrap();
    let _service = deployment.serve().await;
    for report in [&source, &link] {
        let output = deployment.run(&["users", "import", &source, "--report", report]).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("choose another name"), "{output:?}");
    }
    assert!(std::fs::read_to_string(&source).unwrap().contains("ada@example.com"));
    assert!(!std::fs::exists(path("target.jsonl")).unwrap());
    assert!(imported(&deployment).await.is_empty());
}

/// A command that is killed cannot write what it has not written yet.
async fn report_has_the_notices_of_finished_batches_when_the_import_is_killed(store: Store) {
    let deployment = Deployment::of(store);
    let _service = deployment.serve().await;
    let folder = tempfile::TempDir::new().unwrap();
    let (source, report) = (folder.path().join("users.jsonl"), ReportFile::new());
    // A pipe that stays open: the command waits for further users until it is killed.
    assert!(std::process::Command::new("mkfifo").arg(&source).status().unwrap().success());
    let (users, path) = (source.to_str().unwrap(), report.path());
    let command = deployment.start(&["users", "import", users, "--report", path.to_str().unwrap()]);
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&source).unwrap();
    for number in 0..4_000 {
        let username = if number < 4 { "twin".to_owned() } else { format!("user {number}") };
        let email = format!("u{number}@example.com");
        let user = json!({"email": email, "username": username, "password_hash": LEGACY_PASSWORD_HASH});
        std::io::Write::write_all(&mut pipe, format!("{user}\n").as_bytes()).unwrap();
    }
    eventually("the report of the first batch", async || {
        std::fs::read_to_string(report.path()).is_ok_and(|text| text.lines().count() == 3).then_some(())
    })
    .await;
    command.kill();
    assert!(report.lines().iter().all(|line| line["code"] == "renamed"));
}

async fn second_run_imports_only_what_is_new(store: Store) {
    let legacy = LegacyDatabase::with(&[ada()]).await;
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    assert_done(&legacy.import(&deployment, &[]).await, "1 users imported");
    assert_done(&legacy.import(&deployment, &[]).await, "0 users imported");
    legacy.insert(&[bob()]).await;
    let output = legacy.import(&deployment, &["--strict"]).await;
    assert_done(&output, "1 users imported");
    assert!(output.stdout.contains("1 had been imported already, 0 refused"), "{output:?}");
    assert_eq!(imported(&deployment).await.len(), 2);
    token(service.client(), "bob@example.com", LEGACY_PASSWORD).await;
}

async fn undecodable_document_is_refused_and_the_next_one_imported(store: Store) {
    let legacy = LegacyDatabase::with(&[]).await;
    let damaged =
        mongodb::bson::RawDocumentBuf::try_from(&legacy_user(ADA, "ada@example.com", "ada")).unwrap();
    let mut bytes = damaged.into_bytes();
    let name = bytes.windows(4).position(|bytes| bytes == b"ada\0").unwrap();
    bytes[name] = 0xFF;
    let client = mongodb::Client::with_uri_str(legacy.0.url()).await.unwrap();
    let users = client.database(legacy.0.name()).collection::<mongodb::bson::RawDocumentBuf>("users");
    users.insert_one(mongodb::bson::RawDocumentBuf::from_bytes(bytes).unwrap()).await.unwrap();
    legacy.insert(&[bob()]).await;
    let deployment = Deployment::of(store);
    let _service = deployment.serve().await;
    let report = ReportFile::new();
    let output = legacy.import(&deployment, &["--report", report.path().to_str().unwrap()]).await;
    assert_done(&output, "1 users imported");
    assert!(output.stderr.contains(&format!("_id {ADA}: refused: it is not valid BSON")), "{output:?}");
    assert_reported(&report, &[(ADA, false, "malformed_record")]);
}

async fn dry_run_reports_the_same_and_writes_nothing(store: Store) {
    let (documents, expected) = odd_records();
    let legacy = LegacyDatabase::with(&documents).await;
    let deployment = Deployment::of(store);
    let _service = deployment.serve().await;
    let report = ReportFile::new();
    let path = report.path();
    let options = ["--dry-run", "--strict", "--report", path.to_str().unwrap()];
    let output = legacy.import(&deployment, &options).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("5 users would be imported"), "{output:?}");
    assert_reported(&report, &expected);
    let events = deployment.json(&["events", "list"]).await;
    assert!(events.is_empty(), "{events:?}");
}

async fn erased_user_is_not_imported_again(store: Store) {
    let legacy = LegacyDatabase::with(&[ada(), bob()]).await;
    let deployment = Deployment::of(store);
    let _service = deployment.serve().await;
    assert_done(&legacy.import(&deployment, &[]).await, "2 users imported");
    deployment.run_ok(&["users", "erase", ADA, "--reason", "request", "--yes"]).await;
    let report = ReportFile::new();
    let path = report.path();
    let output = legacy.import(&deployment, &["--report", path.to_str().unwrap()]).await;
    assert_done(&output, "0 users imported");
    assert_reported(&report, &[(ADA, false, "erased")]);
    assert_eq!(imported(&deployment).await.len(), 2);
}

async fn roles_are_granted_and_imported_administrators_count(store: Store) {
    let mut admin = ada();
    admin.insert("roles", ["admin", "auditor"].as_slice());
    let legacy = LegacyDatabase::with(&[admin]).await;
    let deployment = Deployment::of(store)
        .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
        .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
    let service = deployment.serve().await;
    assert_done(&legacy.import(&deployment, &[]).await, "1 users imported");
    let issued = token(service.client(), "ada@example.com", LEGACY_PASSWORD).await;
    service.client().get("/users").bearer(&issued).send().await.expect(200);
    // Two administrators: one may go, the other not.
    deployment.run_ok(&["users", "revoke", ADMIN_EMAIL, "admin"]).await;
    let refused = deployment.run(&["users", "revoke", ADA, "admin"]).await;
    assert!(refused.stderr.contains("last administrator"), "{refused:?}");
    deployment.run_ok(&["events", "verify"]).await;
}

async fn files_are_imported_with_and_without_ids(store: Store) {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let table = write(
        "users.csv",
        &format!(
            "email,username,password_hash,is_active,created_at\n\
             ada@example.com,ada,\"{LEGACY_PASSWORD_HASH}\",t,2024-05-01 12:00:00.5+00\n\
             bob@example.com,bob,\"{LEGACY_PASSWORD_HASH}\",f,2024-05-01 12:00:00\n\
             ADA@example.com,ada again,\"{LEGACY_PASSWORD_HASH}\",t,\n"
        ),
    );
    let report = ReportFile::new();
    let path = report.path();
    let output = deployment.run_ok(&["users", "import", &table, "--report", path.to_str().unwrap()]).await;
    assert_done(&output, "2 users imported");
    let lines = report.lines();
    assert_eq!((&lines[0]["line"], &lines[0]["code"]), (&json!(4), &json!("repeated")), "{lines:?}");
    token(service.client(), "ada@example.com", LEGACY_PASSWORD).await;
    let refused = service.client().log_in("bob@example.com", LEGACY_PASSWORD).await;
    assert_eq!(refused.error_body(400)["detail"], "Inactive user");

    // Without ids, the e-mail address tells who is there. A user who signed up is another one.
    service.client().post("/auth/signup").json(&credentials("cy")).send().await.expect(201);
    let table = write(
        "more.csv",
        &format!(
            "email,username,password_hash\n\
             ada@example.com,ada,\"{LEGACY_PASSWORD_HASH}\"\n\
             cy@example.com,cy,\"{LEGACY_PASSWORD_HASH}\"\n"
        ),
    );
    let report = ReportFile::new();
    let path = report.path();
    let output = deployment.run_ok(&["users", "import", &table, "--report", path.to_str().unwrap()]).await;
    assert!(output.stdout.contains("1 had been imported already, 1 refused"), "{output:?}");
    assert_eq!(report.lines()[0]["code"], "email_taken");

    // The output of mongoexport.
    let exported = json!({
        "_id": {"$oid": ADA}, "email": "eve@example.com", "username": "eve",
        "hashed_password": LEGACY_PASSWORD_HASH, "created_at": {"$date": "2024-05-01T12:00:00.123Z"},
    });
    let file = write("users.jsonl", &format!("{exported}\nnonsense\n"));
    let output = deployment.run_ok(&["users", "import", &file]).await;
    assert!(output.stderr.contains("line 2: refused: "), "{output:?}");
    let shown = deployment.json(&["users", "show", ADA]).await;
    assert_eq!(
        (&shown[0]["email"], &shown[0]["created_at"]),
        (&json!("eve@example.com"), &json!("2024-05-01T12:00:00.123Z"))
    );
}

async fn imported_user_without_a_password_sets_one(store: Store) {
    let mut without = ada();
    without.insert("hashed_password", "!unusable");
    let legacy = LegacyDatabase::with(&[without]).await;
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    assert_done(
        &legacy.import(&deployment, &["--without-password", "--strict"]).await,
        "1 without a password",
    );
    let refused = service.client().log_in("ada@example.com", LEGACY_PASSWORD).await;
    assert_eq!(refused.code(400), "invalid_credentials");
    let new = "an entirely different battery";
    let output = deployment.run_with_input(&["users", "set-password", ADA], &format!("{new}\n")).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    token(service.client(), "ada@example.com", new).await;
}

async fn serve_names_the_command_until_users_are_there() {
    let store = Store::mongo().await;
    let (url, name) = store.mongo_address().map(|(url, name)| (url.to_owned(), name.to_owned())).unwrap();
    let users =
        mongodb::Client::with_uri_str(&url).await.unwrap().database(&name).collection::<Document>("users");
    users.insert_one(ada()).await.unwrap();
    let deployment = Deployment::of(store);
    let warning = format!("aegis users import --from-mongodb \\\"$MONGODB_URL\\\" --database {name}");
    let plain = warning.replace('\\', "");
    let is_warned = |output: &str| output.contains(&warning) || output.contains(&plain);
    let mut service = deployment.serve().await;
    assert!(is_warned(&service.output()), "{}", service.output());
    let import = ["users", "import", "--from-mongodb", &url, "--database", &name];
    assert_done(&deployment.run(&import).await, "1 users imported");
    assert!(service.terminate().await.success());
    let service = deployment.serve().await;
    assert!(!is_warned(&service.output()), "{}", service.output());
    token(service.client(), "ada@example.com", LEGACY_PASSWORD).await;
}
