//! `aegis webhooks`: management by operators beside a running service.

use serde_json::json;

use super::sign_up;
use crate::support::{
    Deployment, ReceivedDelivery, Reply, Store, WebhookReceiver, email_of, eventually, on_both_stores,
};

on_both_stores! {
    operator_manages_a_webhook_by_cli
    invalid_webhook_commands_are_rejected
    untrusted_certificate_is_not_delivered_to
    erasure_without_a_service_leaves_no_webhook
}

async fn operator_manages_a_webhook_by_cli(store: Store) {
    let deployment = Deployment::of(store).with("AEGIS_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8");
    let service = deployment.serve().await;
    let receiver = WebhookReceiver::start().await;
    sign_up(service.client(), "ada").await;
    let ada = email_of("ada");
    deployment.run_ok(&["users", "grant", &ada, "subscriber"]).await;
    let url = receiver.url("127.0.0.1");
    let types = "UserRegistered,RoleGranted";
    let register = ["webhooks", "register", &url, "--owner", &ada, "--types", types, "--after", "0"];
    let output = deployment.run_ok(&register).await.stdout;
    assert!(output.contains("secret whsec_"), "{output}");
    let accepted = receiver.wait_for_accepted(2).await;
    assert_eq!(accepted.iter().map(ReceivedDelivery::position).collect::<Vec<_>>(), [1, 2]);
    let listed = eventually("progress", async || {
        let mut listed = deployment.json(&["webhooks", "list"]).await;
        assert_eq!(listed.len(), 1);
        listed.pop().filter(|webhook| webhook["previous"] == 2)
    })
    .await;
    let id = listed["id"].as_str().unwrap();
    assert_eq!(
        (&listed["state"], &listed["types"]),
        (&json!("active"), &json!(["UserRegistered", "RoleGranted"]))
    );
    let table = deployment.run_ok(&["webhooks", "list"]).await.stdout;
    assert!(table.contains("POSITION") && table.contains(id) && table.contains("active"), "{table}");
    let attempts = deployment.json(&["webhooks", "deliveries", id]).await;
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 1]);
    assert!(attempts.iter().all(|attempt| attempt["status"] == 204), "{attempts:?}");

    let output = deployment.run_ok(&["webhooks", "cancel-replays", id]).await.stdout;
    assert!(output.contains("has no replays"), "{output}");
    deployment.run_ok(&["webhooks", "replay", id, "--from", "1", "--to", "1"]).await;
    let again = receiver.wait_for_accepted(3).await.pop().unwrap().json();
    assert_eq!((&again["position"], &again["replay"]), (&json!(1), &json!(true)));
    receiver.queue_replies([Reply::RetryAfter(600)]);
    sign_up(service.client(), "bob").await;
    eventually("a failure", async || {
        let table = deployment.run_ok(&["webhooks", "list"]).await.stdout;
        table.contains("failing (status 503)").then_some(())
    })
    .await;
    deployment.run_ok(&["webhooks", "resume", id]).await;
    receiver.wait_for_accepted(4).await;
    let output = deployment.run_ok(&["webhooks", "rotate-secret", id]).await.stdout;
    assert!(output.contains("secret whsec_"), "{output}");
    sign_up(service.client(), "eve").await;
    let signed = receiver.wait_for_accepted(5).await.pop().unwrap();
    assert_eq!(signed.headers["webhook-signature"].split(' ').count(), 2);
    deployment.run_ok(&["webhooks", "delete", id]).await;
    assert!(deployment.json(&["webhooks", "list"]).await.is_empty());
    let log = deployment.json(&["events", "list"]).await;
    let of_webhook: Vec<_> = log
        .iter()
        .filter_map(|event| event["type"].as_str())
        .filter(|name| name.starts_with("Webhook"))
        .collect();
    let expected = ["Registered", "ReplayRequested", "Resumed", "SecretRotated", "Deleted"];
    assert_eq!(of_webhook, expected.map(|what| format!("Webhook{what}")));
    deployment.run_ok(&["events", "verify"]).await;
    deployment.run_ok(&["projections", "verify", "webhooks"]).await;
}

/// A receiver over TLS, stopped on drop.
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
        drop(eventually("the receiver to listen", listens).await);
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

async fn untrusted_certificate_is_not_delivered_to(store: Store) {
    let deployment = Deployment::of(store).with("AEGIS_WEBHOOK_ALLOW_PRIVATE", "127.0.0.1");
    let receiver = Https::start().await;
    let mut service = deployment.serve().await;
    sign_up(service.client(), "ada").await;
    let ada = email_of("ada");
    deployment.run_ok(&["users", "grant", &ada, "admin"]).await;
    let url = format!("https://127.0.0.1:{}/", receiver.port);
    deployment.run_ok(&["webhooks", "register", &url, "--owner", &ada, "--after", "0"]).await;
    let listed = async |deployment: &Deployment| deployment.json(&["webhooks", "list"]).await.remove(0);
    let failing = eventually("a failure", async || {
        Some(listed(&deployment).await).filter(|webhook| webhook["state"] == "failing")
    })
    .await;
    let error = failing["failing"]["error"].as_str().unwrap();
    assert!(error.contains("certificate is not trusted"), "{failing}");
    assert_eq!(receiver.received(), 0, "something was sent to a receiver that is not trusted");
    service.terminate().await;
    let authority = receiver.folder.path().join("ca.pem").display().to_string();
    let deployment = deployment.with("SSL_CERT_FILE", &authority);
    let _service = deployment.serve().await;
    deployment.run_ok(&["webhooks", "resume", failing["id"].as_str().unwrap()]).await;
    eventually("deliveries", async || (receiver.received() >= 3).then_some(())).await;
}

async fn invalid_webhook_commands_are_rejected(store: Store) {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    sign_up(service.client(), "ada").await;
    let ada = email_of("ada");
    let register = async |url: &str, more: &[&str]| {
        deployment.run(&[&["webhooks", "register", url, "--owner", &ada], more].concat()).await
    };
    let failed = register("https://example.com/", &[]).await;
    assert!(failed.code == Some(1) && failed.stderr.contains("subscriber"), "{failed:?}");
    deployment.run_ok(&["users", "grant", &ada, "subscriber"]).await;
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
    let unknown = "0193e2b4-0000-7000-8000-000000000009";
    for arguments in [
        &["deliveries", unknown][..],
        &["delete", unknown],
        &["resume", unknown],
        &["rotate-secret", unknown],
    ] {
        let failed = deployment.run(&[&["webhooks"], arguments].concat()).await;
        assert!(failed.code == Some(1) && failed.stderr.contains("no webhook"), "{failed:?}");
    }
    assert_eq!(deployment.run(&["webhooks", "delete", "x"]).await.code, Some(2));
    let failed = deployment.run(&["webhooks", "replay", unknown, "--from", "9", "--to", "12"]).await;
    assert!(failed.code == Some(1) && failed.stderr.contains("the log ends at position"), "{failed:?}");
}

/// With no service running, the command itself erases the webhooks of the user.
async fn erasure_without_a_service_leaves_no_webhook(store: Store) {
    let deployment = Deployment::of(store).with("AEGIS_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8");
    let mut service = deployment.serve().await;
    let receiver = WebhookReceiver::start().await;
    sign_up(service.client(), "ada").await;
    let ada = email_of("ada");
    deployment.run_ok(&["users", "grant", &ada, "subscriber"]).await;
    let url = receiver.url("127.0.0.1");
    let register =
        ["webhooks", "register", &url, "--owner", &ada, "--after", "0", "--description", "billing"];
    deployment.run_ok(&register).await;
    receiver.wait_for_accepted(1).await;
    service.terminate().await;
    assert_eq!(deployment.json(&["webhooks", "list"]).await.len(), 1);
    deployment.run_ok(&["users", "erase", &ada, "--reason", "request", "--yes"]).await;
    assert!(deployment.json(&["webhooks", "list"]).await.is_empty());
    deployment.run_ok(&["events", "verify"]).await;
}
