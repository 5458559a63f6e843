//! `aegis webhooks`: what operators do with them, beside a running service.

use serde_json::json;

use super::sign_up;
use crate::support::{Delivery, Installation, Receiver, Reply, Store, email_of, on_both_stores, until};

on_both_stores! {
    an_operator_looks_after_a_webhook
    what_cannot_be_is_refused
    a_certificate_has_to_be_trusted
}

async fn an_operator_looks_after_a_webhook(store: Store) {
    let installation = Installation::of(store).with("AEGIS_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8");
    let service = installation.serve().await;
    let receiver = Receiver::start().await;
    sign_up(service.client(), "ada").await;
    let ada = email_of("ada");
    installation.done(&["users", "grant", &ada, "subscriber"]).await;
    let url = receiver.url("127.0.0.1");
    let types = "UserRegistered,RoleGranted";
    let register = ["webhooks", "register", &url, "--owner", &ada, "--types", types, "--after", "0"];
    let said = installation.done(&register).await.stdout;
    assert!(said.contains("secret whsec_"), "{said}");
    let accepted = receiver.accepted(2).await;
    assert_eq!(accepted.iter().map(Delivery::position).collect::<Vec<_>>(), [1, 2]);
    let listed = until("progress", async || {
        let mut listed = installation.json(&["webhooks", "list"]).await;
        assert_eq!(listed.len(), 1);
        listed.pop().filter(|webhook| webhook["previous"] == 2)
    })
    .await;
    let id = listed["id"].as_str().unwrap();
    assert_eq!(
        (&listed["state"], &listed["types"]),
        (&json!("active"), &json!(["UserRegistered", "RoleGranted"]))
    );
    let table = installation.done(&["webhooks", "list"]).await.stdout;
    assert!(table.contains("POSITION") && table.contains(id) && table.contains("active"), "{table}");
    let attempts = installation.json(&["webhooks", "deliveries", id]).await;
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 1]);
    assert!(attempts.iter().all(|attempt| attempt["status"] == 204), "{attempts:?}");

    installation.done(&["webhooks", "replay", id, "--from", "1", "--to", "1"]).await;
    let again = receiver.accepted(3).await.pop().unwrap().json();
    assert_eq!((&again["position"], &again["replay"]), (&json!(1), &json!(true)));
    receiver.next([Reply::RetryAfter(600)]);
    sign_up(service.client(), "bob").await;
    until("a failure", async || {
        let table = installation.done(&["webhooks", "list"]).await.stdout;
        table.contains("failing (status 503)").then_some(())
    })
    .await;
    installation.done(&["webhooks", "resume", id]).await;
    receiver.accepted(4).await;
    let said = installation.done(&["webhooks", "rotate-secret", id]).await.stdout;
    assert!(said.contains("secret whsec_"), "{said}");
    sign_up(service.client(), "eve").await;
    let signed = receiver.accepted(5).await.pop().unwrap();
    assert_eq!(signed.headers["webhook-signature"].split(' ').count(), 2);
    installation.done(&["webhooks", "delete", id]).await;
    assert!(installation.json(&["webhooks", "list"]).await.is_empty());
    let log = installation.json(&["events", "list"]).await;
    let of_webhook: Vec<_> = log
        .iter()
        .filter_map(|event| event["type"].as_str())
        .filter(|name| name.starts_with("Webhook"))
        .collect();
    let expected = ["Registered", "ReplayRequested", "Resumed", "SecretRotated", "Deleted"];
    assert_eq!(of_webhook, expected.map(|what| format!("Webhook{what}")));
    installation.done(&["events", "verify"]).await;
    installation.done(&["projections", "verify", "webhooks"]).await;
}

/// A receiver over TLS, until it is dropped.
struct Https {
    child: std::process::Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Https {
    async fn start() -> Self {
        let (folder, port) = (tempfile::TempDir::new().unwrap(), testkit::reserve_port());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service/binary/https.py");
        let child = testkit::python().arg(script).arg(folder.path()).arg(port.to_string()).spawn().unwrap();
        let https = Self { child, folder, port };
        let listens = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok();
        drop(until("the receiver to listen", listens).await);
        https
    }

    fn received(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("received")).unwrap_or_default().lines().count()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

async fn a_certificate_has_to_be_trusted(store: Store) {
    let installation = Installation::of(store).with("AEGIS_WEBHOOK_ALLOW_PRIVATE", "127.0.0.1");
    let receiver = Https::start().await;
    let mut service = installation.serve().await;
    sign_up(service.client(), "ada").await;
    let ada = email_of("ada");
    installation.done(&["users", "grant", &ada, "admin"]).await;
    let url = format!("https://127.0.0.1:{}/", receiver.port);
    installation.done(&["webhooks", "register", &url, "--owner", &ada, "--after", "0"]).await;
    let listed = async |installation: &Installation| installation.json(&["webhooks", "list"]).await.remove(0);
    let failing = until("a failure", async || {
        Some(listed(&installation).await).filter(|webhook| webhook["state"] == "failing")
    })
    .await;
    let error = failing["failing"]["error"].as_str().unwrap();
    assert!(error.contains("certificate is not trusted"), "{failing}");
    assert_eq!(receiver.received(), 0, "something was sent to a receiver that is not trusted");
    service.terminate().await;
    let authority = receiver.folder.path().join("ca.pem").display().to_string();
    let installation = installation.with("SSL_CERT_FILE", &authority);
    let _service = installation.serve().await;
    installation.done(&["webhooks", "resume", failing["id"].as_str().unwrap()]).await;
    until("deliveries", async || (receiver.received() >= 3).then_some(())).await;
}

async fn what_cannot_be_is_refused(store: Store) {
    let installation = Installation::of(store);
    let service = installation.serve().await;
    sign_up(service.client(), "ada").await;
    let ada = email_of("ada");
    let register = async |url: &str, more: &[&str]| {
        installation.run(&[&["webhooks", "register", url, "--owner", &ada], more].concat()).await
    };
    let failed = register("https://example.com/", &[]).await;
    assert!(failed.code == Some(1) && failed.stderr.contains("subscriber"), "{failed:?}");
    installation.done(&["users", "grant", &ada, "subscriber"]).await;
    for url in ["https://127.0.0.1/", "https://[::ffff:169.254.169.254]/", "https://localhost/"] {
        let failed = register(url, &[]).await;
        assert!(
            failed.code == Some(1) && failed.stderr.contains("AEGIS_WEBHOOK_ALLOW_PRIVATE"),
            "{failed:?}"
        );
    }
    for (url, more) in [
        ("nonsense", &[][..]),
        ("https://a:b@example.com/", &[]),
        ("https://example.com/", &["--types", "No"]),
    ] {
        assert_eq!(register(url, more).await.code, Some(2), "{url}");
    }
    let nobody = "0193e2b4-0000-7000-8000-000000000009";
    for arguments in
        [&["deliveries", nobody][..], &["delete", nobody], &["resume", nobody], &["rotate-secret", nobody]]
    {
        let failed = installation.run(&[&["webhooks"], arguments].concat()).await;
        assert!(failed.code == Some(1) && failed.stderr.contains("no webhook"), "{failed:?}");
    }
    assert_eq!(installation.run(&["webhooks", "delete", "x"]).await.code, Some(2));
    let failed = installation.run(&["webhooks", "replay", nobody, "--from", "9", "--to", "12"]).await;
    assert!(failed.code == Some(1) && failed.stderr.contains("the log ends at position"), "{failed:?}");
}
