//! `image check`, beyond Docker: whether images are kept as they were stored, and mending what is not.

use crate::config::{all_credentials, encode};
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::format::size::decimal;
use crate::stream::progress::{self, Target};
use wharf_docker_api::client::{Call, Query};
use wharf_docker_api::types::image::{CheckFinding, CheckSummary};

/// Flags of `image check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Mend what is damaged, from what else is here or from the registries the images came from
    #[arg(long)]
    repair: bool,
    /// Say nothing but what is damaged
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "IMAGE", hide = true)]
    images: Vec<String>,
}

/// 1 when something is damaged and was not mended.
pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let mut query = Query::new();
    for image in &options.images {
        query = query.with("name", image);
    }
    let mut call = Call::post("/images/check".to_owned());
    if options.repair {
        query = query.with("repair", "1");
        call = call.header("x-registry-config", &encode(&all_credentials(&context.config()?)?)?)?;
    }
    let mut summary = None;
    let mut printed = Ok(());
    progress::show(context.client.stream(call.query(query)).await?, Target::Nowhere, |message| {
        let Some(aux) = &message.aux else { return };
        if aux.get("Object").is_none() {
            summary = serde_json::from_value::<CheckSummary>(aux.clone()).ok();
        } else if let (Ok(finding), true) =
            (serde_json::from_value::<CheckFinding>(aux.clone()), printed.is_ok())
        {
            printed = line(told(&finding));
        }
    })
    .await?;
    printed?;
    let summary = summary.ok_or_else(|| Failure::new("the engine did not say what it checked"))?;
    if !options.quiet {
        line(summed(&summary, options.repair))?;
    }
    Ok(i32::from(summary.damaged > summary.mended))
}

fn told(finding: &CheckFinding) -> String {
    let of = if finding.image.is_empty() { String::new() } else { format!(" of {}", finding.image) };
    let begin = format!("{} {}{of}: {}", finding.object, finding.digest, finding.damage);
    match finding.state.as_str() {
        "damaged" => begin,
        "mended" => format!("{begin}: mended"),
        _ => format!("{begin}: not mended: {}", finding.error),
    }
}

fn summed(summary: &CheckSummary, repair: bool) -> String {
    let plural = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut text = format!(
        "Checked {}, {}, {}: ",
        plural(summary.images, "image"),
        plural(summary.objects, "object"),
        decimal(summary.bytes as i64)
    );
    text += &match (summary.damaged, repair) {
        (0, _) => "all sound".to_owned(),
        (damaged, true) => format!("{damaged} damaged, {} mended", summary.mended),
        (damaged, false) => format!("{damaged} damaged (`image check --repair` mends what it can)"),
    };
    if summary.unverifiable > 0 {
        let layers = plural(summary.unverifiable, "unpacked layer");
        text += &format!("; nothing tells whether the files of {layers} are as they were stored");
    }
    text
}
