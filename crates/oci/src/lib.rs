//! OCI and Docker image types: digests, references, manifests, image configuration.
#![forbid(unsafe_code)]

pub mod digest;
pub mod image_config;
pub mod manifest;
mod null;
pub mod platform;
pub mod reference;
pub mod tar;
