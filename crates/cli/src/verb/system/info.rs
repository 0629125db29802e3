//! `info`.

use crate::context::{Context, note, print};
use crate::failure::Outcome;
use crate::format::list::unescape;
use crate::format::size::binary;
use crate::template::Template;
use serde_json::{Value, json};
use std::fmt::Write;
use wharf_docker_api::client::Call;
use wharf_docker_api::types::system::Info;

/// Flags of `info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Show with a Go template, or as json
    #[arg(short = 'f', long, value_name = "string")]
    format: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let bytes = context.client.bytes(Call::get("/info")).await?;
    let decode = |e| crate::failure::Failure::new(format!("read the engine's answer: {e}"));
    if let Some(format) = options.format.as_deref().filter(|format| !format.is_empty()) {
        let mut value: Value = serde_json::from_slice(&bytes).map_err(decode)?;
        value["ClientInfo"] =
            json!({"Debug": false, "Context": "default", "Plugins": [], "Version": context.hooks.version});
        let format = if format == "json" { "{{json .}}".to_owned() } else { unescape(format) };
        print(Template::parse(&format)?.run(&value)? + "\n")?;
        return Ok(0);
    }
    let info: Info = serde_json::from_slice(&bytes).map_err(decode)?;
    print(show(context.hooks.version, &info))?;
    info.warnings.unwrap_or_default().iter().for_each(note);
    Ok(0)
}

fn show(version: &str, info: &Info) -> String {
    let mut text = format!(
        "Client: Wharf\n Version:    {version}\n Context:    default\n Debug Mode: false\n\nServer:\n"
    );
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, " {name}: {value}");
        }
    };
    add("Containers", &info.containers.to_string());
    add(" Running", &info.containers_running.to_string());
    add(" Paused", &info.containers_paused.to_string());
    add(" Stopped", &info.containers_stopped.to_string());
    add("Images", &info.images.to_string());
    add("Server Version", &info.server_version);
    add("Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        add(&format!(" {name}"), value);
    }
    add("Logging Driver", &info.logging_driver);
    add("Cgroup Driver", &info.cgroup_driver);
    add("Cgroup Version", &info.cgroup_version);
    let words = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().join(" ");
    for (name, list) in
        [(" Volume", &info.plugins.volume), (" Network", &info.plugins.network), (" Log", &info.plugins.log)]
    {
        add(name, &words(list));
    }
    add("CDI spec directories", &info.cdi_spec_dirs.join(" "));
    let devices = info.discovered_devices.iter().map(|d| format!("{}: {}", d.source, d.id));
    add("Discovered Devices", &devices.collect::<Vec<_>>().join(", "));
    add("Swarm", &info.swarm.local_node_state);
    add("Runtimes", &info.runtimes.keys().cloned().collect::<Vec<_>>().join(" "));
    add("Default Runtime", &info.default_runtime);
    add("Init Binary", &info.init_binary);
    add("Security Options", &info.security_options.join(" "));
    add("Kernel Version", &info.kernel_version);
    add("Operating System", &info.operating_system);
    add("OSType", &info.os_type);
    add("Architecture", &info.architecture);
    add("CPUs", &info.ncpu.to_string());
    add("Total Memory", &binary(info.mem_total as f64));
    add("Name", &info.name);
    add("ID", &info.id);
    add("Docker Root Dir", &info.docker_root_dir);
    add("Debug Mode", &info.debug.to_string());
    add("HTTP Proxy", &info.http_proxy);
    add("HTTPS Proxy", &info.https_proxy);
    add("No Proxy", &info.no_proxy);
    add("Labels", &words(&info.labels));
    add("Experimental", &info.experimental_build.to_string());
    if let Some(registries) = &info.registry_config {
        let insecure = registries.index_configs.values().filter(|index| !index.secure);
        let insecure: Vec<&str> = insecure
            .map(|index| index.name.as_str())
            .chain(registries.insecure_registry_cidrs.iter().flatten().map(String::as_str))
            .collect();
        add("Insecure Registries", &insecure.join(" "));
        add("Registry Mirrors", &words(&registries.mirrors));
        for index in registries.index_configs.values().filter(|i| !i.official && !i.mirrors.is_empty()) {
            add(&format!(" of {}", index.name), &index.mirrors.join(" "));
        }
    }
    if let Some(gc) = info.garbage_collection.as_ref().filter(|gc| !gc.rules.is_empty()) {
        let when = if gc.enabled { format!("every {}", gc.interval) } else { "on request".to_owned() };
        add("Garbage Collection", &when);
        gc.rules.iter().for_each(|rule| add(" Removes", rule));
        gc.keep.iter().for_each(|kept| add(" Keeps", kept));
        add(" Last Run", &gc.last_run);
    }
    add("Live Restore Enabled", &info.live_restore_enabled.to_string());
    text
}
