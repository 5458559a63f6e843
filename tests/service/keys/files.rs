//! Master keys in the data folder: a rotation generates the new one itself.

use std::fs;
use std::time::Duration;

use super::{assert_all_log_in, id_of, key_summary, names, sign_up, status};
use crate::support::{Deployment, PASSWORD, Store, email_of, eventually, on_one_store};

on_one_store! { sqlite:
    generated_key_rotation_survives_a_kill_at_any_point
    old_key_files_are_deleted_on_request
}

/// The master key files, current first.
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

async fn generated_key_rotation_survives_a_kill_at_any_point() {
    let deployment = Deployment::of(Store::sqlite());
    let service = deployment.serve().await;
    for name in names("user", 5) {
        sign_up(service.client(), &name).await.expect(201);
    }
    // At any moment, also between generating the key and wrapping with it.
    for step in 0..16 {
        let rotating = deployment.start(&["keys", "rotate"]);
        tokio::time::sleep(Duration::from_millis(6 * step)).await;
        rotating.kill();
        sign_up(service.client(), &format!("step{step}")).await.expect(201);
        deployment.run_ok(&["events", "verify"]).await;
    }
    deployment.run_ok(&["keys", "rotate"]).await;
    let status = status(&deployment).await;
    assert_eq!(key_summary(&status)[0], ("current".to_owned(), 21, 2), "{status}");
    assert_all_log_in(service.client(), names("user", 5).chain(names("step", 16))).await;
    assert!(key_files(deployment.store()).iter().all(|key| !service.output().contains(key)));
    service.kill();
    let service = deployment.serve().await;
    assert_all_log_in(service.client(), names("step", 16)).await;
}

async fn old_key_files_are_deleted_on_request() {
    let deployment = Deployment::of(Store::sqlite());
    let service = deployment.serve().await;
    sign_up(service.client(), "ada").await.expect(201);
    let [old] = key_files(deployment.store()).try_into().unwrap();
    let backup = tempfile::tempdir().unwrap();
    let copy = backup.path().join("aegis.db");
    rusqlite::Connection::open(deployment.store().file())
        .unwrap()
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    let rotated = deployment.run_ok(&["keys", "rotate"]).await;
    let [new, previous] = key_files(deployment.store()).try_into().unwrap();
    assert!(previous == old && new != old, "{rotated:?}");
    assert!(rotated.stdout.contains(&format!("master-{}.key", id_of(&old))), "{rotated:?}");
    let deleted = deployment.run_ok(&["keys", "rotate", "--delete-old"]).await;
    assert!(deleted.stdout.contains("deleted"), "{deleted:?}");
    let [newest] = key_files(deployment.store()).try_into().unwrap();
    // The running service is unaffected.
    sign_up(service.client(), "bob").await.expect(201);
    eventually("the rows", async || {
        (service.client().log_in(&email_of("bob"), PASSWORD).await.status() == 200).then_some(())
    })
    .await;
    service.kill();
    let service = deployment.serve().await;
    assert_all_log_in(service.client(), ["ada".to_owned(), "bob".to_owned()]).await;
    service.kill();
    // An earlier backup names the previous key, and can be read with it.
    fs::write(backup.path().join("master.key"), &newest).unwrap();
    let restored = deployment.with("AEGIS_DATA_DIR", backup.path().to_str().unwrap());
    let refused = restored.run(&["serve"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&id_of(&old)), "{refused:?}");
    let service = restored.with("AEGIS_MASTER_KEY", &old).serve().await;
    assert_all_log_in(service.client(), ["ada".to_owned()]).await;
}
