//! An export that is interrupted, asked for otherwise, or written twice.

use tempfile::TempDir;

use super::*;

fn asked() -> Asked {
    Asked { log: "aegis/1".to_owned(), format: Format::Csv, from: None, to: None, types: Vec::new() }
}

fn plan() -> Plan {
    Plan { asked: asked(), from: 1, to: 9, checkpoint: "note".to_owned() }
}

fn manifest(plan: &Plan, count: u64, sha256: String) -> Manifest {
    let Asked { log, format, types, .. } = plan.asked.clone();
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
fn what_was_interrupted_goes_on_and_is_the_same_in_the_end() {
    let folder = TempDir::new().unwrap();
    let (whole, torn) = (folder.path().join("whole"), folder.path().join("torn"));
    let mut part = Part::open(&whole, plan(), false).unwrap();
    part.add("one\ntwo\n", 2, 2).unwrap();
    part.add("nine\n", 1, 9).unwrap();
    let expected = part.finish(manifest).unwrap();

    let mut part = Part::open(&torn, plan(), false).unwrap();
    part.add("one\ntwo\n", 2, 2).unwrap();
    part.note().unwrap();
    // This is written and never noted, and the last of it is torn.
    part.add("three\nfo", 2, 4).unwrap();
    part.file.flush().unwrap();
    drop(part);
    // The log has grown meanwhile: what was settled at first stays.
    let later = Plan { to: 12, checkpoint: "later".to_owned(), ..plan() };
    let mut part = Part::open(&torn, later, false).unwrap();
    assert_eq!((part.position(), part.count(), part.plan()), (2, 2, &plan()));
    part.add("nine\n", 1, 9).unwrap();
    assert_eq!(part.finish(manifest).unwrap(), expected);
    assert_eq!(fs::read(&torn).unwrap(), fs::read(&whole).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "two files and their manifests");
    let digest = aws_lc_rs::digest::digest(&SHA256, &fs::read(&whole).unwrap());
    assert_eq!(hex(digest.as_ref()), expected.sha256);
}

#[test]
fn what_another_request_has_begun_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    drop(Part::open(&file, plan(), false).unwrap());
    for other in [
        Asked { from: Some("position 2".to_owned()), ..asked() },
        Asked { to: Some("position 9".to_owned()), ..asked() },
        Asked { types: vec!["X".to_owned()], ..asked() },
        Asked { format: Format::Jsonl, ..asked() },
        Asked { log: "aegis/2".to_owned(), ..asked() },
    ] {
        let other = Plan { asked: other, ..plan() };
        assert!(matches!(Part::open(&file, other, true), Err(ExportError::Refused(_))));
    }
    Part::open(&file, plan(), false).unwrap().finish(manifest).unwrap();
    assert!(matches!(Part::open(&file, plan(), false), Err(ExportError::Refused(_))));
    assert!(Part::open(&file, plan(), true).is_ok());
}

#[test]
fn two_cannot_write_one_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    let part = Part::open(&file, plan(), false).unwrap();
    let Err(ExportError::Refused(why)) = Part::open(&file, plan(), true) else { panic!("both write") };
    assert!(why.contains("another export is writing"), "{why}");
    drop(part);
    assert!(Part::open(&file, plan(), false).is_ok());
}

#[test]
fn what_was_noted_of_a_file_that_has_its_name_already_binds_nobody() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    drop(Part::open(&file, plan(), false).unwrap());
    // As a kill leaves it between the two.
    fs::rename(folder.path().join("file.part"), &file).unwrap();
    let other = Plan { asked: Asked { format: Format::Jsonl, ..asked() }, ..plan() };
    assert_eq!(Part::open(&file, other.clone(), true).unwrap().plan(), &other);
}

#[test]
fn a_file_that_is_shorter_than_was_noted_begins_anew() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    let mut part = Part::open(&file, plan(), false).unwrap();
    part.add("one\n", 1, 1).unwrap();
    part.note().unwrap();
    drop(part);
    fs::write(folder.path().join("file.part"), "o").unwrap();
    let part = Part::open(&file, plan(), false).unwrap();
    assert_eq!((part.position(), part.count()), (0, 0));
}
