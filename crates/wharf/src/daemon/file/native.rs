//! Docker's directives that say how it is here in any case: a file that was Docker's is read as it stands.

use anyhow::ensure;
use serde_json::{Map, Value};

/// A directive, and its values in JSON that are so.
const NATIVE: [(&str, &[&str]); 11] = [
    ("default-runtime", &[r#""runc""#, r#""wharf""#]),
    ("exec-opts", &[r#"["native.cgroupdriver=cgroupfs"]"#, "[]"]),
    ("experimental", &["false"]),
    ("features", &[r#"{"buildkit":true}"#, "{}"]),
    ("icc", &["true"]),
    ("ip-forward", &["true"]),
    ("ip-masq", &["true"]),
    ("iptables", &["true"]),
    ("ip6tables", &["true"]),
    ("live-restore", &["true"]),
    ("storage-driver", &[r#""overlay2""#]),
];

/// Takes them out of the file. Other values of them are refused: what they ask for is not there.
pub(super) fn take(map: &mut Map<String, Value>) -> anyhow::Result<()> {
    for (key, values) in NATIVE {
        let Some(value) = map.remove(key) else { continue };
        let is_so = values.iter().any(|text| serde_json::from_str::<Value>(text).is_ok_and(|v| v == value));
        ensure!(is_so, "directive {key}: {value} is not supported, only {}", values.join(" or "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(text: &str) -> anyhow::Result<Vec<String>> {
        let mut map: Map<String, Value> = serde_json::from_str(text)?;
        take(&mut map)?;
        Ok(map.into_iter().map(|(key, _)| key).collect())
    }

    #[test]
    fn what_is_so_anyway_may_be_said() {
        let text = r#"{"live-restore": true, "storage-driver": "overlay2", "features": {"buildkit": true},
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "iptables": true, "debug": true}"#;
        assert_eq!(left(text).unwrap(), ["debug"]);
        for other in
            [r#"{"live-restore": false}"#, r#"{"storage-driver": "btrfs"}"#, r#"{"iptables": "true"}"#]
        {
            assert!(left(other).unwrap_err().to_string().contains("is not supported, only"), "{other}");
        }
        for (_, values) in NATIVE {
            assert!(values.iter().all(|text| serde_json::from_str::<Value>(text).is_ok()));
        }
    }
}
