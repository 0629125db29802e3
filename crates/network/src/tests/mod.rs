//! Tests on the real kernel, each in network namespaces of its own. They need root.

mod conformance;
mod firewall;
mod fixture;
mod golden;
mod names;
mod parents;
mod published;
mod timing;
