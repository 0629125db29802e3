//! `build`, through the classic call that takes the context as a tar, or through BuildKit's API where that cannot carry it.

use super::buildkit::Flags;
use crate::archive::context::{Context as BuildContext, Dockerfile, hidden_name};
use crate::archive::{pack, upload};
use crate::config::{all_credentials, encode};
use crate::context::{Context, line};
use crate::failure::{Failure, Outcome};
use crate::parse::size::{bytes, bytes_or_unlimited};
use crate::parse::{env, ulimit};
use crate::stream::progress::{self, Target};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use wharf_docker_api::client::{Body, Call, Query};

/// Flags of `build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Extra line of /etc/hosts for RUN, as host:ip
    #[arg(long, value_name = "list")]
    pub(super) add_host: Vec<String>,
    /// Value of an ARG, as NAME=value or NAME
    #[arg(long, value_name = "list")]
    pub(super) build_arg: Vec<String>,
    /// Image whose layers may be reused
    #[arg(long, value_name = "list")]
    pub(super) cache_from: Vec<String>,
    /// Cgroup that RUN works below
    #[arg(long, value_name = "string")]
    pub(super) cgroup_parent: Option<String>,
    /// Without effect
    #[arg(long, hide = true)]
    pub(super) compress: bool,
    /// CFS period in microseconds
    #[arg(long, value_name = "int")]
    pub(super) cpu_period: Option<i64>,
    /// CFS quota in microseconds a period
    #[arg(long, value_name = "int")]
    pub(super) cpu_quota: Option<i64>,
    /// Share of CPU time against others
    #[arg(short = 'c', long, value_name = "int")]
    pub(super) cpu_shares: Option<i64>,
    /// CPUs to run on, such as 0-3 or 0,1
    #[arg(long, value_name = "string")]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0-3 or 0,1
    #[arg(long, value_name = "string")]
    pub(super) cpuset_mems: Option<String>,
    /// Without effect
    #[arg(long, hide = true)]
    pub(super) disable_content_trust: bool,
    /// The Dockerfile, when not PATH/Dockerfile
    #[arg(short = 'f', long, value_name = "string")]
    pub(super) file: Option<String>,
    /// Remove containers of the build even when it fails
    #[arg(long)]
    pub(super) force_rm: bool,
    /// File to write the image's id to
    #[arg(long, value_name = "string")]
    pub(super) iidfile: Option<String>,
    /// Without effect on Linux
    #[arg(long, value_name = "string", hide = true)]
    pub(super) isolation: Option<String>,
    /// Label of the image, as key=value
    #[arg(long, value_name = "list")]
    pub(super) label: Vec<String>,
    /// Without effect: the engine always has the image
    #[arg(long, hide = true)]
    pub(super) load: bool,
    /// Most memory, such as 512m
    #[arg(short = 'm', long, value_name = "bytes", value_parser = bytes)]
    pub(super) memory: Option<i64>,
    /// Most memory and swap together; -1 for any amount of swap
    #[arg(long, value_name = "bytes", value_parser = bytes_or_unlimited, allow_negative_numbers = true)]
    pub(super) memory_swap: Option<i64>,
    /// Network that RUN is in
    #[arg(long, value_name = "string")]
    pub(super) network: Option<String>,
    /// Build every step anew
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Platform, such as linux/arm64
    #[arg(long, value_name = "string")]
    pub(super) platform: Option<String>,
    /// How progress is shown: auto, plain or quiet
    #[arg(long, value_name = "string")]
    pub(super) progress: Option<String>,
    /// Look for newer base images
    #[arg(long)]
    pub(super) pull: bool,
    /// Print nothing but the image's id
    #[arg(short = 'q', long)]
    pub(super) quiet: bool,
    /// Remove containers of the build when it succeeds
    #[arg(long, value_name = "bool", default_value = "true", num_args(0..=1), require_equals = true, default_missing_value = "true", value_parser = crate::parse::boolean)]
    pub(super) rm: bool,
    /// Security setting for RUN
    #[arg(long, value_name = "list")]
    pub(super) security_opt: Vec<String>,
    /// Size of /dev/shm for RUN
    #[arg(long, value_name = "bytes", value_parser = bytes)]
    pub(super) shm_size: Option<i64>,
    /// Make one layer of the new ones
    #[arg(long)]
    pub(super) squash: bool,
    /// Name for the image, as name[:tag]
    #[arg(short = 't', long, value_name = "list")]
    pub(super) tag: Vec<String>,
    /// Stage to stop at
    #[arg(long, value_name = "string")]
    pub(super) target: Option<String>,
    /// Limit of a process, as name=soft[:hard]
    #[arg(long, value_name = "ulimit")]
    pub(super) ulimit: Vec<String>,
    #[command(flatten)]
    pub(super) buildkit: Flags,
    #[arg(value_name = "PATH", required = true, hide = true)]
    pub(super) context: String,
}

const TAR: &str = "application/x-tar";
/// How much of standard input decides whether it is an archive: one block of a tar.
const PROBE_BYTES: u64 = 512;

/// What is built from.
struct Source {
    dockerfile: Option<String>,
    remote: Option<String>,
    body: Body,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    if options.buildkit.are_given() || std::env::var("DOCKER_BUILDKIT").is_ok_and(|on| on == "1") {
        return super::buildkit::run(context, &options).await;
    }
    let source = source(&options)?;
    let config = context.config()?;
    let auth = encode(&all_credentials(&config)?)?;
    let proxies = config.proxies(&context.client.endpoint().to_string());
    let call = Call::post("/build")
        .query(query(&options, &source, proxies)?)
        .header("x-registry-config", &auth)?
        .body(TAR, source.body);
    let mut id = None;
    let target = if options.quiet { Target::Nowhere } else { Target::Stdout };
    let stream = context.client.stream(call).await?;
    progress::show(stream, target, |message| {
        let built = message.aux.as_ref().and_then(|aux| aux.get("ID")).and_then(Value::as_str);
        // A quiet build says nothing but the id.
        let quiet = Some(message.stream.trim()).filter(|text| text.starts_with("sha256:"));
        if let Some(built) = built.or(quiet) {
            id = Some(built.to_owned());
        }
    })
    .await?;
    if let Some(path) = &options.iidfile {
        let id = id.as_ref().ok_or_else(|| Failure::new("the engine did not say which image it built"))?;
        std::fs::write(path, id).map_err(|e| Failure::file("write", path, &e))?;
    }
    if options.quiet {
        line(id.ok_or_else(|| Failure::new("the engine did not say which image it built"))?)?;
    }
    Ok(0)
}

fn source(options: &Options) -> Result<Source, Failure> {
    let from = options.context.as_str();
    let file_is_stdin = options.file.as_deref() == Some("-");
    if from == "-" {
        if file_is_stdin {
            return Err(Failure::new(
                "invalid argument: can't use stdin for both build context and dockerfile",
            ));
        }
        return from_stdin(options);
    }
    if is_remote(from) {
        return Ok(Source {
            dockerfile: options.file.clone(),
            remote: Some(from.to_owned()),
            body: Body::empty(),
        });
    }
    let dockerfile = if file_is_stdin {
        let mut content = Vec::new();
        io::stdin().read_to_end(&mut content)?;
        Dockerfile::Content(content)
    } else {
        Dockerfile::File(options.file.as_deref().map(Path::new))
    };
    let files = BuildContext::new(Path::new(from), dockerfile).map_err(Failure::new)?;
    let dockerfile = Some(files.dockerfile().to_owned());
    Ok(Source { dockerfile, remote: None, body: upload::body(move |writer| files.write(writer)) })
}

/// Standard input is an archive with the context, or a Dockerfile without one.
fn from_stdin(options: &Options) -> Result<Source, Failure> {
    let mut probe = Vec::new();
    io::stdin().take(PROBE_BYTES).read_to_end(&mut probe)?;
    if is_archive(&probe) {
        let body = upload::from_reader(io::Cursor::new(probe).chain(io::stdin()));
        return Ok(Source { dockerfile: options.file.clone(), remote: None, body });
    }
    io::stdin().read_to_end(&mut probe)?;
    let name = hidden_name();
    let entry = name.clone();
    let body = upload::body(move |writer| {
        let mut archive = tar::Builder::new(writer);
        pack::add_bytes(&mut archive, &entry, &probe)?;
        archive.finish()
    });
    Ok(Source { dockerfile: Some(name), remote: None, body })
}

/// Whether bytes begin a tar, plain or compressed in one of the usual ways.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    const MAGIC: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    MAGIC.iter().any(|magic| bytes.starts_with(magic)) || bytes.get(257..262) == Some(b"ustar")
}

pub(super) fn is_remote(text: &str) -> bool {
    ["http://", "https://", "git://", "git@", "github.com/"].iter().any(|prefix| text.starts_with(prefix))
}

/// Values of ARG, with those of the proxies that the user has set.
pub(super) fn proxied_args(
    options: &Options,
    proxies: Vec<(String, String)>,
) -> BTreeMap<String, Option<String>> {
    let arg = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        // Without a value it is our own variable's, and unset where that is.
        None => (text.clone(), std::env::var(text).ok()),
    };
    let mut args: BTreeMap<String, Option<String>> = options.build_arg.iter().map(arg).collect();
    for (name, value) in proxies {
        args.entry(name).or_insert(Some(value));
    }
    args
}

fn query(options: &Options, source: &Source, proxies: Vec<(String, String)>) -> Result<Query, Failure> {
    let mut query = Query::new();
    for tag in &options.tag {
        query = query.with("t", tag);
    }
    for host in &options.add_host {
        query = query.with("extrahosts", host.replacen('=', ":", 1));
    }
    let build_args = proxied_args(options, proxies);
    let labels: BTreeMap<String, String> =
        env::labels(&[], &options.label).map_err(Failure::new)?.into_iter().collect();
    let ulimits = options
        .ulimit
        .iter()
        .map(|text| ulimit::ulimit(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::new)?;

    let some = |value: Value| {
        (!value.as_object().is_some_and(|m| m.is_empty()) && !value.as_array().is_some_and(Vec::is_empty))
            .then_some(value)
    };
    let remote = source.remote.as_ref();
    Ok(query
        .maybe("remote", remote)
        .maybe("dockerfile", source.dockerfile.as_ref())
        .maybe("buildargs", some(json!(build_args)))
        .maybe("labels", some(json!(labels)))
        .maybe("cachefrom", some(json!(options.cache_from)))
        .maybe("ulimits", some(json!(ulimits)))
        .maybe("securityopt", some(json!(options.security_opt)))
        .maybe("cgroupparent", options.cgroup_parent.as_ref())
        .maybe("cpuperiod", options.cpu_period)
        .maybe("cpuquota", options.cpu_quota)
        .maybe("cpushares", options.cpu_shares)
        .maybe("cpusetcpus", options.cpuset_cpus.as_ref())
        .maybe("cpusetmems", options.cpuset_mems.as_ref())
        .maybe("memory", options.memory)
        .maybe("memswap", options.memory_swap)
        .maybe("networkmode", options.network.as_ref())
        .maybe("platform", options.platform.as_ref())
        .maybe("shmsize", options.shm_size)
        .maybe("target", options.target.as_ref())
        .flag("nocache", options.no_cache)
        .flag("pull", options.pull)
        .flag("q", options.quiet)
        .flag("squash", options.squash)
        .flag("forcerm", options.force_rm)
        .with("rm", u8::from(options.rm))
        .with("version", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_is_recognised() {
        let mut archive = tar::Builder::new(Vec::new());
        pack::add_bytes(&mut archive, "Dockerfile", b"FROM scratch").unwrap();
        assert!(is_archive(&archive.into_inner().unwrap()));
        assert!(is_archive(b"\x1f\x8b\x08"));
        assert!(!is_archive(b"FROM scratch\n"));
        assert!(is_remote("https://example.org/x.git") && !is_remote("./http"));
    }
}
