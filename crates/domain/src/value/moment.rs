//! A point in time in the payload of an event. The time of the append is in the envelope.

use std::fmt;
use std::ops::Range;

const DAY: i64 = 24 * 60 * 60 * 1000;
/// Days in 400 years, the period of the Gregorian calendar.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const TO_1970: i64 = 719_468;
/// 0000-01-01T00:00:00.000Z, in milliseconds since 1970.
const FIRST: i64 = -62_167_219_200_000;
/// 9998-12-31T23:59:59.999Z, in milliseconds since 1970.
const LAST: i64 = 253_370_764_799_999;

/// A time with millisecond precision in the years 0 to 9998: the range of RFC 3339 without the last year,
/// whose end many libraries exclude to leave room for time zones. Displayed by RFC 3339 in UTC, always with
/// three fraction digits and `Z`, so that equal times have equal texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

/// The text or number is not a [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a moment is of the years 0 to 9998 and written like 2026-11-22T08:03:14.680Z")]
pub struct MomentError;

impl Moment {
    /// Converts Unix time in milliseconds.
    ///
    /// # Errors
    /// [`MomentError`] outside the years 0 to 9998.
    pub fn from_millisecond(milliseconds: i64) -> Result<Self, MomentError> {
        if (FIRST..=LAST).contains(&milliseconds) { Ok(Self(milliseconds)) } else { Err(MomentError) }
    }

    /// Unix time in milliseconds.
    #[must_use]
    pub const fn as_millisecond(self) -> i64 {
        self.0
    }

    /// Parses the displayed form.
    ///
    /// # Errors
    /// [`MomentError`] for anything else, including other spellings of the same time.
    pub fn parse(text: &str) -> Result<Self, MomentError> {
        let number = |range: Range<usize>| text.get(range)?.parse::<i64>().ok();
        let parts = || {
            let days = days_before(number(0..4)?, number(5..7)?, number(8..10)?);
            let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
            Some(days * DAY + ((hour * 60 + minute) * 60 + second) * 1000 + number(20..23)?)
        };
        let moment = Self::from_millisecond(parts().ok_or(MomentError)?)?;
        // Rejects dates and times that do not exist, such as 30 February: they are displayed differently.
        if moment.to_string() == text { Ok(moment) } else { Err(MomentError) }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(DAY));
        let milliseconds = self.0.rem_euclid(DAY);
        let (seconds, fraction) = (milliseconds / 1000, milliseconds % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
    }
}

/// Days from 1970-01-01 to a date. Years begin in March, so that the leap day is the last day of the
/// year (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - TO_1970
}

/// Date of a number of days after 1970-01-01 (same source, `civil_from_days`).
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + TO_1970;
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    #[test]
    fn moment_has_three_fraction_digits_and_z() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_334_594_680, "2026-11-22T08:03:14.680Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (FIRST, "0000-01-01T00:00:00.000Z"),
            (LAST, "9998-12-31T23:59:59.999Z"),
        ] {
            let moment = Moment::from_millisecond(milliseconds).unwrap();
            assert_eq!(moment.to_string(), text);
            assert_eq!(Moment::parse(text), Ok(moment));
        }
    }

    #[test]
    fn years_outside_the_portable_range_are_rejected() {
        for milliseconds in [FIRST - 1, LAST + 1, i64::MIN, i64::MAX] {
            assert_eq!(Moment::from_millisecond(milliseconds), Err(MomentError), "{milliseconds}");
        }
    }

    #[test]
    fn each_moment_has_one_spelling() {
        for text in [
            "",
            "2026-11-22T08:03:14Z",
            "2026-11-22T08:03:14.68Z",
            "2026-11-22T08:03:14.6800Z",
            "2026-11-22t08:03:14.680z",
            "2026-11-22 08:03:14.680Z",
            "2026-11-22T09:03:14.680+01:00",
            "2026-02-30T08:03:14.680Z",
            "2025-02-29T08:03:14.680Z",
            "2026-13-01T08:03:14.680Z",
            "2026-00-01T08:03:14.680Z",
            "2026-11-00T08:03:14.680Z",
            "2026-11-22T24:00:00.000Z",
            "2016-12-31T23:59:60.000Z",
            "+026-11-22T08:03:14.680Z",
            "2026-11-22T08:03:14.+80Z",
            "２026-11-22T08:03:14.680Z",
        ] {
            assert_eq!(Moment::parse(text), Err(MomentError), "{text}");
        }
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn calendar_matches_jiff(milliseconds in FIRST..=LAST) {
            let moment = Moment::from_millisecond(milliseconds).unwrap();
            let theirs = Timestamp::from_millisecond(milliseconds).unwrap();
            prop_assert_eq!(moment.to_string(), format!("{theirs:.3}"));
            prop_assert_eq!(Moment::parse(&moment.to_string()), Ok(moment));
        }

        #[test]
        fn any_text_parses_or_is_rejected(text in "\\PC{0,30}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z") {
            let theirs = text.parse::<Timestamp>().ok().filter(|at| format!("{at:.3}") == text && !text.starts_with("9999"));
            let ours = Moment::parse(&text).ok().map(Moment::as_millisecond);
            prop_assert_eq!(ours, theirs.map(Timestamp::as_millisecond));
        }
    }
}
