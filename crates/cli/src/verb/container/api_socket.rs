//! `--use-api-socket`: the engine's socket in the container, with the user's credentials for registries.

use super::path;
use crate::config::{all_credentials, as_file};
use crate::context::Context;
use crate::failure::Failure;
use wharf_docker_api::client::{Body, Call, Query};
use wharf_docker_api::types::container::CreateRequest;
use wharf_docker_api::types::host_config::{BindOptions, Mount};

/// Where clients look for it.
const SOCKET: &str = "/var/run/docker.sock";
const VARIABLE: &str = "DOCKER_CONFIG";
const DIRECTORY: &str = "run/secrets/docker";

/// Adds the socket to a request. Returns the configuration to bring into the container, if there is anything to tell.
pub(super) fn add(context: &Context, request: &mut CreateRequest) -> Result<Option<Vec<u8>>, Failure> {
    request.host_config.mounts.get_or_insert_default().push(Mount {
        kind: "bind".into(),
        source: context.engine_socket(),
        target: SOCKET.into(),
        bind_options: Some(BindOptions::default()),
        ..Mount::default()
    });
    let env = request.config.env.get_or_insert_default();
    let of_user = env.iter().any(|entry| entry.split('=').next() == Some(VARIABLE));
    let Some(file) = as_file(&all_credentials(&context.config()?)?).filter(|_| !of_user) else {
        return Ok(None);
    };
    env.push(format!("{VARIABLE}=/{DIRECTORY}"));
    serde_json::to_vec_pretty(&file).map(Some).map_err(|e| Failure::new(format!("encode credentials: {e}")))
}

/// Brings the configuration into a container that was created, readable by its root alone.
pub(super) async fn bring(context: &Context, id: &str, config: &[u8]) -> Result<(), Failure> {
    let archive = pack(config).map_err(|e| Failure::new(format!("pack the credentials: {e}")))?;
    let call = Call::put(path(id, "/archive")).query(Query::new().with("path", "/"));
    Ok(context.client.done(call.body("application/x-tar", Body::full(archive))).await?)
}

fn pack(config: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(config.len() as u64);
    tar.append_data(&mut header, format!("{DIRECTORY}/config.json"), config)?;
    tar.into_inner()
}
