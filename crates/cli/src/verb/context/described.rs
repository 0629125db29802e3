//! What `--docker` says of an engine.

use super::known;
use crate::config::contexts::{Address, Store, Tls};
use crate::failure::Failure;
use wharf_docker_api::client::Endpoint;

/// An engine's address, and what shows both sides who the other is.
pub(super) struct Described {
    pub(super) address: Address,
    pub(super) tls: Tls,
}

impl Described {
    /// Reads pairs of `key=value`. Files are read now: later they may be others.
    pub(super) fn read(store: &Store, pairs: &[String]) -> Result<Self, Failure> {
        let failed = |why: String| Failure::new(format!("unable to create docker endpoint config: {why}"));
        let mut pairs = pairs.iter().flat_map(|text| text.split(',')).collect::<Vec<_>>();
        // What is said beside it counts, wherever it stands.
        pairs.sort_by_key(|pair| !pair.starts_with("from="));
        let mut found = Self { address: Address::default(), tls: Tls::default() };
        for pair in pairs {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| failed(format!("{pair} must be formatted as key=value")))?;
            match key {
                "from" => {
                    found.address = known(store, value)?.endpoints.docker;
                    found.tls = store.tls_of(value)?;
                }
                "host" => found.address.host = value.to_owned(),
                "ca" => found.tls[0] = Some(file(value)?),
                "cert" => found.tls[1] = Some(file(value)?),
                "key" => found.tls[2] = Some(file(value)?),
                "skip-tls-verify" => found.address.skip_tls_verify = truth(value).map_err(failed)?,
                _ => return Err(failed(format!("unrecognized config key: {key}"))),
            }
        }
        // An address that cannot be is found out now.
        Endpoint::parse(&found.address.host, None).map_err(|e| failed(e.to_string()))?;
        Ok(found)
    }
}

fn file(path: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::file("read", path, &e))
}

/// As Go reads it.
fn truth(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("skip-tls-verify is neither true nor false: {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_described_in_pairs() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::of(directory.path());
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, "x").unwrap();
        let read = |text: &str| Described::read(&store, &[text.to_owned()]);
        let found = read(&format!("host=tcp://far:2376,ca={},skip-tls-verify=1", ca.display())).unwrap();
        assert_eq!(found.address, Address { host: "tcp://far:2376".into(), skip_tls_verify: true });
        assert_eq!(found.tls, [Some(b"x".to_vec()), None, None]);
        for bad in
            ["host", "nope=1", "host=nope", "host=tcp://a:1,skip-tls-verify=2", "from=gone", "ca=/nope"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("from=default,host=tcp://far:1").unwrap().address.host == "tcp://far:1");
    }
}
