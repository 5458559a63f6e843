//! Metrics of a service.

use reqwest::Method;

use super::Client;

/// All metrics, as `GET /metrics` returns them.
pub(crate) async fn metrics(client: &Client) -> String {
    client.request_at_root(Method::GET, "/metrics").send().await.expect(200).text()
}

/// The value of a series, if present.
#[track_caller]
pub(crate) fn metric(text: &str, series: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let values: Vec<f64> = values.map(|value| value.parse().unwrap()).collect();
    assert!(values.len() <= 1, "{series} occurs {} times in {text}", values.len());
    values.first().copied()
}
