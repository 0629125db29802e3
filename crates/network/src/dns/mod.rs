//! Names of containers, answered on each network's gateway; everything else goes to the host's resolvers.
//!
//! ```text
//! container ──▶ gateway:53 ──▶ answer (names of the asker's networks)
//!                    └───────▶ upstream (the host's /etc/resolv.conf as it is at that moment)
//! ```

mod answer;
pub(crate) mod directory;
pub(crate) mod resolv_conf;
pub(crate) mod server;
mod upstream;
