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

/// Decides about a query both ways it may come.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzzing(query: &[u8], asker: std::net::IpAddr) {
    use answer::{Transport, decide, failure};
    let network = wharf_model::ids::NetworkId::from_bytes([1; 32]);
    for transport in [Transport::Udp, Transport::Tcp] {
        let _ = decide(&directory::Directory::default(), &network, asker, query, transport, 1);
    }
    let _ = failure(query);
}
