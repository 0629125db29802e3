//! The object `gc` of the configuration file.

use super::{boolean, known, list, text};
use anyhow::{Context, ensure};
use serde_json::{Map, Value};
use std::time::Duration;
use wharf_engine::gc::Policy;

/// Runs closer together would be at it all the time.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn policy(value: &Value) -> anyhow::Result<Policy> {
    let map = object(value)?;
    let names = [
        "enabled",
        "interval",
        "grace",
        "images",
        "containers",
        "volumes",
        "max-used-percent",
        "keep-storage",
        "keep",
    ];
    known(map, &names, "gc.")?;
    let mut policy = Policy::default();
    for (key, value) in map {
        set(&mut policy, key, value).with_context(|| format!("gc.{key}"))?;
    }
    ensure!(policy.interval >= SHORTEST_INTERVAL, "gc.interval: a second at least is expected");
    ensure!(
        !policy.enabled || !policy.rules().is_empty(),
        "gc is enabled without a rule that removes something, such as \"images\": {{\"unused-for\": \"72h\"}}"
    );
    Ok(policy)
}

fn set(policy: &mut Policy, key: &str, value: &Value) -> anyhow::Result<()> {
    match key {
        "enabled" => policy.enabled = boolean(value)?,
        "interval" => policy.interval = duration(value)?,
        "grace" => policy.grace = duration(value)?,
        "images" => {
            let map = object(value)?;
            known(map, &["unused-for", "dangling-after"], "gc.images.")?;
            policy.images_unused_for = age(map, "unused-for")?;
            policy.dangling_after = age(map, "dangling-after")?;
        }
        "containers" => {
            let map = object(value)?;
            known(map, &["exited-for", "keep-labels"], "gc.containers.")?;
            policy.exited_for = age(map, "exited-for")?;
            policy.keep_container_labels = map.get("keep-labels").map(list).transpose()?.unwrap_or_default();
        }
        "volumes" => {
            let map = object(value)?;
            known(map, &["anonymous-unused-for"], "gc.volumes.")?;
            policy.anonymous_unused_for = age(map, "anonymous-unused-for")?;
        }
        "max-used-percent" => {
            let most = value.as_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| (1..=99).contains(n));
            policy.max_used_percent = Some(most.context("a number from 1 to 99 is expected")?);
        }
        "keep-storage" => policy.keep_storage = Some(bytes(value)?),
        _ => {
            for item in list(value)? {
                match item.strip_prefix("label=") {
                    Some(label) => policy.keep_labels.push(label.to_owned()),
                    None => policy.keep_references.push(item),
                }
            }
        }
    }
    Ok(())
}

fn object(value: &Value) -> anyhow::Result<&Map<String, Value>> {
    value.as_object().context("an object is expected")
}

fn age(map: &Map<String, Value>, key: &str) -> anyhow::Result<Option<Duration>> {
    map.get(key).map(duration).transpose().with_context(|| key.to_owned())
}

/// As Go writes it, and days: `36h`, `1h30m`, `14d`.
fn duration(value: &Value) -> anyhow::Result<Duration> {
    let expected = || "a duration is expected, such as \"36h\", \"1h30m\" or \"14d\"";
    let text = text(value).with_context(expected)?;
    let mut rest = text.as_str();
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).with_context(expected)?;
        let number: u64 = rest[..digits].parse().with_context(expected)?;
        let unit = match rest.as_bytes()[digits] {
            b'd' => 86400,
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => 0,
        };
        ensure!(unit > 0, expected());
        total = number.checked_mul(unit).and_then(|n| total.checked_add(n)).with_context(expected)?;
        rest = &rest[digits + 1..];
    }
    ensure!(!text.is_empty(), expected());
    Ok(Duration::from_secs(total))
}

/// A number of bytes, or one with Docker's units: `20GB`, `512MB`.
fn bytes(value: &Value) -> anyhow::Result<u64> {
    let expected = || "a number of bytes is expected, such as \"20GB\"";
    if let Some(number) = value.as_u64() {
        return Ok(number);
    }
    let text = text(value).with_context(expected)?.to_ascii_lowercase();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..at].parse().with_context(expected)?;
    let unit: u64 = match text[at..].trim() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        _ => anyhow::bail!(expected()),
    };
    number.checked_mul(unit).with_context(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Policy> {
        policy(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn everything_can_be_said() {
        let said = read(
            r#"{"enabled": true, "interval": "30m", "grace": "1m", "images": {"unused-for": "14d", "dangling-after": "1h30m"},
                "containers": {"exited-for": "24h", "keep-labels": ["keep"]}, "volumes": {"anonymous-unused-for": "10s"},
                "max-used-percent": 85, "keep-storage": "20GB", "keep": ["me/*", "label=tier=db"]}"#,
        );
        let seconds = |n| Some(Duration::from_secs(n));
        let wanted = Policy {
            enabled: true,
            interval: Duration::from_secs(1800),
            grace: Duration::from_secs(60),
            images_unused_for: seconds(14 * 86400),
            dangling_after: seconds(5400),
            exited_for: seconds(86400),
            anonymous_unused_for: seconds(10),
            max_used_percent: Some(85),
            keep_storage: Some(20_000_000_000),
            keep_references: vec!["me/*".into()],
            keep_labels: vec!["tier=db".into()],
            keep_container_labels: vec!["keep".into()],
        };
        assert_eq!(said.unwrap(), wanted);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            (r#"{"enabled": true}"#, "without a rule"),
            (r#"{"interval": "0s"}"#, "a second at least"),
            (r#"{"interval": "soon"}"#, "gc.interval: a duration"),
            (r#"{"images": {"unused-for": "3"}}"#, "gc.images: unused-for: a duration"),
            (
                r#"{"containers": {"exited": "3h"}}"#,
                "gc.containers.exited (the nearest there is: gc.containers.exited-for)",
            ),
            (r#"{"max-used-percent": 100}"#, "from 1 to 99"),
            (r#"{"keep-storage": "lots"}"#, "a number of bytes"),
        ] {
            let message = format!("{:#}", read(text).unwrap_err());
            assert!(message.contains(said), "{message}");
        }
    }
}
