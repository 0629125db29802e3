//! `version`.

use crate::context::{Context, note, print};
use crate::failure::{FAILED, Outcome};
use crate::format::list::unescape;
use crate::template::Template;
use serde_json::{Value, json};
use wharf_docker_api::API_VERSION;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::system::Version;

/// Flags of `version`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show with a Go template, or as json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let asked = match context.engine().await {
        Ok(()) => context.client.json::<Version>(Call::get("/version")).await.map_err(Into::into),
        Err(failure) => Err(failure),
    };
    let (server, failure) = match asked {
        Ok(server) => (Some(server), None),
        Err(failure) => (None, Some(failure)),
    };
    let (os, arch) = (std::env::consts::OS, arch());
    if let Some(format) = options.format.as_deref().filter(|format| !format.is_empty()) {
        let value = json!({
            "Client": {
                "Platform": {"Name": "Wharf"}, "Version": context.hooks.version,
                "ApiVersion": context.client.version(), "DefaultAPIVersion": API_VERSION, "GitCommit": "",
                "GoVersion": "", "Os": os, "Arch": arch, "BuildTime": "", "Context": context.chosen,
            },
            "Server": server.as_ref().map_or(Value::Null, |server| json!(server)),
        });
        let format = if format == "json" { "{{json .}}".to_owned() } else { unescape(format) };
        print(Template::parse(&format)?.run(&value)? + "\n")?;
    } else {
        let mut text = format!(
            "Client: Wharf\n Version:           {}\n API version:       {}\n OS/Arch:           {os}/{arch}\n Context:           {}\n",
            context.hooks.version,
            context.client.version(),
            context.chosen,
        );
        if let Some(server) = &server {
            text += &show(server);
        }
        print(text)?;
    }
    match failure {
        Some(failure) => {
            note(failure);
            Ok(FAILED)
        }
        None => Ok(0),
    }
}

fn show(server: &Version) -> String {
    let mut text = format!("\nServer: {}\n", server.platform.name);
    let engine = [
        ("Version", server.version.clone()),
        ("API version", format!("{} (minimum version {})", server.api_version, server.min_api_version)),
        ("Go version", server.go_version.clone()),
        ("Git commit", server.git_commit.clone()),
        ("Built", server.build_time.clone()),
        ("OS/Arch", format!("{}/{}", server.os, server.arch)),
        ("Experimental", server.experimental.to_string()),
    ];
    let mut section = |title: &str, fields: &[(&str, String)]| {
        text += &format!(" {title}:\n");
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            text += &format!("  {:<18}{value}\n", format!("{name}:"));
        }
    };
    section("Engine", &engine);
    for component in server.components.iter().filter(|component| component.name != "Engine") {
        let details = component.details.clone().unwrap_or_default();
        let commit = details.get("GitCommit").cloned().unwrap_or_default();
        section(&component.name, &[("Version", component.version.clone()), ("GitCommit", commit)]);
    }
    text
}

/// The machine in Go's words.
pub(super) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
