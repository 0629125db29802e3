//! Whether a container's program is well: its check, and what the results come to.
//!
//! ```text
//!  Starting ──a success──▶ Healthy ──`retries` failures in a row──▶ Unhealthy ──a success──▶ Healthy
//!      └── `retries` failures in a row, not counting those within the start period ──▶ Unhealthy
//! ```

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;
use wharf_oci::image_config::{Config, Healthcheck};

/// Results that are kept to be shown; Docker keeps as many.
const KEPT: usize = 5;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_START_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_RETRIES: u32 = 3;
/// Docker refuses shorter times.
const SHORTEST_NS: i64 = 1_000_000;

/// A check with all its times known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The program with its arguments.
    pub command: Vec<String>,
    /// From the end of one check to the next.
    pub interval: Duration,
    /// What one check may take.
    pub timeout: Duration,
    /// From the start of the container; failures in it do not count.
    pub start_period: Duration,
    /// The interval in the start period, until the first success.
    pub start_interval: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

/// Lays what was asked for over what the image says; what is absent or 0 is the image's.
#[must_use]
pub fn merge(asked: Option<&Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (Some(asked), Some(image)) = (asked, image) else { return asked.or(image).cloned() };
    let or = |own: i64, other: i64| if own == 0 { other } else { own };
    Some(Healthcheck {
        test: if asked.test.is_empty() { image.test.clone() } else { asked.test.clone() },
        interval: or(asked.interval, image.interval),
        timeout: or(asked.timeout, image.timeout),
        start_period: or(asked.start_period, image.start_period),
        start_interval: or(asked.start_interval, image.start_interval),
        retries: or(asked.retries, image.retries),
    })
}

/// Refuses what makes no check.
///
/// # Errors
/// `Invalid` for times below 1 ms and negative retries.
pub fn validate(check: &Healthcheck) -> Result<()> {
    for (name, time) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if time != 0 && time < SHORTEST_NS {
            return Err(Error::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if check.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

impl Check {
    /// The check of a container, where it has one: a test of an unknown kind is none, as with Docker. `image` gives
    /// the shell.
    #[must_use]
    pub fn of(check: &Healthcheck, image: &Config) -> Option<Self> {
        let (kind, rest) = check.test.split_first()?;
        let command = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => {
                let shell = image.shell.clone().filter(|s| !s.is_empty());
                let mut command = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
                command.extend(rest.iter().cloned());
                command
            }
            _ => return None,
        };
        let time = |ns: i64, otherwise| match u64::try_from(ns) {
            Ok(ns) if ns > 0 => Duration::from_nanos(ns),
            _ => otherwise,
        };
        (!command.is_empty()).then(|| Self {
            command,
            interval: time(check.interval, DEFAULT_INTERVAL),
            timeout: time(check.timeout, DEFAULT_TIMEOUT),
            start_period: time(check.start_period, Duration::ZERO),
            start_interval: time(check.start_interval, DEFAULT_START_INTERVAL),
            retries: u32::try_from(check.retries).ok().filter(|n| *n > 0).unwrap_or(DEFAULT_RETRIES),
        })
    }

    /// How long to wait before the next check, `running` after the start.
    #[must_use]
    pub fn pause(&self, status: HealthStatus, running: Duration) -> Duration {
        if status == HealthStatus::Starting && running < self.start_period {
            self.start_interval
        } else {
            self.interval
        }
    }
}

/// What is known of a container's health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Nothing yet.
    #[default]
    Starting,
    /// It is well.
    Healthy,
    /// It is not.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Nanoseconds since the epoch.
    pub start_ns: i128,
    /// Nanoseconds since the epoch.
    pub end_ns: i128,
    /// 0 is well; -1 when it could not be run, or took too long.
    pub exit_code: i32,
    /// What it wrote, or why it could not be run.
    pub output: String,
}

/// The health of a container in its present run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What the results come to.
    pub status: HealthStatus,
    /// Failures in a row.
    pub streak: u32,
    /// The last results, oldest first.
    pub log: VecDeque<Probe>,
}

impl Health {
    /// Adds a result of a check that began when the container was `running` so long. Returns whether the status changed.
    pub fn add(&mut self, probe: Probe, check: &Check, running: Duration) -> bool {
        let before = self.status;
        if probe.exit_code == 0 {
            self.streak = 0;
            self.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || running >= check.start_period {
            self.streak += 1;
            if self.streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() == KEPT {
            self.log.pop_front();
        }
        self.log.push_back(probe);
        self.status != before
    }
}

/// What happens to a container that becomes unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnhealthy {
    /// It is shown and told, no more.
    #[default]
    None,
    /// It is killed; its restart policy decides.
    Kill,
    /// It is stopped and started again, whatever its restart policy.
    Restart,
    /// It is stopped.
    Stop,
}

/// The label by which clients of Docker's API ask for [`OnUnhealthy`].
pub const ON_UNHEALTHY_LABEL: &str = "wharf.health-on-failure";

impl std::str::FromStr for OnUnhealthy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "kill" => Ok(Self::Kill),
            "restart" => Ok(Self::Restart),
            "stop" => Ok(Self::Stop),
            _ => Err(Error::invalid(format!(
                "invalid action on an unhealthy container: {text:?}: expected none, kill, restart or stop"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Check {
        let check =
            Healthcheck { test: vec!["CMD".into(), "x".into()], retries: 2, ..Healthcheck::default() };
        Check { start_period: Duration::from_nanos(100), ..Check::of(&check, &Config::default()).unwrap() }
    }

    #[test]
    fn a_clock_that_is_set_changes_no_verdict() {
        let mut health = Health::default();
        // The host's clock jumps a year ahead and back behind the start; the container is in its start period all along.
        for at in [31_536_000_000_000_000, -5] {
            assert!(!health.add(probe(at, 1), &check(), Duration::from_nanos(50)));
        }
        assert_eq!(health.streak, 0);
        assert!(!health.add(probe(-5, 1), &check(), Duration::from_nanos(100)));
        assert_eq!(health.streak, 1);
    }

    fn probe(start_ns: i128, exit_code: i32) -> Probe {
        Probe { start_ns, end_ns: start_ns, exit_code, output: String::new() }
    }

    #[test]
    fn failures_of_the_start_period_do_not_count() {
        let mut health = Health::default();
        for at in [10u64, 20, 90] {
            assert!(!health.add(probe(i128::from(at), 1), &check(), Duration::from_nanos(at)));
        }
        assert!(!health.add(probe(100, 1), &check(), Duration::from_nanos(100)));
        assert!(health.add(probe(110, 1), &check(), Duration::from_nanos(110)));
        assert_eq!((health.status, health.streak), (HealthStatus::Unhealthy, 2));
        assert!(health.add(probe(120, 0), &check(), Duration::from_nanos(120)));
        assert_eq!((health.status, health.streak, health.log.len()), (HealthStatus::Healthy, 0, KEPT));
    }

    #[test]
    fn after_a_success_failures_count_in_the_start_period_too() {
        let mut health = Health::default();
        assert!(health.add(probe(10, 0), &check(), Duration::from_nanos(10)));
        assert!(!health.add(probe(20, 1), &check(), Duration::from_nanos(20)));
        assert!(health.add(probe(30, -1), &check(), Duration::from_nanos(30)));
        assert_eq!(health.status, HealthStatus::Unhealthy);
    }

    #[test]
    fn pauses() {
        let check = check();
        assert_eq!(check.pause(HealthStatus::Starting, Duration::from_nanos(99)), DEFAULT_START_INTERVAL);
        assert_eq!(check.pause(HealthStatus::Healthy, Duration::from_nanos(99)), DEFAULT_INTERVAL);
        assert_eq!(check.pause(HealthStatus::Starting, Duration::from_nanos(100)), DEFAULT_INTERVAL);
    }

    #[test]
    fn what_is_asked_for_goes_over_the_image() {
        let image = Healthcheck {
            test: vec!["CMD-SHELL".into(), "curl x".into()],
            interval: 7_000_000,
            ..Healthcheck::default()
        };
        let asked = Healthcheck { retries: 9, ..Healthcheck::default() };
        let merged = merge(Some(&asked), Some(&image)).unwrap();
        assert_eq!((merged.interval, merged.retries), (7_000_000, 9));
        let check = Check::of(&merged, &Config::default()).unwrap();
        assert_eq!(check.command, ["/bin/sh", "-c", "curl x"]);
        let none = Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() };
        assert_eq!(Check::of(&merge(Some(&none), Some(&image)).unwrap(), &Config::default()), None);
    }

    #[test]
    fn bad_checks_are_refused() {
        for bad in [
            Healthcheck { interval: 5, ..Healthcheck::default() },
            Healthcheck { retries: -1, ..Healthcheck::default() },
        ] {
            assert!(validate(&bad).is_err(), "{bad:?}");
        }
        let unknown = Healthcheck { test: vec!["SHELL".into(), "x".into()], ..Healthcheck::default() };
        assert!(validate(&unknown).is_ok() && Check::of(&unknown, &Config::default()).is_none());
    }
}
