//! The two text formats of metrics: `OpenMetrics`, which the library writes, and the classic one of
//! Prometheus, which other readers of metrics expect, such as `promtool check metrics`.

use std::fmt::Write;

use axum::http::{HeaderMap, header};

/// `OpenMetrics` 1.0.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The text format of Prometheus.
pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether `Accept` names `OpenMetrics`, and does not exclude it.
pub(super) fn accepts_open_metrics(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named =
            parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        is_named && weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f64| weight > 0.0))
    })
}

/// Rewrites `OpenMetrics` as the classic format. In the latter a family has the name of its samples, types
/// that it does not know are gauges, and there are no units and no end mark. The service has no exemplars.
pub(super) fn to_classic(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            // Followed by the type, which determines the name.
            (Some("#"), Some("HELP"), Some(_), text) => help = text,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    other => ("", other),
                };
                if let Some(help) = help.take() {
                    // Writing to a string does not fail.
                    let _written = writeln!(classic, "# HELP {name}{suffix} {help}");
                }
                let _written = writeln!(classic, "# TYPE {name}{suffix} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                classic.push_str(line);
                classic.push('\n');
            }
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn open_metrics_is_served_to_those_that_name_it() {
        let accepts = |accept: &'static str| {
            accepts_open_metrics(&[(header::ACCEPT, HeaderValue::from_static(accept))].into_iter().collect())
        };
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0",
            "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.1",
        ] {
            assert!(accepts(accept), "{accept}");
        }
        for accept in ["", "*/*", "text/plain", "application/*", "application/openmetrics-text;q=0"] {
            assert!(!accepts(accept), "{accept}");
        }
        assert!(!accepts_open_metrics(&HeaderMap::new()));
    }

    #[test]
    fn families_have_the_names_of_their_samples_in_the_classic_format() {
        let open = "\
# HELP a_build The version.
# TYPE a_build info
a_build_info{version=\"1\"} 1
# HELP a_requests Requests.
# TYPE a_requests counter
a_requests_total{p=\"# x\"} 2
# HELP a_wait_seconds Time.
# TYPE a_wait_seconds histogram
# UNIT a_wait_seconds seconds
a_wait_seconds_sum 0.5
a_wait_seconds_count 1
a_wait_seconds_bucket{le=\"+Inf\"} 1
# TYPE a_other unknown
a_other 1
# EOF
";
        let classic = "\
# HELP a_build_info The version.
# TYPE a_build_info gauge
a_build_info{version=\"1\"} 1
# HELP a_requests_total Requests.
# TYPE a_requests_total counter
a_requests_total{p=\"# x\"} 2
# HELP a_wait_seconds Time.
# TYPE a_wait_seconds histogram
a_wait_seconds_sum 0.5
a_wait_seconds_count 1
a_wait_seconds_bucket{le=\"+Inf\"} 1
# TYPE a_other untyped
a_other 1
";
        assert_eq!(to_classic(open), classic);
    }
}
