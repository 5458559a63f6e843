//! Feed observers: poll the event feed during a crash test. Every event they have seen must be in the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use testkit::service::Client;
use tokio::task::JoinSet;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(15);

/// An event seen in the feed.
#[derive(Clone, Debug)]
pub(crate) struct ObservedEvent {
    pub(crate) position: u64,
    pub(crate) id: String,
}

/// Polls the feed of one service until stopped.
pub(crate) struct FeedObserver {
    seen: Arc<Mutex<Vec<ObservedEvent>>>,
    stop: Arc<AtomicBool>,
    /// Aborted on drop.
    task: JoinSet<()>,
}

impl FeedObserver {
    pub(crate) fn at(client: Client, token: String) -> Self {
        let (seen, stop) = (Arc::<Mutex<Vec<ObservedEvent>>>::default(), Arc::<AtomicBool>::default());
        let (noted, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let mut task = JoinSet::new();
        task.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                look(&client, &token, &noted).await;
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        });
        Self { seen, stop, task }
    }

    /// Every event that was seen.
    pub(crate) async fn stop(self) -> Vec<ObservedEvent> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.join_all().await;
        self.seen.lock().unwrap().clone()
    }
}

async fn look(client: &Client, token: &str, seen: &Mutex<Vec<ObservedEvent>>) {
    let after = seen.lock().unwrap().last().map_or(0, |last| last.position);
    let page = client.get(&format!("/events?after={after}&limit=1000")).bearer(token).timeout(TIMEOUT);
    // No answer while the service is down, and 503 while its database is; anything else is a defect of the
    // feed.
    let Ok(answer) = page.try_send().await else { return };
    if answer.status() == 503 {
        return;
    }
    let body: Value = answer.expect(200).json();
    let mut seen = seen.lock().unwrap();
    for event in body["events"].as_array().unwrap() {
        let position = event["position"].as_u64().unwrap();
        let last = seen.last().map_or(0, |last| last.position);
        assert_eq!(position, last + 1, "the feed skips an event");
        seen.push(ObservedEvent { position, id: event["id"].as_str().unwrap().to_owned() });
    }
}
