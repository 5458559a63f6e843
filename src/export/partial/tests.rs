//! Interrupted, conflicting and concurrent exports.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

fn asked() -> ExportRequest {
    ExportRequest {
        log: "aegis/1".to_owned(),
        format: ExportFormat::Csv,
        from: None,
        to: None,
        types: Vec::new(),
    }
}

fn plan() -> ExportPlan {
    ExportPlan { request: asked(), from: 1, to: 9, checkpoint: "note".to_owned() }
}

fn manifest(plan: &ExportPlan, count: u64, sha256: String) -> Manifest {
    let ExportRequest { log, format, types, .. } = plan.request.clone();
    let [root, before, consistency] = [const { String::new() }; 3];
    let (version, from, to, complete) = (1, plan.from, plan.to, false);
    let checkpoint = plan.checkpoint.clone();
    Manifest {
        version,
        log,
        format,
        from,
        to,
        types,
        count,
        complete,
        sha256,
        root,
        before,
        checkpoint,
        consistency,
    }
}

#[test]
fn interrupted_export_resumes_to_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let (whole, torn) = (folder.path().join("whole"), folder.path().join("torn"));
    let mut part = PartialExport::open(&whole, plan(), false).unwrap();
    part.add("one\ntwo\n", 2, 2).unwrap();
    part.add("nine\n", 1, 9).unwrap();
    let expected = part.finish(manifest).unwrap();

    let mut part = PartialExport::open(&torn, plan(), false).unwrap();
    part.add("one\ntwo\n", 2, 2).unwrap();
    part.save().unwrap();
    // This is written and never saved, and its end is torn.
    part.add("three\nfo", 2, 4).unwrap();
    part.file.flush().unwrap();
    drop(part);
    // The log has grown since: the original plan stays.
    let later = ExportPlan { to: 12, checkpoint: "later".to_owned(), ..plan() };
    let mut part = PartialExport::open(&torn, later, false).unwrap();
    assert_eq!((part.position(), part.count(), part.plan()), (2, 2, &plan()));
    part.add("nine\n", 1, 9).unwrap();
    assert_eq!(part.finish(manifest).unwrap(), expected);
    assert_eq!(fs::read(&torn).unwrap(), fs::read(&whole).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "two files and their manifests");
    let digest = aws_lc_rs::digest::digest(&SHA256, &fs::read(&whole).unwrap());
    assert_eq!(hex::encode(digest), expected.sha256);
}

#[test]
fn export_of_another_request_is_not_resumed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    drop(PartialExport::open(&file, plan(), false).unwrap());
    for other in [
        ExportRequest { from: Some("position 2".to_owned()), ..asked() },
        ExportRequest { to: Some("position 9".to_owned()), ..asked() },
        ExportRequest { types: vec!["X".to_owned()], ..asked() },
        ExportRequest { format: ExportFormat::Jsonl, ..asked() },
        ExportRequest { log: "aegis/2".to_owned(), ..asked() },
    ] {
        let other = ExportPlan { request: other, ..plan() };
        assert!(matches!(PartialExport::open(&file, other, true), Err(ExportError::Refused(_))));
    }
    PartialExport::open(&file, plan(), false).unwrap().finish(manifest).unwrap();
    assert!(matches!(PartialExport::open(&file, plan(), false), Err(ExportError::Refused(_))));
    assert!(PartialExport::open(&file, plan(), true).is_ok());
}

#[test]
fn concurrent_exports_to_one_file_are_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    let part = PartialExport::open(&file, plan(), false).unwrap();
    let Err(ExportError::Refused(why)) = PartialExport::open(&file, plan(), true) else {
        panic!("both exports write")
    };
    assert!(why.contains("another export is writing"), "{why}");
    drop(part);
    assert!(PartialExport::open(&file, plan(), false).is_ok());
}

#[test]
fn progress_of_an_already_renamed_file_is_ignored() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    drop(PartialExport::open(&file, plan(), false).unwrap());
    // As a kill between the two steps leaves it.
    fs::rename(folder.path().join("file.part"), &file).unwrap();
    let other = ExportPlan { request: ExportRequest { format: ExportFormat::Jsonl, ..asked() }, ..plan() };
    assert_eq!(PartialExport::open(&file, other.clone(), true).unwrap().plan(), &other);
}

#[test]
fn file_shorter_than_its_saved_progress_restarts() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    let mut part = PartialExport::open(&file, plan(), false).unwrap();
    part.add("one\n", 1, 1).unwrap();
    part.save().unwrap();
    drop(part);
    fs::write(folder.path().join("file.part"), "o").unwrap();
    let part = PartialExport::open(&file, plan(), false).unwrap();
    assert_eq!((part.position(), part.count()), (0, 0));
}

#[test]
fn prepared_files_are_not_written_to() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let refusal = |target: &Path| match PartialExport::open(target, plan(), false) {
        Err(ExportError::Refused(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{} is written to", target.display()),
    };
    fs::write(path("victim"), "precious").unwrap();
    fs::set_permissions(path("victim"), Permissions::from_mode(0o600)).unwrap();
    symlink(path("victim"), path("linked.part")).unwrap();
    fs::hard_link(path("victim"), path("named.part")).unwrap();
    fs::write(path("open.part"), "").unwrap();
    fs::set_permissions(path("open.part"), Permissions::from_mode(0o666)).unwrap();
    for (target, why) in
        [("linked", "symbolic link"), ("named", "single name"), ("open", "other users have access")]
    {
        assert!(refusal(&path(target)).contains(why), "{target}");
    }
    fs::remove_file(path("named.part")).unwrap();
    let (own, file) = (geteuid().as_raw(), path("victim"));
    assert!(open_of(own, &file).is_ok());
    assert!(matches!(open_of(own + 1, &file), Err(OpenError::Foreign(why)) if why.contains("another user")));
    // The temporary name of the saved progress leads elsewhere.
    symlink(path("victim"), path("fresh.part.json.new")).unwrap();
    PartialExport::open(&path("fresh"), plan(), false).unwrap().finish(manifest).unwrap();
    assert_eq!(fs::read_to_string(path("victim")).unwrap(), "precious");
    assert_eq!(fs::metadata(path("fresh")).unwrap().mode() & 0o777, 0o600);
}
