//! What clients are told of this builder: capabilities by name, and the one worker.

use crate::BuildKit;
use std::collections::BTreeMap;
use wharf_grpc::proto::ops::{self, ApiCap, BuildkitVersion, WorkerRecord};
use wharf_oci::platform::Platform;

/// What of the bridge there is. A client takes one without a list for the oldest.
pub(crate) const BRIDGE: [&str; 9] = [
    "solve.base",
    "return",
    "proto.refarray",
    "reference.output",
    "frontend.inputs",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.evaluate",
    "gateway.warnings",
];

/// What of builds there is.
pub(crate) const BUILD: [&str; 2] = ["source.image", "exporter.multiple"];

/// Says that images can be had as archives, as of an engine with containerd's image store.
const SNAPSHOTTER: &str = "org.mobyproject.buildkit.worker.snapshotter";
/// What `--add-host name:host-gateway` means.
const GATEWAY: &str = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";

pub(crate) fn caps(names: &[&str]) -> Vec<ApiCap> {
    names.iter().map(|name| ApiCap { id: (*name).to_owned(), enabled: true }).collect()
}

/// Who builds.
pub(crate) fn worker(kit: &BuildKit) -> WorkerRecord {
    let host = Platform::host();
    let platform = ops::Platform {
        architecture: host.architecture,
        os: host.os,
        variant: host.variant.unwrap_or_default(),
    };
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut labels = BTreeMap::from([
        label("org.mobyproject.buildkit.worker.executor", "wharf"),
        label(SNAPSHOTTER, "wharf"),
    ]);
    if let Some(address) = (kit.gateway)() {
        labels.insert(GATEWAY.to_owned(), address.to_string());
    }
    WorkerRecord { id: kit.id.clone(), labels, platforms: vec![platform], version: Some(version()) }
}

/// Whose builder this is.
pub(crate) fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "wharf".to_owned(),
        version: format!("v{}", env!("CARGO_PKG_VERSION")),
        revision: String::new(),
    }
}
