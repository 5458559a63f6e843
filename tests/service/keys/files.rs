//! Master keys that the data folder keeps: a rotation makes the new one itself.

use std::fs;
use std::time::Duration;

use super::{assert_all_log_in, id_of, names, sign_up, status, told};
use crate::support::{Installation, PASSWORD, Store, email_of, on_one_store, until};

on_one_store! { sqlite:
    a_generated_key_is_replaced_whenever_it_is_killed
    old_key_files_go_when_asked
}

/// The master keys in files, current first.
fn key_files(store: &Store) -> Vec<String> {
    let entries =
        fs::read_dir(store.folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.filter(|name| name.starts_with("master")).collect();
    // "master.key" after "master-….key".
    names.sort_unstable();
    names.reverse();
    names
        .iter()
        .map(|name| fs::read_to_string(store.folder().join(name)).unwrap().trim().to_owned())
        .collect()
}

async fn a_generated_key_is_replaced_whenever_it_is_killed() {
    let installation = Installation::of(Store::sqlite());
    let service = installation.serve().await;
    for name in names("user", 5) {
        sign_up(service.client(), &name).await.expect(201);
    }
    // At any moment, also between making the key and wrapping with it.
    for step in 0..16 {
        let rotating = installation.start(&["keys", "rotate"]);
        tokio::time::sleep(Duration::from_millis(6 * step)).await;
        rotating.kill();
        sign_up(service.client(), &format!("step{step}")).await.expect(201);
        installation.done(&["events", "verify"]).await;
    }
    installation.done(&["keys", "rotate"]).await;
    let status = status(&installation).await;
    assert_eq!(told(&status)[0], ("current".to_owned(), 21, 2), "{status}");
    assert_all_log_in(service.client(), names("user", 5).chain(names("step", 16))).await;
    assert!(key_files(installation.store()).iter().all(|key| !service.said().contains(key)));
    service.kill();
    let service = installation.serve().await;
    assert_all_log_in(service.client(), names("step", 16)).await;
}

async fn old_key_files_go_when_asked() {
    let installation = Installation::of(Store::sqlite());
    let service = installation.serve().await;
    sign_up(service.client(), "ada").await.expect(201);
    let [old] = key_files(installation.store()).try_into().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let copy = backup.path().join("aegis.db");
    rusqlite::Connection::open(installation.store().file())
        .unwrap()
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    let rotated = installation.done(&["keys", "rotate"]).await;
    let [new, kept] = key_files(installation.store()).try_into().unwrap();
    assert!(kept == old && new != old, "{rotated:?}");
    assert!(rotated.stdout.contains(&format!("master-{}.key", id_of(&old))), "{rotated:?}");
    let deleted = installation.done(&["keys", "rotate", "--delete-old"]).await;
    assert!(deleted.stdout.contains("deleted"), "{deleted:?}");
    let [newest] = key_files(installation.store()).try_into().unwrap();
    // The service, which was told of none of this, goes on.
    sign_up(service.client(), "bob").await.expect(201);
    until("the rows", async || {
        (service.client().log_in(&email_of("bob"), PASSWORD).await.status() == 200).then_some(())
    })
    .await;
    service.kill();
    let service = installation.serve().await;
    assert_all_log_in(service.client(), ["ada".to_owned(), "bob".to_owned()]).await;
    service.kill();
    // A backup from before needs the key of before, and says which that is; whoever kept it can read it.
    fs::write(backup.path().join("master.key"), &newest).unwrap();
    let restored = installation.with("AEGIS_DATA_DIR", backup.path().to_str().unwrap());
    let refused = restored.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&id_of(&old)), "{refused:?}");
    let service = restored.with("AEGIS_MASTER_KEY", &old).serve().await;
    assert_all_log_in(service.client(), ["ada".to_owned()]).await;
}
