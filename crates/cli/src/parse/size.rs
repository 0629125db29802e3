//! Sizes with units: `64m`, `1.5g`, `512`.

/// Bytes of a size with binary units (k = 1024).
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let lower = text.trim().to_ascii_lowercase();
    let split = lower.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let power = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(invalid()),
    };
    let bytes = number * 1024f64.powi(power);
    if bytes >= i64::MAX as f64 { Err(invalid()) } else { Ok(bytes as i64) }
}

/// Bytes, or -1 for no limit.
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// Billionths of a CPU.
pub(crate) fn cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let number: f64 = text.parse().map_err(|_| invalid())?;
    if !(0.0..1e6).contains(&number) {
        return Err(invalid());
    }
    Ok((number * 1e9).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("64m", 64 << 20),
            ("1g", 1 << 30),
            ("1.5k", 1536),
            ("512", 512),
            ("2MiB", 2 << 20),
            ("3b", 3),
            ("4KB", 4096),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for bad in ["", "m", "1x", "-5", "1.2.3", "99999999999999g"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
        assert_eq!(cpus("0.5"), Ok(500_000_000));
        assert!(cpus("x").is_err());
    }
}
