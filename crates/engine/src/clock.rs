//! Points in time: nanoseconds since the epoch, and how Docker writes them.

use std::time::SystemTime;
use time::OffsetDateTime;

/// Now.
pub fn now_ns() -> i128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i128)
}

/// RFC 3339 with as many digits of the fraction as are needed, UTC. 0 is Docker's "never".
pub fn rfc3339(ns: i128) -> String {
    if ns == 0 {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    let format = time::format_description::well_known::Rfc3339;
    OffsetDateTime::from_unix_timestamp_nanos(ns)
        .ok()
        .and_then(|t| t.format(&format).ok())
        .unwrap_or_default()
}

/// Reads RFC 3339.
pub fn parse_rfc3339(text: &str) -> Option<i128> {
    let format = time::format_description::well_known::Rfc3339;
    OffsetDateTime::parse(text, &format).ok().map(OffsetDateTime::unix_timestamp_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = rfc3339(1_700_000_000_123_456_789);
        assert_eq!(text, "2023-11-14T22:13:20.123456789Z");
        assert_eq!(parse_rfc3339(&text), Some(1_700_000_000_123_456_789));
        assert_eq!(rfc3339(0), "0001-01-01T00:00:00Z");
    }
}
