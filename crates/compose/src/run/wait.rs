//! Waiting for containers: for their health, or for their end. The engine's events say when to look again.

use super::report::Status;
use super::{Run, container};
use crate::error::Error;
use crate::plan::Observed;
use wharf_docker_api::client::{Call, JsonStream, Query};
use wharf_docker_api::types::container::Inspect;
use wharf_docker_api::types::system::Event;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its health check says so.
    Healthy,
    /// It runs, and is healthy where it has a check.
    RunningOrHealthy,
    /// It ended with 0.
    Completed,
}

impl Condition {
    /// The condition of a dependency; none for one that only has to be started.
    pub fn of(text: &str) -> Option<Self> {
        match text {
            "service_healthy" => Some(Self::Healthy),
            "service_completed_successfully" => Some(Self::Completed),
            _ => None,
        }
    }
}

impl Run<'_> {
    /// Waits until a container is so, or can no longer be.
    pub(super) async fn await_condition(&self, one: &Observed, condition: Condition) -> Result<(), Error> {
        if self.dry_run {
            return Ok(());
        }
        let what = format!("Container {}", one.name);
        self.report.step(&what, "Waiting", Status::Working);
        // Listening begins before looking, so that nothing falls in between.
        let mut events = self.events(&one.id).await?;
        loop {
            let now: Inspect = self.client.json(Call::get(container(&one.id, "/json"))).await?;
            match stands(&now, condition) {
                Stand::Reached => {
                    let state = if condition == Condition::Completed { "Exited" } else { "Healthy" };
                    self.report.step(&what, state, Status::Done);
                    return Ok(());
                }
                Stand::Never(why) => {
                    self.report.step(&what, "Error", Status::Failed);
                    return Err(Error::Exit(1, format!("container {} {why}", one.name)));
                }
                Stand::NotYet => {}
            }
            if events.next().await?.is_none() {
                return Err(Error::project("the engine ended its events while we waited"));
            }
        }
    }

    async fn events(&self, id: &str) -> Result<JsonStream<Event>, Error> {
        let query = Query::new().filters([("type", "container"), ("container", id)]);
        Ok(self.client.stream(Call::get("/events").query(query)).await?.json())
    }
}

enum Stand {
    Reached,
    NotYet,
    Never(String),
}

fn stands(now: &Inspect, condition: Condition) -> Stand {
    let state = &now.state;
    let health = state
        .health
        .as_ref()
        .map(|health| health.status.as_str())
        .filter(|status| !status.is_empty() && *status != "none");
    let ended = ["exited", "dead"].contains(&state.status.as_str());
    match (condition, health) {
        (Condition::Completed, _) if ended && state.exit_code == 0 => Stand::Reached,
        (Condition::Completed, _) if ended && !state.restarting => {
            Stand::Never(format!("didn't complete successfully: exit {}", state.exit_code))
        }
        (Condition::Completed, _) => Stand::NotYet,
        (_, _) if ended => Stand::Never(format!("exited ({})", state.exit_code)),
        (_, Some("healthy")) => Stand::Reached,
        (_, Some("unhealthy")) => Stand::Never("is unhealthy".into()),
        (_, Some(_)) => Stand::NotYet,
        (Condition::Healthy, None) => Stand::Never("has no healthcheck configured".into()),
        (_, None) if state.status == "running" => Stand::Reached,
        (_, None) => Stand::NotYet,
    }
}

/// Seconds since 1970 of a time as engines write it (RFC 3339, UTC).
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // Days since 1970 by the calendar's arithmetic, with years that begin in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Now, as engines write times.
pub(crate) fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(0);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The inverse of the above.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60,
        now.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn times() {
        assert_eq!(super::seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(super::seconds("2026-11-26T17:31:32.2Z"), Some(1_795_714_292));
        assert_eq!(super::seconds("x"), None);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let written = super::seconds(&super::now()).unwrap();
        assert!(written.abs_diff(i64::try_from(now).unwrap()) <= 1, "{}", super::now());
    }
}
