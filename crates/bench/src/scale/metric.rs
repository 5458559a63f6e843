//! The figures that are shown, in their order.

use super::point::Figures;

pub(super) struct Metric {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) value: fn(&Figures) -> f64,
}

pub(super) const METRICS: [Metric; 9] = [
    Metric { title: "GET /users/me", unit: "requests/s", value: |figures| figures.users_me_per_second },
    Metric { title: "GET /users/me, p99", unit: "ms", value: |figures| figures.users_me_p99_ms },
    Metric { title: "Logins without hash", unit: "logins/s", value: |figures| figures.logins_per_second },
    Metric {
        title: "Sign-ups without hash",
        unit: "sign-ups/s",
        value: |figures| figures.sign_ups_per_second,
    },
    Metric { title: "Import", unit: "users/s", value: |figures| figures.imported_per_second },
    Metric { title: "Rebuild of users", unit: "rows/s", value: |figures| figures.rebuilt_rows_per_second },
    Metric { title: "Start-up", unit: "ms", value: |figures| figures.start_up_ms },
    Metric { title: "Resident memory", unit: "MB", value: |figures| figures.resident_mb },
    Metric { title: "Disk", unit: "bytes/user", value: |figures| figures.disk_bytes_per_user },
];

/// With separators of thousands, and decimals where there are few digits.
pub(super) fn number(value: f64) -> String {
    if value < 9.95 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_of_thousands() {
        let shown = [0.0, 0.5, 9.0, 9.96, 999.0, 1000.0, 1_234_567.0].map(number);
        assert_eq!(shown, ["0", "0.5", "9", "10", "999", "1,000", "1,234,567"]);
    }
}
