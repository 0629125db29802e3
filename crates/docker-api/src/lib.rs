//! Docker Engine API wire types and the client that the CLI uses.
#![forbid(unsafe_code)]
