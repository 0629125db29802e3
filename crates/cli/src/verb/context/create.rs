//! `context create`.

use crate::config::contexts::{Address, Endpoints, Metadata, NamedEngine, Store, check_name};
use crate::context::{Context, line, note};
use crate::failure::{Failure, Outcome};
use std::path::PathBuf;
use wharf_docker_api::client::Endpoint;

/// Flags of `context create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Words about the context
    #[arg(long, value_name = "string")]
    description: Option<String>,
    /// The engine: host=ADDRESS, ca=FILE, cert=FILE, key=FILE, skip-tls-verify=true
    #[arg(long, value_name = "stringToString")]
    docker: Vec<String>,
    /// Begin with what another context has
    #[arg(long, value_name = "string")]
    from: Option<String>,
    #[arg(value_name = "CONTEXT", hide = true)]
    name: String,
}

/// What `--docker` says.
#[derive(Default)]
struct Described {
    address: Address,
    files: [Option<PathBuf>; 3],
}

impl Described {
    fn parse(pairs: &[String], begin: Address) -> Result<Self, Failure> {
        let mut found = Self { address: begin, ..Self::default() };
        for pair in pairs.iter().flat_map(|text| text.split(',')) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(Failure::new(format!("{pair} must be formatted as key=value")));
            };
            match key {
                "host" => found.address.host = value.to_owned(),
                "ca" => found.files[0] = Some(value.into()),
                "cert" => found.files[1] = Some(value.into()),
                "key" => found.files[2] = Some(value.into()),
                "skip-tls-verify" => found.address.skip_tls_verify = value == "true",
                _ => {
                    let known = "host, ca, cert, key and skip-tls-verify";
                    return Err(Failure::new(format!("unrecognized config key: {key}: known are {known}")));
                }
            }
        }
        Ok(found)
    }
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let (store, name) = (Store::of(&context.config_dir), options.name);
    check_name(&name)?;
    if store.find(&name).is_ok() {
        return Err(Failure::new(format!("context {name:?} already exists")));
    }
    let from = options.from.as_deref().map(|other| store.find(other)).transpose()?;
    let (begin, mut metadata) = from.map(|f| (f.endpoints.docker, f.metadata)).unwrap_or_default();
    let described = Described::parse(&options.docker, begin)?;
    // An address that cannot be is found out now.
    Endpoint::parse(&described.address.host, None)?;
    metadata = options.description.map_or(metadata, |description| Metadata { description });
    let endpoints = Endpoints { docker: described.address };
    let engine = NamedEngine { name: name.clone(), metadata, endpoints };
    store.keep(&engine, described.files.each_ref().map(Option::as_deref))?;
    line(&name)?;
    note(format!("Successfully created context {name:?}"));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_described_in_pairs() {
        let parse = |text: &str| Described::parse(&[text.to_owned()], Address::default());
        let found = parse("host=tcp://far:2376,ca=/ca.pem,skip-tls-verify=true").unwrap();
        assert_eq!(found.address, Address { host: "tcp://far:2376".into(), skip_tls_verify: true });
        assert_eq!(found.files[0].as_deref(), Some(std::path::Path::new("/ca.pem")));
        assert!(parse("host").is_err() && parse("nope=1").is_err());
    }
}
