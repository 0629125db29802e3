//! `volume create`.

use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::parse::{env, pair};
use wharf_docker_api::client::Call;
use wharf_docker_api::types::volume::{CreateRequest, Volume};

/// Flags of `volume create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What makes the volume
    #[arg(short = 'd', long, value_name = "string", default_value = "local")]
    driver: String,
    /// Group of the volume's directory, a number
    #[arg(long, value_name = "number")]
    gid: Option<u32>,
    /// Label of the volume, as key=value
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Permissions of the volume's directory, such as 0770
    #[arg(long, value_name = "octal")]
    mode: Option<String>,
    /// Name of the volume
    #[arg(long, value_name = "string", hide = true)]
    name: Option<String>,
    /// Option of the driver, as key=value
    #[arg(short = 'o', long, value_name = "map")]
    opt: Vec<String>,
    /// Owner of the volume's directory, a number
    #[arg(long, value_name = "number")]
    uid: Option<u32>,
    #[arg(value_name = "VOLUME", hide = true)]
    volume: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.name.is_some() && options.volume.is_some() {
        return Err(Failure::new(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        ));
    }
    let labels = env::labels(&[], &options.label).map_err(Failure::new)?;
    let own = [
        ("uid", options.uid.map(|id| id.to_string())),
        ("gid", options.gid.map(|id| id.to_string())),
        ("mode", options.mode),
    ];
    let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let request = CreateRequest {
        name: options.volume.or(options.name).unwrap_or_default(),
        driver: options.driver,
        driver_opts: Some(options.opt.iter().map(|text| pair(text)).chain(own).collect()),
        labels: Some(labels.into_iter().collect()),
    };
    let created: Volume = context.client.json(Call::post("/volumes/create").json(&request)?).await?;
    line(created.name)?;
    Ok(0)
}
