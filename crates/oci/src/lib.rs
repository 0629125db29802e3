//! OCI and Docker image types: digests, references, manifests, image configuration.
#![forbid(unsafe_code)]

pub mod digest;
pub mod image_config;
pub mod manifest;
pub mod path;
pub mod pattern;
pub mod platform;
pub mod reference;
pub mod runtime_spec;
pub mod tar;

mod null;
