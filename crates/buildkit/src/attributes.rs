//! The attributes of a build, as clients give them to the frontend `dockerfile.v0`.

use serde::Deserialize;
use std::collections::BTreeMap;
use wharf_build::dockerfile::Dockerfile;
use wharf_engine::containers::StepHost;
use wharf_grpc::Status;
use wharf_oci::platform::Platform;
use wharf_oci::runtime_spec::Rlimit;

/// What a Docker engine with one platform says to several.
const ONE_PLATFORM: &str =
    "Multi-platform build is not supported for the docker driver.\nBuild one platform at a time.";

/// Where files come from that a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A directory of the client, by the name that it gave it.
    Local(String),
    /// An image.
    Image(String),
    /// The result of another build.
    Input(String),
    /// A repository, or an archive: of the web, or handed over by the client.
    Url(String),
}

/// A cache elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CacheImport {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) attrs: BTreeMap<String, String>,
}

/// How to build.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) filename: String,
    /// The build context, and where the Dockerfile is when that is elsewhere.
    pub(crate) context: Option<Source>,
    pub(crate) dockerfile: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) platform: Option<Platform>,
    pub(crate) args: BTreeMap<String, Option<String>>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) no_cache: bool,
    /// Stages whose steps are run anew.
    pub(crate) no_cache_filter: Vec<String>,
    pub(crate) pull: bool,
    pub(crate) network: String,
    pub(crate) host: StepHost,
    pub(crate) contexts: BTreeMap<String, Source>,
    pub(crate) imports: Vec<CacheImport>,
    /// A question about the Dockerfile instead of a build.
    pub(crate) question: Option<String>,
}

impl Attributes {
    /// Reads them. Those that no one knows are left to newer frontends, as BuildKit does.
    pub(crate) fn parse(given: &BTreeMap<String, String>) -> Result<Self, Status> {
        let mut read =
            Self { filename: "Dockerfile".to_owned(), network: "default".to_owned(), ..Self::default() };
        let (mut context_key, mut context_address) = ("context".to_owned(), None);
        for (name, value) in given {
            let filled = || Some(value.clone()).filter(|value| !value.is_empty());
            let (kind, rest) = name.split_once(':').unwrap_or((name, ""));
            match (kind, rest) {
                ("filename", "") => read.filename.clone_from(value),
                ("context", "") => context_address = filled(),
                ("contextkey", "") => context_key.clone_from(value),
                ("dockerfilekey", "") => read.dockerfile = filled(),
                ("target", "") => read.target = filled(),
                ("platform", "") => read.platform = filled().map(|text| platform(&text)).transpose()?,
                ("multi-platform", "") | ("build-arg", "BUILDKIT_MULTI_PLATFORM") if is_true(value) => {
                    return Err(Status::unimplemented(ONE_PLATFORM));
                }
                ("build-arg", arg) => {
                    read.args.insert(arg.to_owned(), Some(value.clone()));
                }
                ("label", label) => {
                    read.labels.insert(label.to_owned(), value.clone());
                }
                ("no-cache", "") if value.is_empty() => read.no_cache = true,
                ("no-cache", "") => read.no_cache_filter = list(value),
                ("image-resolve-mode", "") => read.pull = value == "pull",
                ("force-network-mode", "") => read.network = network(value)?,
                ("add-hosts", "") => read.host.extra_hosts = hosts(value)?,
                ("shm-size", "") => read.host.shm_size = number("shm size", value)?,
                ("ulimit", "") => read.host.ulimits = ulimits(value)?,
                ("cgroup-parent", "") => read.host.cgroup_parent.clone_from(value),
                ("cache-imports", "") if !value.is_empty() => read.imports = imports(value)?,
                ("context", named) => {
                    read.contexts.insert(named.to_owned(), source(named, value)?);
                }
                ("attest", kind) => {
                    return Err(Status::unimplemented(format!(
                        "Attestation is not supported: build without attest:{kind}"
                    )));
                }
                ("requestid", "") => read.question = filled(),
                _ => {}
            }
        }
        read.context = Some(match context_address {
            Some(address) => source("context", &address)?,
            None => Source::Local(context_key),
        });
        Ok(read)
    }
}

impl Attributes {
    /// The stage to build.
    pub(crate) fn target(&self, file: &Dockerfile) -> usize {
        let count = file.stages.len();
        self.target.as_ref().and_then(|name| file.find(name, count)).unwrap_or(count - 1)
    }
}

pub(crate) fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn number(what: &str, value: &str) -> Result<i64, Status> {
    if value.is_empty() {
        return Ok(0);
    }
    value.parse().map_err(|e| Status::invalid(format!("failed to parse {what}: {value:?}: {e}")))
}

fn platform(text: &str) -> Result<Platform, Status> {
    if text.contains(',') {
        return Err(Status::unimplemented(ONE_PLATFORM));
    }
    text.parse().map_err(|e| Status::invalid(format!("failed to parse target platform {text}: {e}")))
}

fn network(value: &str) -> Result<String, Status> {
    match value {
        "" | "none" | "host" => Ok(if value.is_empty() { "default" } else { value }.to_owned()),
        // A name BuildKit gives its own default.
        "sandbox" | "default" => Ok("default".to_owned()),
        _ => Err(Status::invalid(format!("invalid netmode {value}"))),
    }
}

/// `name=address,…`, as our own `name:address`.
fn hosts(value: &str) -> Result<Vec<String>, Status> {
    let host = |item: &String| match item.split_once('=') {
        Some((name, address)) if address.parse::<std::net::IpAddr>().is_ok() => {
            Ok(format!("{name}:{address}"))
        }
        _ => Err(Status::invalid(format!("failed to parse additional hosts: invalid host {item}"))),
    };
    list(value).iter().map(host).collect()
}

/// `name=soft:hard,…`
fn ulimits(value: &str) -> Result<Vec<Rlimit>, Status> {
    let ulimit = |item: &String| {
        let wrong = || Status::invalid(format!("failed to parse ulimit: {item}"));
        let (name, values) = item.split_once('=').ok_or_else(wrong)?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let limit = |text: &str| text.parse::<i64>().map(i64::cast_unsigned).map_err(|_| wrong());
        let kind = format!("RLIMIT_{}", name.to_ascii_uppercase());
        // -1 is no limit, which the kernel writes as all ones.
        Ok(Rlimit { kind, soft: limit(soft)?, hard: limit(hard)? })
    };
    list(value).iter().map(ulimit).collect()
}

fn imports(value: &str) -> Result<Vec<CacheImport>, Status> {
    serde_json::from_str::<Option<Vec<CacheImport>>>(value)
        .map(Option::unwrap_or_default)
        .map_err(|e| Status::invalid(format!("failed to unmarshal cache-imports ({value:?}): {e}")))
}

/// What a context's name stands for.
fn source(name: &str, value: &str) -> Result<Source, Status> {
    let (kind, rest) = value.split_once(':').unwrap_or(("", value));
    match kind {
        "local" => Ok(Source::Local(rest.to_owned())),
        "input" => Ok(Source::Input(rest.to_owned())),
        "docker-image" => Ok(Source::Image(rest.trim_start_matches("//").to_owned())),
        "http" | "https" | "git" | "ssh" => Ok(Source::Url(value.to_owned())),
        // git@host:path
        user if user.contains('@') => Ok(Source::Url(value.to_owned())),
        "oci-layout" => Err(Status::unimplemented(format!(
            "the context {name} is an OCI layout ({value}), which is not supported: load it and name the image"
        ))),
        _ => Err(Status::invalid(format!("unsupported context source {value:?} for {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Attributes, Status> {
        Attributes::parse(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn everything_a_client_says() {
        let read = parse(&[
            ("filename", "D"),
            ("target", "t"),
            ("platform", "linux/amd64"),
            ("build-arg:A", "1"),
            ("label:l", "v"),
            ("no-cache", "one,two"),
            ("image-resolve-mode", "pull"),
            ("force-network-mode", "host"),
            ("add-hosts", "db=10.0.0.1,six=::1"),
            ("shm-size", "1024"),
            ("ulimit", "nofile=1:2,core=-1"),
            ("cgroup-parent", "/p"),
            ("context:img", "docker-image://alpine"),
            ("context:dir", "local:dir"),
            ("context:other", "input:other"),
            ("cache-imports", r#"[{"Type":"registry","Attrs":{"ref":"r/c"}}]"#),
            ("frontend.caps", "moby.buildkit.frontend.contexts+forward"),
        ])
        .unwrap();
        assert_eq!((read.filename.as_str(), read.target.as_deref(), read.pull), ("D", Some("t"), true));
        assert_eq!(read.args["A"].as_deref(), Some("1"));
        assert_eq!(read.no_cache_filter, ["one", "two"]);
        assert_eq!(read.host.extra_hosts, ["db:10.0.0.1", "six:::1"]);
        assert_eq!((read.host.ulimits[0].soft, read.host.ulimits[0].hard), (1, 2));
        assert_eq!(read.host.ulimits[1].hard, u64::MAX);
        assert_eq!(read.contexts["img"], Source::Image("alpine".to_owned()));
        assert_eq!(read.contexts["dir"], Source::Local("dir".to_owned()));
        assert_eq!(read.contexts["other"], Source::Input("other".to_owned()));
        assert_eq!(read.context, Some(Source::Local("context".to_owned())));
        assert_eq!(read.imports[0].attrs["ref"], "r/c");
        assert!(parse(&[("no-cache", "")]).unwrap().no_cache);
    }

    #[test]
    fn what_is_refused_is_named() {
        for (name, value, word) in [
            ("platform", "linux/amd64,linux/arm64", "Multi-platform"),
            ("multi-platform", "true", "Multi-platform"),
            ("attest:sbom", "generator=x", "attest:sbom"),
            ("context:x", "oci-layout://x", "OCI layout"),
            ("context:x", "what", "unsupported context"),
            ("force-network-mode", "mine", "netmode mine"),
            ("add-hosts", "db", "invalid host db"),
            ("ulimit", "nofile", "ulimit: nofile"),
            ("shm-size", "big", "shm size"),
            ("cache-imports", "{", "cache-imports"),
        ] {
            let refused = parse(&[(name, value)]).unwrap_err();
            assert!(refused.message.contains(word), "{name}={value}: {refused}");
        }
    }
}
