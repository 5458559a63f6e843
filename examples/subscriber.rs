#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "this is the program in docs/subscribe.md"
)]
use std::{error::Error, fs::OpenOptions, io::Read, io::Write, time::Duration};

use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [url, path] = [1, 2].map(|number| std::env::args().nth(number).expect("URL and FILE"));
    let token = std::env::var("AEGIS_TOKEN")?;
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1)); // a kill may have torn the last line
    file.set_len(text.len().try_into()?)?;
    let last = text.lines().last().map(serde_json::from_str::<Value>).transpose()?;
    let mut after = last.as_ref().map_or(0, |event| event["position"].as_u64().expect("a position"));
    let mut epoch = last.and_then(|event| event["epoch"].as_u64());
    let client = reqwest::Client::new();
    loop {
        let page = client.get(format!("{url}/api/v1/events?after={after}&limit=500&wait=30"));
        let page = page.bearer_auth(&token).timeout(Duration::from_secs(75)).send().await;
        if let Ok(refused) = &page
            && refused.status().is_client_error()
            && refused.status() != 429
        {
            return Err(refused.status().to_string().into());
        }
        let page = async { page?.error_for_status()?.json::<Value>().await }.await;
        let Ok(page) = page else {
            tokio::time::sleep(Duration::from_secs(1)).await; // the service restarts, or the network is down
            continue;
        };
        for event in page["events"].as_array().expect("a list") {
            assert_eq!(event["position"].as_u64(), Some(after + 1), "an event is missing");
            assert!(epoch.is_none_or(|epoch| event["epoch"] == epoch), "the log was restored from a backup");
            file.write_all(format!("{event}\n").as_bytes())?; // process it and store your position in one step
            (after, epoch) = (after + 1, event["epoch"].as_u64());
        }
    }
}
