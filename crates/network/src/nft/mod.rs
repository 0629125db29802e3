//! The engine's own nftables table, spoken to through nf_tables netlink messages (linux/netfilter/nf_tables.h).
//!
//! The rules are fixed and look everything up in sets and maps; what changes at run time are elements:
//!
//! ```text
//! bridges     ifname                          bridges of this engine
//! pairs       ifname . ifname                 each bridge with itself: traffic that turns round on it
//! closed      ifname                          bridges whose containers may not talk to each other
//! internal    ifname                          bridges without a way in or out
//! masquerade4/masquerade6 ifname              bridges whose sources are rewritten on the way out
//! routed4/routed6 ifname                      bridges whose containers are reached by their own addresses
//! open4/open6 address . protocol . port       at these ports
//! home4/home6 ifname . address                each bridge with its subnets
//! addr4/addr6 address . protocol . port   →   container address . port
//! any4/any6   protocol . port             →   container address . port
//! ```
//!
//! Nothing is ever put into another table, and an `accept` here ends only this table's say: a drop of the
//! host's own firewall always wins.

pub(crate) mod content;
mod expression;
pub(crate) mod foreign;
pub(crate) mod resolver;
mod ruleset;
pub(crate) mod table;
mod transaction;
pub(crate) mod watch;
