//! `build` of a service.

use super::attributes::attributes;
use super::scalars::{Bytes, Hosts, Map, Ssh};
use super::service::{FileReference, Ulimit};

attributes! {
    /// How an image is made.
    pub struct Build {
        context: String,
        dockerfile: String,
        dockerfile_inline: String,
        entitlements: Vec<String>,
        args: Map<Option<String>>,
        provenance: String,
        sbom: String,
        ssh: Ssh,
        labels: Map<String>,
        cache_from: Vec<String>,
        cache_to: Vec<String>,
        no_cache: bool,
        additional_contexts: Map<String>,
        pull: bool,
        extra_hosts: Hosts,
        isolation: String,
        network: String,
        target: String,
        secrets: Vec<FileReference>,
        shm_size: Bytes,
        tags: Vec<String>,
        ulimits: Map<Ulimit>,
        platforms: Vec<String>,
        privileged: bool,
    }
}
