//! Durations in words, and times as Docker writes them.

use std::time::{SystemTime, UNIX_EPOCH};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

/// A duration in seconds in words: `About an hour`, `3 weeks`.
pub(crate) fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds as f64 / 3600.0).round() as i64);
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// `3 weeks ago` for seconds since 1970.
pub(crate) fn ago(unix: i64) -> String {
    human(now() - unix) + " ago"
}

/// Seconds since 1970 of an RFC 3339 time; `None` for none.
pub(crate) fn parse(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// `2024-05-01 12:00:00 +0000 UTC`, as Go prints times.
pub(crate) fn absolute(unix: i64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp(unix) else { return unix.to_string() };
    let format = time::macros::format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute] UTC"
    );
    time.to_offset(UtcOffset::UTC).format(&format).unwrap_or_else(|_| unix.to_string())
}

/// The same for an RFC 3339 time in UTC, with its fraction of a second.
pub(crate) fn written(text: &str) -> String {
    match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, time)) => format!("{date} {time} +0000 UTC"),
        None => text.to_owned(),
    }
}

/// RFC 3339 with nanoseconds.
pub(crate) fn rfc3339_nanos(nanos: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(nanos.into())
        .ok()
        .and_then(|time| {
            let format = time::macros::format_description!(
                "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z"
            );
            time.format(&format).ok()
        })
        .unwrap_or_else(|| nanos.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86400, "3 days"),
            (20 * 86400, "2 weeks"),
            (70 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(human(seconds), words);
        }
    }

    #[test]
    fn times() {
        assert_eq!(absolute(1_714_564_800), "2024-05-01 12:00:00 +0000 UTC");
        assert_eq!(parse("2024-05-01T12:00:00.5Z"), Some(1_714_564_800));
        assert_eq!(rfc3339_nanos(1_714_564_800_000_000_001), "2024-05-01T12:00:00.000000001Z");
    }
}
