//! SIGTERM, and what is kept where.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::{newcomer, token};
use crate::support::{Installation, PASSWORD, Store, email_of, on_both_stores, on_one_store, until};

on_both_stores! {
    sigterm_ends_it_in_good_order_with_streams_open
    nothing_personal_is_printed
}

mod embedded {
    use super::{keys_are_made_once_and_kept_to_the_owner, on_one_store};

    on_one_store! { sqlite: keys_are_made_once_and_kept_to_the_owner }
}

async fn sigterm_ends_it_in_good_order_with_streams_open(store: Store) {
    let installation = Installation::of(store);
    let mut service = installation.serve().await;
    let (_, auditor) = newcomer(service.client(), "ada").await;
    installation.done(&["users", "grant", &email_of("ada"), "auditor"]).await;
    until("the role", async || {
        let asked = service.client().get("/events").bearer(&auditor).send().await;
        (asked.status() == 200).then_some(())
    })
    .await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(service.client().get("/events/stream?after=0").bearer(&auditor).open().await);
    }
    for stream in &mut streams {
        stream.positions(2).await;
    }
    let started = Instant::now();
    let status = service.terminate().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(status.code(), Some(0), "{}", service.said());
    for stream in &mut streams {
        assert_eq!(stream.event().await, None);
    }
}

async fn nothing_personal_is_printed(store: Store) {
    let installation = Installation::of(store);
    let mut service = installation.serve().await;
    newcomer(service.client(), "zyxprintmarker").await;
    service.client().log_in(&email_of("zyxprintmarker"), "wrong").await.expect(400);
    service
        .client()
        .post("/auth/signup")
        .body("application/json", "{\"email\":\"zyxprintmarker")
        .send()
        .await
        .expect(422);
    assert!(service.terminate().await.success());
    let said = service.said();
    assert!(
        !said.contains("zyxprintmarker") && !said.contains(PASSWORD) && !said.contains("$argon2"),
        "{said}"
    );
}

async fn keys_are_made_once_and_kept_to_the_owner() {
    let installation = Installation::of(Store::sqlite());
    let mut service = installation.serve().await;
    let (_, issued) = newcomer(service.client(), "ada").await;
    let folder = installation.store().file().parent().unwrap().to_owned();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 3, "the database and two keys: {seen} files");
    assert!(service.terminate().await.success());
    let service = installation.serve().await;
    service.client().me(&issued).await.expect(200);
    token(service.client(), &email_of("ada"), PASSWORD).await;
}
