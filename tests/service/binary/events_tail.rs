//! `aegis events tail`: the last events, and new ones as they are appended.

use serde_json::Value;

use super::sign_up;
use crate::support::{Deployment, Store, eventually, on_both_stores};

on_both_stores! {
    tail_prints_the_last_events
    killed_tail_resumes_at_its_position
}

fn positions(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["position"].as_u64().unwrap()).collect()
}

async fn tail_prints_the_last_events(store: Store) {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    for number in 0..12 {
        sign_up(service.client(), &format!("user{number}")).await;
    }
    let tail = async |arguments: &[&str]| {
        positions(&deployment.json(&[&["events", "tail"], arguments].concat()).await)
    };
    assert!(tail(&[]).await.iter().copied().eq(3..=12));
    assert_eq!(tail(&["-n", "2"]).await, [11, 12]);
    assert!(tail(&["--lines", "99"]).await.iter().copied().eq(1..=12));
    assert_eq!(tail(&["--after", "10"]).await, [11, 12]);
    assert!(tail(&["--after", "12"]).await.is_empty());
    let shown = deployment.run_ok(&["events", "tail", "-n", "1"]).await.stdout;
    assert!(shown.contains("POSITION") && shown.contains("UserRegistered"), "{shown}");
    assert_eq!(deployment.run(&["events", "tail", "-n", "1", "--after", "1"]).await.code, Some(2));
    for arguments in [&["--after", "13"][..], &["--after", "13", "--follow"]] {
        let failed = deployment.run(&[&["events", "tail"], arguments].concat()).await;
        assert!(failed.code == Some(1) && failed.stderr.contains("ends at position 12"), "{failed:?}");
    }
}

async fn killed_tail_resumes_at_its_position(store: Store) {
    let deployment = Deployment::of(store);
    let service = deployment.serve().await;
    let mut seen = Vec::new();
    for round in 1..=4 {
        let after = seen.last().copied().unwrap_or(0).to_string();
        let following = deployment.start(&["events", "tail", "--follow", "--after", &after, "--json"]);
        sign_up(service.client(), &format!("user{round}")).await;
        let whole = || {
            let output = following.output();
            let whole = &output[..output.rfind('\n').map_or(0, |end| end + 1)];
            let lines = whole.lines().filter(|line| line.starts_with('{'));
            positions(&lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
        };
        eventually("the event to be printed", async || whole().contains(&round).then_some(())).await;
        seen.extend(whole());
        following.kill();
    }
    assert_eq!(seen, [1, 2, 3, 4]);
}
