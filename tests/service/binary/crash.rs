//! SIGKILL under load: every acknowledged write survives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Mutex;

use super::token;
use crate::support::{
    Client, Deployment, PASSWORD, Store, assert_no_gap, credentials, email_of, eventually, on_both_stores,
};

on_both_stores! {
    acknowledged_sign_ups_survive_five_kills
}

/// Signs users up until the service stops responding; records those acknowledged with 201.
async fn sign_up_until_the_end(
    client: Client,
    numbers: Arc<AtomicUsize>,
    acknowledged: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let name = format!("user{}", numbers.fetch_add(1, Ordering::Relaxed));
        let sent = client.post("/auth/signup").json(&credentials(&name)).try_send().await;
        let Ok(answer) = sent else { return };
        if answer.status() == 201 {
            acknowledged.lock().await.push(name);
        }
    }
}

async fn acknowledged_sign_ups_survive_five_kills(store: Store) {
    let deployment = Deployment::of(store);
    let numbers = Arc::new(AtomicUsize::new(0));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for round in 1..=5 {
        let service = deployment.serve().await;
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let work =
                    sign_up_until_the_end(service.client().clone(), numbers.clone(), acknowledged.clone());
                tokio::spawn(work)
            })
            .collect();
        eventually("sign-ups", async || (acknowledged.lock().await.len() >= round * 40).then_some(())).await;
        service.kill();
        for writer in writers {
            writer.await.unwrap();
        }
    }
    let service = deployment.serve().await;
    let acknowledged = acknowledged.lock().await.clone();
    for name in &acknowledged {
        token(service.client(), &email_of(name), PASSWORD).await;
    }
    let events = deployment.json(&["events", "list"]).await;
    assert_no_gap(&events);
    deployment.run_ok(&["events", "verify"]).await;
    assert!(events.len() >= acknowledged.len());
    let registered = events.iter().filter(|event| event["type"] == "UserRegistered").count();
    assert_eq!(registered, deployment.json(&["users", "list"]).await.len());
}
