//! A rotation between two master keys from the settings.

use super::{
    NEW_KEY, assert_all_log_in, assert_refused, contains_keys, id_of, key_summary, names, sign_up, status,
    with_keys,
};
use crate::support::{MASTER_KEY, PASSWORD, Store, dump, email_of, eventually, on_both_stores, on_one_store};

on_both_stores! {
    rotation_beside_a_service_loses_no_user_and_restores_no_erased_one
    rotation_without_a_new_key_explains_how_to_create_one
}

mod two_services {
    use super::{on_one_store, service_without_the_new_key_reports_it};

    on_one_store! { mongo: service_without_the_new_key_reports_it }
}

async fn rotation_beside_a_service_loses_no_user_and_restores_no_erased_one(store: Store) {
    let old = with_keys(&store, &[MASTER_KEY]);
    let mut first = old.serve().await;
    for name in names("early", 6).chain(["erased".to_owned()]) {
        sign_up(first.client(), &name).await.expect(201);
    }
    assert!(first.terminate().await.success());

    let both = with_keys(&store, &[NEW_KEY, MASTER_KEY]);
    let mut service = both.serve().await;
    // Nothing is wrapped by the new key before the rotation, so services without it continue to work.
    sign_up(service.client(), "between").await.expect(201);
    let before = status(&both).await;
    assert_eq!(key_summary(&before), [("current".to_owned(), 0, 0), ("previous".to_owned(), 8, 2)]);
    assert!(before["next"][0].as_str().unwrap().contains("aegis keys rotate"), "{before}");
    old.run_ok(&["events", "verify"]).await;

    let (client, erased_email) = (service.client(), email_of("erased"));
    let coming = async {
        for name in names("late", 20) {
            sign_up(client, &name).await.expect(201);
        }
    };
    let erasing = ["users", "erase", &erased_email, "--reason", "request", "--yes"];
    let rotating = ["keys", "rotate"];
    let (rotated, again, erased, ()) =
        tokio::join!(both.run_ok(&rotating), both.run_ok(&rotating), both.run_ok(&erasing), coming);
    assert!(rotated.stdout.contains(&id_of(NEW_KEY)) && rotated.stdout.contains("AEGIS_MASTER_KEY_PREVIOUS"));
    let after = status(&both).await;
    assert_eq!(key_summary(&after), [("current".to_owned(), 27, 2), ("previous".to_owned(), 0, 0)]);

    let remaining = || names("early", 6).chain(names("late", 20)).chain(["between".to_owned()]);
    assert_all_log_in(client, remaining()).await;
    assert_eq!(client.log_in(&erased_email, PASSWORD).await.code(400), "invalid_credentials");
    both.run_ok(&["events", "verify"]).await;
    assert!(service.terminate().await.success());
    assert!(!contains_keys(&format!("{}{rotated:?}{again:?}{erased:?}{before}{after}", service.output())));

    assert_refused(&old, NEW_KEY, "27 stream keys and the service keys claims, signing").await;
    let new = with_keys(&store, &[NEW_KEY]);
    let service = new.serve().await;
    assert_all_log_in(service.client(), remaining()).await;
    assert_eq!(sign_up(service.client(), "late0").await.code(400), "email_taken");
    sign_up(service.client(), "erased").await.expect(201);
    new.run_ok(&["projections", "rebuild", "users"]).await;
    new.run_ok(&["events", "verify"]).await;
}

async fn rotation_without_a_new_key_explains_how_to_create_one(store: Store) {
    let deployment = with_keys(&store, &[MASTER_KEY]);
    let mut service = deployment.serve().await;
    sign_up(service.client(), "ada").await.expect(201);
    assert!(service.terminate().await.success());
    let before = dump(&store).await;
    let done = deployment.run_ok(&["keys", "rotate"]).await;
    assert!(done.stdout.contains("AEGIS_MASTER_KEY_PREVIOUS"), "{done:?}");
    let refused = deployment.run(&["keys", "rotate", "--delete-old"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    // The new key without the previous one.
    let alone = with_keys(&store, &[NEW_KEY]).run(&["keys", "rotate"]).await;
    assert_eq!(alone.code, Some(1), "{alone:?}");
    assert!(alone.stderr.contains(&id_of(MASTER_KEY)), "{alone:?}");
    assert!(before == dump(&store).await, "the database was changed");
    let faulty = with_keys(&store, &[NEW_KEY, MASTER_KEY, "short"]).run(&["keys", "status"]).await;
    assert!(faulty.stderr.contains("its key no. 2 is not 32 bytes"), "{faulty:?}");
    let shown = with_keys(&store, &[NEW_KEY, MASTER_KEY]).run_ok(&["config"]).await;
    assert!(
        shown.stdout.contains("AEGIS_MASTER_KEY_PREVIOUS=********") && !contains_keys(&format!("{shown:?}"))
    );
}

/// Before the rotation it works like the others; afterwards it cannot register users and reports why.
async fn service_without_the_new_key_reports_it() {
    let store = Store::mongo().await;
    let behind = with_keys(&store, &[MASTER_KEY]).serve().await;
    let both = with_keys(&store, &[NEW_KEY, MASTER_KEY]);
    let ahead = both.serve().await;
    sign_up(ahead.client(), "ada").await.expect(201);
    sign_up(behind.client(), "bob").await.expect(201);
    both.run_ok(&["keys", "rotate"]).await;
    assert_eq!(sign_up(behind.client(), "cid").await.code(503), "unavailable");
    eventually("the key in the log", async || behind.output().contains(&id_of(NEW_KEY)).then_some(())).await;
    for name in ["cid", "dan"] {
        sign_up(ahead.client(), name).await.expect(201);
    }
    // If it holds the projector leases, it leaves them to another service.
    eventually("all rows", async || {
        let last = ahead.client().log_in(&email_of("dan"), PASSWORD).await;
        (last.status() == 200).then_some(())
    })
    .await;
    assert_all_log_in(ahead.client(), ["ada", "bob", "cid", "dan"].map(str::to_owned)).await;
    behind.kill();
    with_keys(&store, &[NEW_KEY]).run_ok(&["events", "verify"]).await;
}
