//! `create`: a container that waits to be started.

use super::api_socket;
use super::flags::ContainerFlags;
use super::request::{self, IdFile};
use super::run::told;
use crate::context::{Context, line, note};
use crate::failure::{Failure, Outcome};
use crate::verb::image::pull::{self, Show};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::container::{CreateRequest, CreateResponse};

/// Flags of `create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    container: ContainerFlags,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let flags = options.container;
    let mut request = request::build(&flags).map_err(|why| told(&Failure::new(why), "create"))?;
    request::add_proxies(context, &mut request)?;
    request.config.attach_stdout = true;
    request.config.attach_stderr = true;
    request.config.attach_stdin = flags.interactive;
    request.config.stdin_once = flags.interactive;
    let id = create(context, &flags, request).await?;
    line(id)?;
    Ok(0)
}

/// Creates a container, with the image pulled where it is missing and that is allowed. Returns the id.
pub(super) async fn create(
    context: &Context,
    flags: &ContainerFlags,
    mut request: CreateRequest,
) -> Result<String, Failure> {
    let brought = match flags.use_api_socket {
        true => api_socket::add(context, &mut request)?,
        false => None,
    };
    let id_file = IdFile::create(flags.cidfile.as_deref()).map_err(Failure::new)?;
    let image = &request.config.image;
    let show = if flags.quiet { Show::Nothing } else { Show::Stderr };
    if flags.pull == "always" {
        pull::pull(context, image, flags.platform.as_deref(), show).await?;
    }
    let query = || Query::new().maybe("name", flags.name.as_ref()).maybe("platform", flags.platform.as_ref());
    let call = || Call::post("/containers/create").query(query()).json(&request);
    let created = match context.client.json::<CreateResponse>(call()?).await {
        Err(error)
            if error.is_not_found()
                && flags.pull == "missing"
                && ["No such image", "does not match the specified platform"]
                    .iter()
                    .any(|why| error.to_string().contains(why)) =>
        {
            if !flags.quiet {
                note(format!("Unable to find image '{}' locally", crate::image_ref::tagged(image)));
            }
            pull::pull(context, image, flags.platform.as_deref(), show).await?;
            context.client.json(call()?).await
        }
        result => result,
    }?;
    for warning in &created.warnings {
        note(format!("WARNING: {warning}"));
    }
    id_file.write(&created.id).map_err(Failure::new)?;
    if let Some(config) = brought {
        api_socket::bring(context, &created.id, &config).await?;
    }
    Ok(created.id)
}
