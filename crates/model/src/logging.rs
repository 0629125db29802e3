//! Where a container's output goes: log drivers and their options, checked.
//!
//! Every driver but `none` keeps a file. The remote ones are sent from that file, so that a receiver that is slow or
//! gone stalls nobody and misses nothing that the file still has; `logs` reads it too, as Docker's cache.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Drivers there are, as clients list them.
pub const DRIVERS: [&str; 7] = ["fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"];

/// Options that every driver takes.
const COMMON: [&str; 2] = ["mode", "max-buffer-size"];
/// Options that choose what is told of the container beside each line.
const TOLD: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
/// Options of the file that remote drivers keep.
const CACHE: [&str; 4] = ["cache-compress", "cache-disabled", "cache-max-file", "cache-max-size"];
/// Options of files.
const FILE: [&str; 3] = ["compress", "max-file", "max-size"];
const SYSLOG: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];
const GELF: [&str; 5] = [
    "gelf-address",
    "gelf-compression-level",
    "gelf-compression-type",
    "gelf-tcp-max-reconnect",
    "gelf-tcp-reconnect-delay",
];
const FLUENTD: [&str; 9] = [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-connect",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
];

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// One of [`DRIVERS`].
    pub driver: String,
    /// Bytes after which the file is rotated; 0 is never.
    pub max_size: u64,
    /// How many files are kept.
    pub max_files: u32,
    /// Rotated files are compressed.
    #[serde(default)]
    pub compress: bool,
    /// The options as given.
    pub options: BTreeMap<String, String>,
}

impl Default for LogSpec {
    fn default() -> Self {
        // A disk filled by logs is a fault, not a default: 5 files of 20 MB.
        Self {
            driver: "json-file".to_owned(),
            max_size: 20_000_000,
            max_files: 5,
            compress: false,
            options: BTreeMap::new(),
        }
    }
}

impl LogSpec {
    /// A driver with its options.
    ///
    /// # Errors
    /// `Invalid` for an unknown driver or option, or a value that means nothing, in Docker's words.
    pub fn parse(driver: &str, options: BTreeMap<String, String>) -> Result<Self> {
        let driver = if driver.is_empty() { "json-file" } else { driver };
        if !DRIVERS.contains(&driver) {
            return Err(Error::invalid(format!(
                "error looking up logging plugin {driver}: plugin \"{driver}\" not found"
            )));
        }
        let mut log = Self { driver: driver.to_owned(), options, ..Self::default() };
        log.check_names()?;
        log.check_mode()?;
        log.compress = matches!(driver, "local" | "syslog" | "gelf" | "fluentd" | "journald");
        let prefix = if log.is_remote() { "cache-" } else { "" };
        let option = |name: &str| log.options.get(&format!("{prefix}{name}")).map(String::as_str);
        let invalid =
            |name: &str, value: &str| Error::invalid(format!("invalid value for {prefix}{name}: {value:?}"));
        let (mut max_size, mut max_files, mut compress) = (log.max_size, log.max_files, log.compress);
        match option("max-size") {
            Some("-1") => max_size = 0,
            Some(text) => max_size = size(text).ok_or_else(|| invalid("max-size", text))?,
            None => {}
        }
        if let Some(text) = option("max-file") {
            max_files = text.parse().ok().filter(|n| *n > 0).ok_or_else(|| invalid("max-file", text))?;
        }
        if let Some(text) = option("compress") {
            compress = flag(text).ok_or_else(|| invalid("compress", text))?;
            if compress && (max_files < 2 || max_size == 0) {
                return Err(Error::invalid(
                    "compress cannot be true when max-file is less than 2 or max-size is not set",
                ));
            }
        }
        (log.max_size, log.max_files, log.compress) = (max_size, max_files, compress && max_files > 1);
        Ok(log)
    }

    fn check_names(&self) -> Result<()> {
        let own: &[&[&str]] = match self.driver.as_str() {
            "json-file" => &[&FILE, &TOLD],
            "local" => &[&FILE],
            "syslog" => &[&SYSLOG, &TOLD, &CACHE],
            "gelf" => &[&GELF, &TOLD, &CACHE],
            "fluentd" => &[&FLUENTD, &TOLD, &CACHE],
            "journald" => &[&TOLD, &CACHE],
            // `none` takes what it is given: there is nothing to do with it.
            _ => return Ok(()),
        };
        let known = |name: &str| COMMON.contains(&name) || own.iter().any(|list| list.contains(&name));
        match self.options.keys().find(|name| !known(name)) {
            Some(name) => {
                Err(Error::invalid(format!("unknown log opt '{name}' for {} log driver", self.driver)))
            }
            None => Ok(()),
        }
    }

    fn check_mode(&self) -> Result<()> {
        let mode = self.option("mode").unwrap_or("blocking");
        if !matches!(mode, "" | "blocking" | "non-blocking") {
            return Err(Error::invalid(format!("logger: logging mode not supported: {mode}")));
        }
        let Some(buffer) = self.option("max-buffer-size") else { return Ok(()) };
        if mode != "non-blocking" {
            return Err(Error::invalid(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ));
        }
        match size(buffer) {
            Some(_) => Ok(()),
            None => Err(Error::invalid(format!("invalid value for max-buffer-size: {buffer:?}"))),
        }
    }

    /// An option as given.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Lines are sent somewhere.
    pub fn is_remote(&self) -> bool {
        matches!(self.driver.as_str(), "syslog" | "gelf" | "fluentd" | "journald")
    }

    /// There is a file.
    pub fn has_file(&self) -> bool {
        self.driver != "none"
    }

    /// `logs` shows something.
    pub fn is_readable(&self) -> bool {
        let disabled = self.is_remote() && self.option("cache-disabled").and_then(flag).unwrap_or(false);
        self.has_file() && !disabled
    }
}

/// Docker's booleans in options.
pub fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `10m`, `1g`, `500` as bytes.
pub fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.chars().last()? {
        'k' => (&lower[..lower.len() - 1], 10),
        'm' => (&lower[..lower.len() - 1], 20),
        'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: &str, options: &[(&str, &str)]) -> Result<LogSpec> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LogSpec::parse(driver, options)
    }

    #[test]
    fn sizes() {
        let all = ["10m", "1GB", "5", "x", "99999999999g"].map(size);
        assert_eq!(all, [Some(10 << 20), Some(1 << 30), Some(5), None, None]);
    }

    #[test]
    fn options_are_of_their_driver() {
        let error = |driver, options| parse(driver, options).unwrap_err().to_string();
        assert_eq!(error("json-file", &[("a", "b")]), "unknown log opt 'a' for json-file log driver");
        assert!(error("asdf", &[]).contains("plugin \"asdf\" not found"));
        assert!(error("local", &[("gelf-address", "x")]).contains("gelf-address"));
        assert!(error("json-file", &[("max-size", "-3")]).contains("max-size"));
        assert!(error("json-file", &[("mode", "odd")]).contains("logging mode not supported: odd"));
        assert!(error("json-file", &[("max-buffer-size", "1m")]).contains("non-blocking"));
        assert!(error("json-file", &[("compress", "true"), ("max-file", "1")]).contains("max-file"));
        let log = parse("local", &[("max-size", "1m"), ("max-file", "3")]).unwrap();
        assert_eq!((log.max_size, log.max_files, log.compress), (1 << 20, 3, true));
        let log = parse("gelf", &[("cache-max-file", "1"), ("cache-disabled", "true")]).unwrap();
        assert!(!log.compress && log.is_remote() && !log.is_readable());
        assert_eq!(parse("", &[("max-size", "-1")]).unwrap().max_size, 0);
    }
}
