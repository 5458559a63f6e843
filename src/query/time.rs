//! Times in requests.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;

/// The digits of a fraction of a second that a [`Timestamp`] holds.
const MAX_FRACTION_DIGITS: usize = 9;

/// A date-time of RFC 3339 §5.6. Digits beyond nanoseconds are dropped, and a time near the end of year 9999 that
/// [`Timestamp`] cannot represent is its last: no event is later.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let text = truncate_fraction(text);
    text.parse().ok().or_else(|| clamp(&text))
}

fn truncate_fraction(text: &str) -> Cow<'_, str> {
    let truncated = || {
        let (whole, fraction) = text.split_once('.')?;
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let kept = fraction.get(..MAX_FRACTION_DIGITS.min(digits))?;
        (digits > MAX_FRACTION_DIGITS).then(|| Some(format!("{whole}.{kept}{}", fraction.get(digits..)?)))?
    };
    truncated().map_or(Cow::Borrowed(text), Cow::Owned)
}

fn clamp(text: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    let time = pieces.date().to_datetime(pieces.time()?);
    let is_out_of_range = pieces.to_numeric_offset()?.to_timestamp(time).is_err();
    is_out_of_range.then_some(if time.year() > 0 { Timestamp::MAX } else { Timestamp::MIN })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_of_rfc_3339_is_accepted() {
        let parsed = |text| parse_time(text).unwrap_or_else(|| panic!("{text}"));
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(parsed("2026-11-22T14:00:00+02:00"), noon);
        assert_eq!(parsed("2026-11-22T12:00:00.0000000009Z"), noon, "less than a nanosecond");
        let fraction = "2026-11-22T12:00:00.123456789Z".parse().unwrap();
        assert_eq!(parsed("2026-11-22T12:00:00.123456789987654321Z"), fraction);
        assert_eq!(parsed("2026-11-22T14:00:00.1234567899+02:00"), fraction);
        for last in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999999-12:00"] {
            assert_eq!(parsed(last), Timestamp::MAX, "{last}");
        }
        assert!(parsed("9999-12-30T00:00:00Z") < Timestamp::MAX);
        for bad in
            ["", "noon", "2026-11-22", "2026-11-22T12:00:00", "10000-01-01T00:00:00Z", "2026-13-22T12:00:00Z"]
        {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
