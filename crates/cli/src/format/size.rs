//! Byte counts as people read them.

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Decimal units, three significant digits: `1.24MB`.
pub(crate) fn decimal(bytes: i64) -> String {
    decimal_with(bytes as f64, 3)
}

/// Decimal units, four significant digits, as Docker writes what can be reclaimed.
pub(crate) fn precise(bytes: u64) -> String {
    decimal_with(bytes as f64, 4)
}

/// Decimal units with a number of significant digits.
pub(crate) fn decimal_with(bytes: f64, digits: usize) -> String {
    scaled(bytes, 1000.0, &DECIMAL, digits)
}

/// Binary units, four significant digits: `1.234MiB`.
pub(crate) fn binary(bytes: f64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

fn scaled(bytes: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes;
    let mut unit = 0;
    while value >= base && unit < units.len() - 1 {
        value /= base;
        unit += 1;
    }
    format!("{}{}", general(value, digits), units[unit])
}

/// C's `%.{digits}g` for numbers below 10^15.
pub(crate) fn general(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let before = value.abs().log10().floor() as i64 + 1;
    let decimals = (digits as i64 - before).max(0) as usize;
    let text = format!("{value:.decimals$}");
    // Rounding may have added a digit: 9.999 with three is 10.
    let text =
        if decimals > 0 && text.split('.').next().is_some_and(|whole| whole.len() as i64 > before.max(1)) {
            format!("{value:.0$}", decimals - 1)
        } else {
            text
        };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, shown) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (2_140_160, "2.14MB"),
            (157_286_400, "157MB"),
            (9_996_000, "10MB"),
        ] {
            assert_eq!(decimal(bytes), shown);
        }
        assert_eq!(binary(1024.0 * 1024.0 * 1.5), "1.5MiB");
        assert_eq!(binary(1_261_568.0), "1.203MiB");
    }
}
