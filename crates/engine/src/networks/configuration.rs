//! Networks that are only there for others to take their configuration from (`--config-only`, `--config-from`).

use super::{Networks, NewNetwork};
use wharf_model::network::{Driver, NetworkSpec};
use wharf_model::{Error, ErrorKind, NetworkId, Result};

/// Nothing of it is in the kernel, and nobody looks into its options before somebody takes them.
pub(super) fn spec(wish: &NewNetwork, id: NetworkId) -> NetworkSpec {
    NetworkSpec {
        id,
        name: wish.name.clone(),
        driver: Driver::None,
        bridge: String::new(),
        parent: String::new(),
        subnets: wish.subnets.clone(),
        internal: false,
        icc: true,
        masquerade: true,
        mtu: 0,
        gateway_modes: Default::default(),
        binding: None,
    }
}

impl Networks {
    /// Takes the configuration over that a wish names, and refuses what contradicts it.
    pub(super) fn configure(&self, wish: &mut NewNetwork) -> Result<()> {
        let refused = |text: &str| Err(Error::new(ErrorKind::Forbidden, text));
        if wish.config_only && (wish.internal || wish.attachable) {
            return refused(OPERATOR_FIELDS);
        }
        if wish.config_from.is_empty() {
            return Ok(());
        }
        if wish.config_only {
            return refused("a configuration network cannot depend on another configuration network");
        }
        if wish.ipv6 || !wish.labels.is_empty() || !wish.subnets.is_empty() {
            return refused(OWN_CONFIGURATION);
        }
        if !wish.options.is_empty() {
            return refused(
                "network driver options are not supported if the network depends on a configuration network",
            );
        }
        let found = self.list().into_iter().find(|r| r.config_only && r.spec.name == wish.config_from);
        let found = found.ok_or_else(|| {
            Error::not_found(format!("configuration network {:?} does not exist", wish.config_from))
        })?;
        wish.subnets = found.spec.subnets;
        wish.chosen_gateways = found.chosen_gateways;
        wish.labels = found.labels;
        wish.options = found.options;
        wish.ipv6 = found.ipv6;
        wish.without_ipv4 = found.without_ipv4;
        Ok(())
    }

    /// Whether nobody has its configuration from this network.
    pub(super) fn unused(&self, name: &str) -> Result<()> {
        if self.list().iter().any(|r| r.config_from == name) {
            return Err(Error::new(
                ErrorKind::Forbidden,
                format!("error while removing network: configuration network {name:?} is in use"),
            ));
        }
        Ok(())
    }
}

/// What a configuration has not.
pub const OPERATOR_FIELDS: &str = "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.";

/// What a network has not that takes another one's configuration.
pub const OWN_CONFIGURATION: &str =
    "user specified configurations are not supported if the network depends on a configuration network";
