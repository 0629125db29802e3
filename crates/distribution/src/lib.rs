//! Registry client and registry server (OCI distribution specification 1.1).
#![forbid(unsafe_code)]

pub mod client;
pub mod server;
pub mod transfer;

mod s3;
