//! The project: typed, canonical, with every default in place.
//!
//! The order of the fields is Docker's own, for the hash of a service's JSON decides whether its containers are made anew, and either
//! tool is to take over what the other made.

pub mod api_socket;
mod attributes;
pub mod build;
pub mod deploy;
pub mod hash;
pub mod json;
pub mod load;
pub mod names;
pub mod normalize;
pub mod picture;
pub mod profiles;
pub mod read;
pub mod resolve;
pub mod resources;
pub mod scalars;
pub mod service;
pub mod tree;
pub mod validate;
pub mod yaml;

pub use load::{Loaded, Options, load};
pub use resources::{FileObject, Network, Volume};
pub use scalars::{Bytes, Duration, Extensions, Map};
pub use service::Service;

use attributes::attributes;

attributes! {
    /// The whole of what the files say.
    pub struct Project {
        name: String,
        services: Map<Service>,
        networks: Map<Network>,
        volumes: Map<Volume>,
        secrets: Map<FileObject>,
        configs: Map<FileObject>,
        models: Map<resources::Model>,
    }
}

impl Project {
    /// A service by name.
    pub fn service(&self, name: &str) -> Result<&Service, crate::Error> {
        self.services.get(name).ok_or_else(|| crate::Error::NotFound(format!("no such service: {name}")))
    }

    /// Services that depend on one.
    pub fn dependents<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.services
            .iter()
            .filter(move |(_, service)| service.depends_on.contains_key(name))
            .map(|(name, _)| name.as_str())
    }
}
