//! Hashes of configurations, as Docker's: SHA-256 of the JSON, without what makes no difference to a container that is there.

use super::resources::{Network, Volume};
use super::service::Service;
use super::{json, tree};
use serde::Serialize;

/// Of a service: what its containers were made from.
pub fn service(service: &Service) -> String {
    let mut hashed = service.clone();
    hashed.build = None;
    hashed.pull_policy.clear();
    hashed.scale = None;
    if let Some(deploy) = &mut hashed.deploy {
        deploy.replicas = None;
    }
    hashed.depends_on.clear();
    hashed.profiles.clear();
    of(&hashed)
}

/// Of a network.
pub fn network(network: &Network) -> String {
    of(network)
}

/// Of a volume.
pub fn volume(volume: &Volume) -> String {
    let mut hashed = volume.clone();
    if hashed.driver.is_empty() {
        hashed.driver = "local".into();
    }
    of(&hashed)
}

fn of(value: &impl Serialize) -> String {
    hex(json::compact(&tree::of(value)).as_bytes())
}

/// SHA-256 of bytes, in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
