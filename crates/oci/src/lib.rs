//! OCI and Docker image types: digests, references, manifests, image configuration.
#![forbid(unsafe_code)]

pub mod digest;
pub mod runtime_spec;
