//! Graceful shutdown by SIGTERM, printed output and key files.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::{new_user, token};
use crate::support::{Deployment, PASSWORD, Store, email_of, eventually, on_both_stores, on_one_store};

on_both_stores! {
    sigterm_shuts_down_gracefully_with_open_streams
    no_personal_data_is_printed
}

mod embedded {
    use super::{key_files_are_generated_once_and_readable_by_the_owner_only, on_one_store};

    on_one_store! { sqlite: key_files_are_generated_once_and_readable_by_the_owner_only }
}

async fn sigterm_shuts_down_gracefully_with_open_streams(store: Store) {
    let deployment = Deployment::of(store);
    let mut service = deployment.serve().await;
    let (_, auditor) = new_user(service.client(), "ada").await;
    deployment.run_ok(&["users", "grant", &email_of("ada"), "auditor"]).await;
    eventually("the role", async || {
        let asked = service.client().get("/events").bearer(&auditor).send().await;
        (asked.status() == 200).then_some(())
    })
    .await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(service.client().get("/events/stream?after=0").bearer(&auditor).open().await);
    }
    for stream in &mut streams {
        stream.positions(3).await;
    }
    let started = Instant::now();
    let status = service.terminate().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(status.code(), Some(0), "{}", service.output());
    for stream in &mut streams {
        assert_eq!(stream.event().await, None);
    }
}

async fn no_personal_data_is_printed(store: Store) {
    let deployment = Deployment::of(store);
    let mut service = deployment.serve().await;
    new_user(service.client(), "zyxprintmarker").await;
    service.client().log_in(&email_of("zyxprintmarker"), "wrong").await.expect(400);
    service
        .client()
        .post("/auth/signup")
        .body("application/json", "{\"email\":\"zyxprintmarker")
        .send()
        .await
        .expect(422);
    assert!(service.terminate().await.success());
    let output = service.output();
    assert!(
        !output.contains("zyxprintmarker") && !output.contains(PASSWORD) && !output.contains("$argon2"),
        "{output}"
    );
}

async fn key_files_are_generated_once_and_readable_by_the_owner_only() {
    let deployment = Deployment::of(Store::sqlite());
    let mut service = deployment.serve().await;
    let (_, issued) = new_user(service.client(), "ada").await;
    let folder = deployment.store().file().parent().unwrap().to_owned();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 3, "the database and two keys: {seen} files");
    assert!(service.terminate().await.success());
    let service = deployment.serve().await;
    service.client().me(&issued).await.expect(200);
    token(service.client(), &email_of("ada"), PASSWORD).await;
}
