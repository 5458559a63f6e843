//! Times of registration in other systems. A time without an offset is UTC: FastAPI services and MongoDB store such.

use domain::{Moment, UserId};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// The time of a text, or of a date in MongoDB's Extended JSON.
pub(super) fn moment(value: &Value) -> Option<Moment> {
    match value {
        Value::String(text) => of_text(text),
        Value::Object(date) if date.len() == 1 => match date.get("$date")? {
            Value::String(text) => of_text(text),
            Value::Object(number) => {
                number.get("$numberLong")?.as_str()?.parse().ok().and_then(of_milliseconds)
            }
            number => number.as_i64().and_then(of_milliseconds),
        },
        _ => None,
    }
}

/// The time at which an `ObjectId` was generated, which its first four bytes hold.
pub(super) fn of_object_id(id: UserId) -> Option<Moment> {
    let [a, b, c, d, ..] = id.object_id()?;
    of_milliseconds(i64::from(u32::from_be_bytes([a, b, c, d])) * 1000)
}

fn of_text(text: &str) -> Option<Moment> {
    let text = text.trim();
    let of_instant = || text.parse::<Timestamp>().ok();
    let of_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    let at = of_instant().or_else(of_utc)?;
    // The milliseconds before 1970 count backwards, so that the fraction is rounded down, not towards zero.
    let nanoseconds = at.as_nanosecond();
    of_milliseconds(i64::try_from(nanoseconds.div_euclid(1_000_000)).ok()?)
}

fn of_milliseconds(milliseconds: i64) -> Option<Moment> {
    Moment::from_millisecond(milliseconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn shown(value: &Value) -> Option<String> {
        moment(value).map(|moment| moment.to_string())
    }

    #[test]
    fn times_without_an_offset_are_utc() {
        for text in [
            "2024-05-01T12:00:00.123Z",
            "2024-05-01T12:00:00.123456",
            "2024-05-01 12:00:00.123456",
            "2024-05-01 12:00:00.123456+00",
            "2024-05-01T14:00:00.123999+02:00",
            " 2024-05-01T12:00:00.123+00:00 ",
        ] {
            assert_eq!(shown(&json!(text)).as_deref(), Some("2024-05-01T12:00:00.123Z"), "{text}");
        }
        assert_eq!(shown(&json!("2024-05-01")).as_deref(), Some("2024-05-01T00:00:00.000Z"));
        assert_eq!(shown(&json!("1969-12-31T23:59:59.9999")).as_deref(), Some("1969-12-31T23:59:59.999Z"));
    }

    #[test]
    fn dates_of_extended_json_are_read() {
        for date in [
            json!({"$date": "2024-05-01T12:00:00.123Z"}),
            json!({"$date": {"$numberLong": "1714564800123"}}),
            json!({"$date": 1_714_564_800_123_i64}),
        ] {
            assert_eq!(shown(&date).as_deref(), Some("2024-05-01T12:00:00.123Z"), "{date}");
        }
    }

    #[test]
    fn other_values_are_no_times() {
        for value in
            [json!("yesterday"), json!(1_714_564_800), json!({"$date": true}), json!({}), json!("2024-13-01")]
        {
            assert_eq!(shown(&value), None, "{value}");
        }
        assert_eq!(shown(&json!({"$date": {"$numberLong": "253402300800000"}})), None);
    }

    #[test]
    fn object_ids_hold_the_time_of_their_generation() {
        let id = UserId::parse("507f1f77bcf86cd799439011").unwrap();
        assert_eq!(of_object_id(id).unwrap().to_string(), "2012-10-17T21:13:27.000Z");
        assert_eq!(of_object_id(UserId::parse("01930000-0000-7000-8000-00000000002a").unwrap()), None);
    }
}
