//! Bridges, ports, addresses, DNS: the `Network` seam on the Linux kernel.
//!
//! ```text
//! BridgeNetwork ─┬─ link       bridges and veth pairs          (rtnetlink)
//!                ├─ nft        the engine's table               (nf_tables)
//!                ├─ ipam       addresses in use                 (memory)
//!                ├─ hold       host ports in use                (bound sockets)
//!                ├─ relay      IPv6 to IPv4, and ::1            (tokio tasks)
//!                └─ dns        names, on each network's gateway (tokio tasks)
//! ```
//!
//! No program of the system is run. Everything the kernel is given carries the engine's table name, as the
//! table itself or as the alias of a link, so that several engines live side by side.
#![forbid(unsafe_code)]

mod bridge;
mod conntrack;
mod dns;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hold;
mod ipam;
mod link;
mod namespace;
mod netlink;
mod nft;
mod parameters;
mod relay;
mod remove;
#[cfg(test)]
mod tests;

pub use bridge::{BridgeNetwork, Config};
