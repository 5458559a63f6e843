//! Without a relay, the embedded database writes mails to files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::kills::{administrator, invite};
use crate::support::{Deployment, Store, TestApp, email_of, eventually, metric, metrics, on_one_store};

on_one_store! { sqlite: every_mail_is_one_file_also_after_kills }
mod on_mongodb {
    use super::{mails_are_counted_without_a_relay, on_one_store};

    on_one_store! { mongo: mails_are_counted_without_a_relay }
}

/// The mails in the outbox by recipient.
fn mails(deployment: &Deployment) -> BTreeMap<String, Vec<String>> {
    let mut mails = BTreeMap::<_, Vec<_>>::new();
    let folder = deployment.store().folder().join("outbox");
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            let to = text.lines().find_map(|line| line.strip_prefix("To: ")).unwrap().to_owned();
            mails.entry(to).or_default().push(text);
        }
    }
    mails
}

async fn every_mail_is_one_file_also_after_kills() {
    let deployment = Deployment::of(Store::sqlite());
    let mut invited = Vec::new();
    let mut token = None;
    for round in 0..4 {
        let service = deployment.serve().await;
        let token = match &token {
            Some(token) => token,
            None => token.insert(administrator(&deployment, service.client()).await),
        };
        for number in 0..10 {
            let name = format!("user-{round}-{number}");
            invite(service.client(), token, &name).await;
            invited.push(email_of(&name));
        }
        service.kill();
    }
    let service = deployment.serve().await;
    let ready = service.client().get("/health/ready").send().await;
    assert_eq!(ready.json()["mail"], "outbox");
    let all = eventually("all mails", async || {
        let mails = mails(&deployment);
        invited.iter().all(|email| mails.contains_key(email)).then_some(mails)
    })
    .await;
    assert_eq!(all.len(), invited.len());
    for (email, mails) in &all {
        assert_eq!(mails.len(), 1, "{email}");
        assert!(mails[0].contains("Message-ID: <"), "{mails:?}");
    }
    let folder = deployment.store().folder().join("outbox");
    assert_eq!(fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
}

async fn mails_are_counted_without_a_relay() {
    let app = TestApp::start(Store::mongo().await).await;
    super::invite(&app.admin().await, "zoe").await;
    let counted = async || {
        let text = metrics(&app).await;
        (metric(&text, "aegis_mails_total{outcome=\"discarded\"}") == Some(1.0)).then_some(())
    };
    eventually("the mail is counted", counted).await;
    let body = app.readiness().await.expect(200).json();
    assert_eq!((&body["status"], &body["mail"]), (&"ok".into(), &"off".into()));
}
