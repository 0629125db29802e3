//! What Compose needs of this machine: build contexts, credentials, proxies.

use crate::archive::context::{Context as BuildContext, Dockerfile as Source};
use crate::archive::upload;
use crate::config::{ConfigFile, all_credentials, encode, registry_auth};
use crate::context::Context;
use crate::failure::Failure;
use std::path::Path;
use wharf_compose::Error;
use wharf_compose::run::{Dockerfile, Outside};
use wharf_docker_api::client::Body;

/// This machine.
#[derive(Debug)]
pub(crate) struct Machine {
    config: ConfigFile,
    engine: String,
}

impl Machine {
    pub(crate) fn new(context: &Context) -> Result<Self, Failure> {
        Ok(Self { config: context.config()?, engine: context.client.endpoint().to_string() })
    }
}

fn failed(failure: Failure) -> Error {
    Error::Project(failure.message)
}

impl Outside for Machine {
    fn pack(&self, context: &Path, dockerfile: Dockerfile<'_>) -> Result<(String, Body), Error> {
        let source = match dockerfile {
            Dockerfile::File(path) => Source::File(Some(path)),
            Dockerfile::Inline(text) => Source::Content(text.as_bytes().to_vec()),
        };
        let files = BuildContext::new(context, source).map_err(Error::Project)?;
        let name = files.dockerfile().to_owned();
        Ok((name, upload::body(move |writer| files.write(writer))))
    }

    fn auth(&self, image: &str) -> Result<String, Error> {
        registry_auth(&self.config, image).map_err(failed)
    }

    fn all_auth(&self) -> Result<String, Error> {
        encode(&all_credentials(&self.config).map_err(failed)?).map_err(failed)
    }

    fn proxies(&self) -> Vec<(String, String)> {
        self.config.proxies(&self.engine)
    }
}
