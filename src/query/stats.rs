//! How many users there are, and what happened to them day by day: rows of the read model `daily`.

use std::sync::Arc;

use jiff::civil::Date;
use projections::{Daily, DayRow};
use store::{EventStore, Position, ReadModelStore};

use super::QueryError;

/// How many days are read at once.
const PAGE: usize = 500;

/// How many users there are, and what happened to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many ever came.
    pub registered: i64,
    /// How many of them may log in now.
    pub active: i64,
    /// How many are deactivated now, and not erased.
    pub deactivated: i64,
    /// How many were erased.
    pub erased: i64,
    /// The last position that is in these numbers.
    pub position: u64,
    /// The days on which something happened, by date.
    pub days: Vec<DayStats>,
}

/// What happened on one day, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayStats {
    /// The date.
    pub day: String,
    /// How many came.
    pub registered: i64,
    /// How many were deactivated.
    pub deactivated: i64,
    /// How many were activated again.
    pub reactivated: i64,
    /// How many were erased.
    pub erased: i64,
    /// How many were active at its end.
    pub active: i64,
}

/// Reads the `daily` rows.
#[derive(Clone)]
pub struct StatsQueries {
    store: EventStore,
    rows: Arc<dyn ReadModelStore>,
}

impl StatsQueries {
    /// Queries of these rows, as fresh as this log.
    #[must_use]
    pub fn new(store: EventStore, rows: Arc<dyn ReadModelStore>) -> Self {
        Self { store, rows }
    }

    /// Everything there is, with the days from `from` to `to`, both included.
    ///
    /// # Errors
    /// [`QueryError::Store`] if it cannot be read.
    pub async fn all(&self, from: Option<Date>, to: Option<Date>) -> Result<Stats, QueryError> {
        let table = super::live_table(&self.store, &Daily);
        let (from, to) = (from.map(|date| date.to_string()), to.map(|date| date.to_string()));
        let wanted = |day: &str| {
            from.as_deref().is_none_or(|from| day >= from) && to.as_deref().is_none_or(|to| day <= to)
        };
        let (mut stats, mut after) = (Stats::default(), None);
        loop {
            // Days that are over do not change, so pages that are read one after the other fit together.
            let page = self.rows.row_page(&table, after.as_deref(), PAGE).await?;
            stats.position = page.checkpoint.position.get();
            let days: Vec<_> = page.rows.iter().map(DayRow::from_row).collect();
            after = days.last().map(|day| day.day.clone());
            let last = days.len() < PAGE;
            for day in days {
                stats.add(day, wanted);
            }
            if last {
                break;
            }
        }
        super::ensure_not_dropped(&self.store, &table)?;
        Ok(stats)
    }

    /// Waits until the rows show the log up to `position`, which is known to exist.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if they do not get there in time.
    pub async fn wait_for_position(&self, position: Position) -> Result<(), QueryError> {
        super::wait_until_projected(&self.store, &Daily, position).await
    }
}

impl Stats {
    /// Adds the next day.
    fn add(&mut self, day: DayRow, wanted: impl Fn(&str) -> bool) {
        let DayRow { day, registered, deactivated, reactivated, erased, active_change, position: _ } = day;
        self.registered += registered;
        self.active += active_change;
        self.erased += erased;
        self.deactivated = self.registered - self.active - self.erased;
        if wanted(&day) {
            let active = self.active;
            self.days.push(DayStats { day, registered, deactivated, reactivated, erased, active });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_count_carries_over_between_days() {
        let day = |day: &str, registered, deactivated, erased, active_change| DayRow {
            day: day.to_owned(),
            registered,
            deactivated,
            erased,
            active_change,
            ..DayRow::default()
        };
        let mut stats = Stats::default();
        stats.add(day("2026-11-22", 5, 0, 0, 5), |day| day > "2026-11-22");
        stats.add(day("2026-11-23", 2, 3, 1, -1), |day| day > "2026-11-22");
        let totals = (stats.registered, stats.active, stats.erased, stats.deactivated);
        assert_eq!(totals, (7, 4, 1, 2));
        let days: Vec<_> = stats.days.iter().map(|day| (day.day.as_str(), day.active)).collect();
        assert_eq!(days, [("2026-11-23", 4)]);
    }
}
