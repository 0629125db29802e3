//! `context ls`.

use super::default_host;
use crate::config::contexts::{DEFAULT, Store, harmless};
use crate::context::{Context, note, print};
use crate::failure::Outcome;
use crate::format::list::{Listing, Row};

/// Flags of `context ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show names alone
    #[arg(short = 'q', long)]
    quiet: bool,
}

const LISTING: Listing = Listing {
    columns: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
        ("Current", "CURRENT"),
    ],
    table: &["Name", "Description", "DockerEndpoint", "Error"],
};

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut all =
        vec![(DEFAULT.to_owned(), "The engine of this host, or of DOCKER_HOST".to_owned(), default_host())];
    let (stored, broken) = Store::of(&context.config_dir).list()?;
    for engine in stored {
        all.push((engine.name, engine.metadata.description, engine.endpoints.docker.host));
    }
    // The others can be used.
    for failure in broken {
        note(format!("Warning: {}", harmless(&failure.message)));
    }
    if options.quiet && options.format.is_none() {
        print(all.iter().map(|(name, ..)| format!("{}\n", harmless(name))).collect::<String>())?;
        return Ok(0);
    }
    let table = options.format.as_deref().is_none_or(|format| format.starts_with("table"));
    let rows: Vec<Row> = all
        .into_iter()
        .map(|(name, description, host)| {
            let current = name == context.chosen;
            let name = if current && table { format!("{name} *") } else { name };
            Row::new([
                ("Name", harmless(&name).into()),
                ("Description", harmless(&description).into()),
                ("DockerEndpoint", harmless(&host).into()),
                ("Error", "".into()),
                ("Current", current.into()),
            ])
        })
        .collect();
    print(LISTING.show(&rows, options.format.as_deref())?)?;
    Ok(0)
}
