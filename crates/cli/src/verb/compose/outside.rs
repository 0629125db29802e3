//! What Compose needs of this machine: build contexts, credentials, proxies.

use crate::archive::context::{Context as BuildContext, Dockerfile as Source};
use crate::archive::upload;
use crate::buildkit::{Plain, solve};
use crate::config::{ConfigFile, all_credentials, as_file, encode, registry_auth};
use crate::context::Context;
use crate::failure::Failure;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use wharf_compose::Error;
use wharf_compose::run::solve::Solve;
use wharf_compose::run::{Dockerfile, Outside};
use wharf_docker_api::client::{Body, Client};
use wharf_grpc::proto::control::StatusResponse;

/// This machine.
#[derive(Debug)]
pub(crate) struct Machine {
    config: ConfigFile,
    config_dir: PathBuf,
    engine: String,
}

/// Where Docker's plugins are, behind the user's own.
const PLUGIN_DIRS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// Whether something can be executed.
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

impl Machine {
    pub(crate) fn new(context: &Context) -> Result<Self, Failure> {
        Ok(Self {
            config: context.config()?,
            config_dir: context.config_dir.clone(),
            engine: context.client.endpoint().to_string(),
        })
    }
}

impl Machine {
    /// All credentials, as a client's configuration has them.
    pub(crate) fn credentials(&self) -> Result<String, Error> {
        let all = all_credentials(&self.config).map_err(failed)?;
        let file = as_file(&all).unwrap_or_else(|| serde_json::json!({"auths": {}}));
        serde_json::to_string_pretty(&file).map_err(|error| Error::project(error.to_string()))
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

    fn solve<'f>(
        &'f self,
        client: &'f Client,
        build: Solve<'f>,
        say: &'f mut (dyn FnMut(&str) + 'f),
    ) -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'f>> {
        Box::pin(async move {
            let request =
                crate::verb::image::buildkit::of_project(build, self.config.clone()).map_err(failed)?;
            let mut plain = Plain::default();
            let mut news = |news: &StatusResponse| say(&plain.lines(news));
            solve(client, request, &mut news).await.map(drop).map_err(failed)
        })
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

    fn plugin(&self, name: &str) -> Option<PathBuf> {
        // A name, and no way to somewhere else.
        let file = Some(format!("docker-{name}")).filter(|file| !file.contains('/'))?;
        let own = std::iter::once(self.config_dir.join("cli-plugins"));
        own.chain(PLUGIN_DIRS.map(PathBuf::from)).map(|dir| dir.join(&file)).find(|path| is_program(path))
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        let in_path = || {
            if name.contains('/') {
                return Some(PathBuf::from(name)).filter(|path| is_program(path));
            }
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| is_program(path))
        };
        self.plugin(name).or_else(in_path)
    }
}
