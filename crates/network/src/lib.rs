//! Bridges, ports, addresses, DNS.
#![forbid(unsafe_code)]
