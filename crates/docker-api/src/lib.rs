//! Docker Engine API: wire types and the client that the CLI uses.
//!
//! `types` holds the JSON of API version 1.51 exactly as Docker writes it; both the client and the server
//! use them. `client` speaks HTTP to an engine. `detach` watches for the keys that leave a container. `words` is about
//! messages.
#![forbid(unsafe_code)]

pub mod client;
pub mod detach;
pub mod types;
pub mod words;

/// The version of the API that the types follow and the client asks for.
pub const API_VERSION: &str = "1.51";
