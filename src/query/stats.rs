//! User statistics, in total and by day: rows of the read model `daily`.

use std::sync::Arc;

use jiff::civil::Date;
use projections::{Daily, DayRow};
use serde::Serialize;
use store::{EventStore, Position, ReadModelStore};

use super::{QueryError, ReadModel, RowsQuery};

/// The number of days in one read.
const PAGE: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// All registrations, imports included.
    pub registered: i64,
    pub active: i64,
    /// Deactivated and not erased.
    pub deactivated: i64,
    pub erased: i64,
    /// The last applied position.
    pub position: u64,
    /// The days with events, by date.
    pub days: Vec<DayStats>,
}

/// One day in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayStats {
    pub day: String,
    pub registered: i64,
    pub deactivated: i64,
    pub reactivated: i64,
    pub erased: i64,
    /// At the end of the day.
    pub active: i64,
    /// Successful ones.
    pub logins: i64,
    /// As far as they are recorded.
    pub failed_logins: i64,
}

#[derive(Clone)]
pub struct StatsQueries(ReadModel);

impl StatsQueries {
    pub(crate) fn new(store: EventStore, rows: Arc<dyn ReadModelStore>) -> Self {
        Self(ReadModel { store, rows, projection: &Daily })
    }

    /// The totals, and the days from `from` to `to`, both inclusive.
    ///
    /// # Errors
    /// [`QueryError::Behind`] if the rows are not complete, [`QueryError::Store`] if they cannot be read.
    pub async fn all(&self, from: Option<Date>, to: Option<Date>) -> Result<Stats, QueryError> {
        let (from, to) = (from.map(|date| date.to_string()), to.map(|date| date.to_string()));
        let wanted = |day: &str| {
            from.as_deref().is_none_or(|from| day >= from) && to.as_deref().is_none_or(|to| day <= to)
        };
        let (mut stats, mut after) = (Stats::default(), None::<String>);
        let mut first = None;
        loop {
            let query = RowsQuery::Page { after: after.as_deref(), limit: PAGE };
            let (table, page) = self.0.read_complete(query).await?;
            let source = (table.name, page.checkpoint.rebuilds);
            if *first.get_or_insert_with(|| source.clone()) != source {
                // A cutover or a rebuild between two pages: start again.
                (stats, after, first) = (Stats::default(), None, None);
                continue;
            }
            // Past days do not change, so consecutive pages are consistent.
            stats.position = page.checkpoint.position.get();
            let days: Vec<_> = page.rows.iter().map(DayRow::from_row).collect();
            after = days.last().map(|day| day.day.clone());
            let is_last = days.len() < PAGE;
            for day in days {
                stats.add(day, wanted);
            }
            if is_last {
                return Ok(stats);
            }
        }
    }

    /// Waits until the rows include `position`, which must exist in the log.
    pub(crate) async fn wait_for_position(&self, position: Position) -> Result<(), QueryError> {
        self.0.wait_until_projected(position).await
    }
}

impl Stats {
    fn add(&mut self, day: DayRow, wanted: impl Fn(&str) -> bool) {
        let DayRow {
            day,
            registered,
            deactivated,
            reactivated,
            erased,
            active_change,
            logins,
            failed_logins,
            position: _,
        } = day;
        self.registered += registered;
        self.active += active_change;
        self.erased += erased;
        self.deactivated = self.registered - self.active - self.erased;
        if wanted(&day) {
            let active = self.active;
            self.days.push(DayStats {
                day,
                registered,
                deactivated,
                reactivated,
                erased,
                active,
                logins,
                failed_logins,
            });
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
