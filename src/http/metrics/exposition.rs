//! The text format of Prometheus, as much of it as is needed. Names, help and labels are ours: none needs escaping.

use std::fmt::Display;

use store::metrics::Distribution;

/// Metrics as lines of text, one after the other.
#[derive(Default)]
pub(super) struct Exposition(Vec<String>);

impl Exposition {
    /// A number that rises and falls.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.head(name, help, "gauge");
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(&format!("{name}{labels}"), value);
    }

    /// Numbers that only rise, told apart by one label.
    pub(super) fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.head(name, help, "counter");
        for (of, value) in values {
            self.line(&format!("{name}{{{label}=\"{of}\"}}"), value);
        }
    }

    /// A distribution, in units of which `per_unit` are one as it is shown.
    #[expect(clippy::cast_precision_loss, reason = "sums beyond 2^53 microseconds take centuries")]
    #[expect(clippy::as_conversions, reason = "there is no other way from u64 to f64")]
    pub(super) fn histogram(&mut self, name: &str, help: &str, values: &Distribution, per_unit: f64) {
        self.head(name, help, "histogram");
        let mut up_to = 0;
        for (bound, count) in &values.counts {
            up_to += count;
            let bound = *bound as f64 / per_unit;
            self.line(&format!("{name}_bucket{{le=\"{bound}\"}}"), up_to);
        }
        self.line(&format!("{name}_bucket{{le=\"+Inf\"}}"), values.count());
        self.line(&format!("{name}_sum"), values.sum as f64 / per_unit);
        self.line(&format!("{name}_count"), values.count());
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.0.concat()
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0.push(format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, series: &str, value: impl Display) {
        self.0.push(format!("{series} {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_prometheus_reads_it() {
        let mut out = Exposition::default();
        out.gauge("depth", "How deep.", &[], 3);
        out.gauge("info", "Which.", &[("version", "1.2"), ("kind", "x")], 1);
        out.counters("done_total", "Done.", "outcome", &[("well", 2), ("ill", 0)]);
        let took = Distribution { counts: vec![(500, 1), (2_000_000, 2)], above: 1, sum: 12_345_678 };
        out.histogram("took_seconds", "How long.", &took, 1_000_000.0);
        let expected = "\
# HELP depth How deep.
# TYPE depth gauge
depth 3
# HELP info Which.
# TYPE info gauge
info{version=\"1.2\",kind=\"x\"} 1
# HELP done_total Done.
# TYPE done_total counter
done_total{outcome=\"well\"} 2
done_total{outcome=\"ill\"} 0
# HELP took_seconds How long.
# TYPE took_seconds histogram
took_seconds_bucket{le=\"0.0005\"} 1
took_seconds_bucket{le=\"2\"} 3
took_seconds_bucket{le=\"+Inf\"} 4
took_seconds_sum 12.345678
took_seconds_count 4
";
        assert_eq!(out.into_text(), expected);
    }
}
