//! Durations as Go writes them: `1m30s`, `1.5h`, `300ms`.

use crate::failure::Failure;
use crate::format::time::now;

/// Nanoseconds.
pub(crate) fn nanos(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration \"{text}\"");
    if text == "0" {
        return Ok(0);
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let split = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or_else(|| format!("time: missing unit in duration \"{text}\""))?;
        let number: f64 = rest[..split].parse().map_err(|_| invalid())?;
        let unit_end =
            rest[split..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |e| split + e);
        let unit = match &rest[split..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(invalid()),
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    Ok((sign * total).round() as i64)
}

/// The value of `--since` or `--until`, as the API takes it.
pub(crate) fn moment(text: &Option<String>) -> Result<Option<String>, Failure> {
    text.as_ref().map(|text| timestamp(text, now())).transpose().map_err(Failure::new)
}

/// A point in time for `--since` and `--until`: a duration before now, seconds since 1970, or a date;
/// what the API takes.
pub(crate) fn timestamp(text: &str, now: i64) -> Result<String, String> {
    if let Ok(nanos) = nanos(text) {
        let at = i128::from(now) * 1_000_000_000 - i128::from(nanos);
        return Ok(format!("{}.{:09}", at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000)));
    }
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if is_number(whole) && is_number(fraction) {
        return Ok(text.to_owned());
    }
    // Dates without a time of day or a zone are in the local zone, which is taken as UTC here.
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    crate::format::time::parse(&full).map(|unix| unix.to_string()).ok_or_else(|| {
        format!("invalid time {text:?}: use a duration (10m), a date (2024-05-01T12:00:00Z) or seconds")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("1s", 1_000_000_000),
            ("1m30s", 90_000_000_000),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("0", 0),
            ("-1s", -1_000_000_000),
        ] {
            assert_eq!(nanos(text), Ok(expected), "{text}");
        }
        for bad in ["", "1", "s", "1x", "1s2"] {
            assert!(nanos(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn timestamps() {
        assert_eq!(timestamp("10s", 100).unwrap(), "90.000000000");
        assert_eq!(timestamp("1714564800", 0).unwrap(), "1714564800");
        assert_eq!(timestamp("2024-05-01", 0).unwrap(), "1714521600");
        assert_eq!(timestamp("2024-05-01T12:00:00Z", 0).unwrap(), "1714564800");
        assert!(timestamp("soon", 0).is_err());
    }
}
