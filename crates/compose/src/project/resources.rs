//! `networks`, `volumes`, `secrets`, `configs` and `models`.

use super::attributes::attributes;
use super::scalars::{Blank, Map};

attributes! {
    /// A network.
    pub struct Network {
        name: String,
        driver: String,
        driver_opts: Map<String>,
        ipam: Ipam,
        external: bool,
        internal: bool,
        attachable: bool,
        labels: Map<String>,
        enable_ipv4: Option<bool>,
        enable_ipv6: Option<bool>,
    }

    /// Its addresses.
    pub struct Ipam {
        driver: String,
        config: Vec<Pool>,
        options: Map<String>,
    }

    /// A pool of them.
    pub struct Pool {
        subnet: String,
        gateway: String,
        ip_range: String,
        aux_addresses: Map<String>,
    }

    /// A volume.
    pub struct Volume {
        name: String,
        driver: String,
        driver_opts: Map<String>,
        external: bool,
        labels: Map<String>,
    }

    /// A secret or a config.
    pub struct FileObject {
        name: String,
        file: String,
        environment: String,
        content: String,
        external: bool,
        labels: Map<String>,
        driver: String,
        driver_opts: Map<String>,
        template_driver: String,
    }

    /// A model.
    pub struct Model {
        name: String,
        model: String,
        context_size: i64,
        runtime_flags: Vec<String>,
    }
}

// Docker's JSON has it even where it is empty.
impl Blank for Ipam {
    fn is_blank(&self) -> bool {
        false
    }
}
