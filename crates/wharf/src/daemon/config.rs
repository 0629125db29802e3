//! The daemon's command line, and what follows from it.

use super::file::Live;
use super::registries::Mirrors;
use anyhow::{Context, ensure};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use wharf_distribution::server::Settings as RegistrySettings;
use wharf_engine::gc::Policy;
use wharf_engine::images::Compressed;
use wharf_model::container::LogSpec;
use wharf_model::idmap::IdMap;
use wharf_model::network::Subnet;
use wharf_signing::policy::{Policy as SignaturePolicy, Rule as SignatureRule};
use wharf_storage::snapshots::layout::Layout;

/// Where the API of the default engine is.
pub(crate) const DEFAULT_SOCKET: &str = "/run/wharf.sock";
const DEFAULT_DATA_ROOT: &str = "/var/lib/wharf";
/// The later one wins: what is generated at boot.
const DEFAULT_CDI_SPEC_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
const DEFAULT_EXEC_ROOT: &str = "/run/wharf";

/// Run the engine
#[derive(Debug, Parser)]
#[command(name = "wharf daemon", version)]
pub(crate) struct Args {
    /// Socket of the API: unix://PATH or tcp://ADDRESS:PORT; may be repeated
    #[arg(short = 'H', long = "host", value_name = "SOCKET")]
    pub(super) host: Vec<String>,
    /// Configuration file, JSON in the words of Docker's daemon.json, with garbage collection in `gc`
    #[arg(long, value_name = "FILE", default_value = "/etc/wharf/daemon.json")]
    pub(super) config_file: PathBuf,
    /// Label of the engine, as key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) label: Vec<String>,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    /// Directory of images, containers and volumes
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_ROOT)]
    pub(super) data_root: PathBuf,
    /// Directory of what is there only while containers run
    #[arg(long, value_name = "DIR", default_value = DEFAULT_EXEC_ROOT)]
    pub(super) exec_root: PathBuf,
    /// Address and length of the engine's own bridge, such as 172.30.0.1/16
    #[arg(long, value_name = "CIDR")]
    pub(super) bip: Option<String>,
    /// Name of the engine's own bridge
    #[arg(short, long, value_name = "NAME")]
    pub(super) bridge: Option<String>,
    /// Path below which cgroups of containers are made
    #[arg(long, value_name = "PATH")]
    pub(super) cgroup_parent: Option<String>,
    /// Registry that may be spoken to without TLS; may be repeated
    #[arg(long, value_name = "HOST")]
    pub(super) insecure_registry: Vec<String>,
    /// Directory with certificates of registries, HOST:PORT/ca.crt, as Docker keeps them
    #[arg(long, value_name = "DIR", default_value = "/etc/docker/certs.d")]
    registry_certs_dir: PathBuf,
    /// Mirror of Docker Hub; may be repeated
    #[arg(long, value_name = "URL")]
    pub(super) registry_mirror: Vec<String>,
    /// Mirrors of any registry, by the configuration file alone.
    #[arg(skip)]
    pub(super) mirrors: Mirrors,
    /// Proxy for http:// registries, instead of HTTP_PROXY
    #[arg(long, value_name = "URL")]
    pub(super) http_proxy: Option<String>,
    /// Proxy for https:// registries, instead of HTTPS_PROXY
    #[arg(long, value_name = "URL")]
    pub(super) https_proxy: Option<String>,
    /// Hosts that no proxy is used for, with commas between, instead of NO_PROXY
    #[arg(long, value_name = "HOSTS")]
    pub(super) no_proxy: Option<String>,
    /// Where output of containers goes that do not say: json-file, local, none, syslog, gelf, fluentd or journald
    #[arg(long, value_name = "DRIVER", default_value = "json-file")]
    pub(super) log_driver: String,
    /// Option of that driver, as key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) log_opt: Vec<String>,
    /// Run containers in user namespaces with ids of /etc/subuid and /etc/subgid: default, USER[:GROUP] or UID[:GID]
    #[arg(long, value_name = "USER")]
    pub(super) userns_remap: Option<String>,
    /// Directory of subuid, subgid, passwd and group
    #[arg(long, value_name = "DIR", default_value = "/etc", hide = true)]
    subid_dir: PathBuf,
    /// Directory of CDI specifications (devices by name); may be repeated
    #[arg(long, value_name = "DIR")]
    pub(super) cdi_spec_dir: Vec<PathBuf>,
    /// How layers of images are kept: erofs (mounted from their tars), erofs-loop (the same through loop devices), unpacked,
    /// or auto, the first of them that works here
    #[arg(long, value_name = "LAYOUT", default_value = "auto")]
    pub(super) layers: String,
    /// What becomes of layers as a registry sent them, compressed, when they are here: keep (a push sends them again, a damaged
    /// layer is made of them again), or drop (less disk; a push makes others where the registry has them no more)
    #[arg(long, value_name = "POLICY", default_value = "keep")]
    pub(super) compressed_layers: Compressed,
    /// Give containers SELinux labels
    #[arg(long)]
    pub(super) selinux_enabled: bool,
    /// AppArmor profile of containers that name none, instead of docker-default where that is loaded
    #[arg(long, value_name = "PROFILE")]
    pub(super) apparmor_profile: Option<String>,
    /// Print an AppArmor profile of the name docker-default for apparmor_parser to load, and end
    #[arg(long)]
    pub(super) print_apparmor_profile: bool,
    /// Make new records when those in the data root are damaged: of what can be read, and of the last start's copy
    #[arg(long)]
    mend_records: bool,
    /// Print `ready` on standard output when the API listens
    #[arg(long, hide = true)]
    tell_ready: bool,
    /// Log more
    #[arg(short = 'D', long)]
    pub(super) debug: bool,
    /// Garbage collection, by the configuration file alone.
    #[arg(skip)]
    pub(super) gc: Policy,
    /// A registry of the daemon's own, by the configuration file alone.
    #[arg(skip)]
    pub(super) registry: Option<RegistrySettings>,
    /// Which signatures are demanded, by the configuration file alone.
    #[arg(skip)]
    pub(super) signatures: Vec<SignatureRule>,
}

impl Args {
    /// Reads a command line; the matches tell what was given and what is a default.
    pub(super) fn parse<T: Into<OsString> + Clone>(args: &[T]) -> Result<(Self, ArgMatches), clap::Error> {
        let matches = Self::command().try_get_matches_from(args.iter().cloned())?;
        Ok((Self::from_arg_matches(&matches)?, matches))
    }

    /// What can be changed while the engine runs.
    pub(super) fn live(&self) -> anyhow::Result<Live> {
        Ok(Live {
            debug: self.debug,
            labels: self.label.clone(),
            gc: self.gc.clone(),
            registries: super::registries::settings(self)?,
            registry: self.registry.clone(),
            signatures: SignaturePolicy::open(&self.signatures).map_err(|e| anyhow::anyhow!(e.full()))?,
        })
    }
}

/// TLS of `tcp://` sockets
#[derive(Debug, clap::Args)]
pub(super) struct TlsArgs {
    /// Serve tcp:// with TLS; `--tls=false` serves it without, to everybody who reaches it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) tls: Option<bool>,
    /// Serve tcp:// with TLS to clients with a certificate of the authority only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(super) tlsverify: Option<bool>,
    /// The authority of clients' certificates, PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/wharf/ca.pem")]
    pub(super) tlscacert: PathBuf,
    /// The engine's certificate chain, PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/wharf/cert.pem")]
    pub(super) tlscert: PathBuf,
    /// The engine's private key, PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/wharf/key.pem")]
    pub(super) tlskey: PathBuf,
}

/// Where the API listens.
#[derive(Debug)]
pub(super) enum Host {
    Unix(PathBuf),
    Tcp(String, Option<Tls>),
}

/// The files of TLS.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The authority that clients' certificates must be of.
    pub(super) clients: Option<PathBuf>,
}

impl TlsArgs {
    /// TLS as asked for; an API that anybody on the network may command must be asked for in words.
    fn resolve(&self, host: &str) -> anyhow::Result<Option<Tls>> {
        let verify = self.tlsverify.unwrap_or(false);
        if !verify && !self.tls.unwrap_or(false) {
            ensure!(
                self.tls.is_some() || self.tlsverify.is_some(),
                "-H {host}: whoever reaches it is root on this machine. Give --tlsverify with --tlscacert, --tlscert \
                 and --tlskey, or, if the network is trusted, --tls=false"
            );
            return Ok(None);
        }
        Ok(Some(Tls {
            certificate: self.tlscert.clone(),
            key: self.tlskey.clone(),
            clients: verify.then(|| self.tlscacert.clone()),
        }))
    }
}

fn host(text: &str, tls: &TlsArgs) -> anyhow::Result<Host> {
    match text.split_once("://") {
        Some(("unix", path)) => {
            ensure!(path.starts_with('/'), "-H {text}: the path must be absolute");
            Ok(Host::Unix(path.into()))
        }
        Some(("tcp", address)) => {
            ensure!(
                address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()),
                "-H {text}: an address and a port are expected, such as tcp://127.0.0.1:2376"
            );
            Ok(Host::Tcp(address.to_owned(), tls.resolve(text)?))
        }
        _ => anyhow::bail!("-H {text}: unix://PATH or tcp://ADDRESS:PORT is expected"),
    }
}

/// Everything the engine is opened with.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) hosts: Vec<Host>,
    pub(super) data_root: PathBuf,
    pub(super) exec_root: PathBuf,
    pub(super) bridge: String,
    pub(super) subnet: Option<Subnet>,
    pub(super) cgroup_parent: String,
    /// Name of the nftables table.
    pub(super) table: String,
    /// Certificates of registries.
    pub(super) certs_dir: PathBuf,
    pub(super) mend_records: bool,
    pub(super) tell_ready: bool,
    pub(super) log: LogSpec,
    /// What can be changed while the engine runs.
    pub(super) live: Live,
    /// How ids of containers are mapped.
    pub(super) remap: Option<IdMap>,
    /// Where devices are described that are asked for by name.
    pub(super) cdi_spec_dirs: Vec<PathBuf>,
    /// How layers are kept; `None` is what works best.
    pub(super) layers: Option<Layout>,
    /// What becomes of compressed layers.
    pub(super) compressed_layers: Compressed,
    /// Containers get SELinux labels.
    pub(super) selinux_enabled: bool,
    /// The AppArmor profile of containers that name none.
    pub(super) apparmor_profile: Option<String>,
}

impl Config {
    pub(super) fn from_args(args: Args) -> anyhow::Result<Self> {
        let mut hosts =
            args.host.iter().map(|text| host(text, &args.tls)).collect::<anyhow::Result<Vec<_>>>()?;
        if hosts.is_empty() {
            hosts.push(Host::Unix(DEFAULT_SOCKET.into()));
        }
        let live = args.live()?;
        for label in &live.labels {
            ensure!(label.contains('='), "bad attribute format: {label}: a label is key=value");
        }
        let data_root = absolute(&args.data_root)?;
        // Engines side by side differ in their data root, and so in all they make in the kernel.
        let suffix = if data_root == Path::new(DEFAULT_DATA_ROOT) {
            None
        } else {
            let digest = wharf_oci::digest::Digest::sha256(data_root.as_os_str().as_encoded_bytes());
            Some(digest.hex()[..8].to_owned())
        };
        let named = |base: &str| suffix.as_ref().map_or_else(|| base.to_owned(), |s| format!("{base}-{s}"));
        let default_bridge = suffix.as_ref().map_or_else(|| "wharf0".to_owned(), |s| format!("wh{s}"));
        Ok(Self {
            hosts,
            exec_root: absolute(&args.exec_root)?,
            bridge: args.bridge.unwrap_or(default_bridge),
            subnet: args.bip.as_deref().map(subnet).transpose()?,
            cgroup_parent: args.cgroup_parent.unwrap_or_else(|| named("wharf")),
            table: named("wharf"),
            data_root,
            log: log(&args.log_driver, &args.log_opt)?,
            layers: match args.layers.as_str() {
                "auto" => None,
                layout => Some(layout.parse().map_err(anyhow::Error::msg).context("--layers")?),
            },
            compressed_layers: args.compressed_layers,
            selinux_enabled: args.selinux_enabled,
            apparmor_profile: args.apparmor_profile.filter(|name| !name.is_empty()),
            remap: args
                .userns_remap
                .as_deref()
                .filter(|text| !text.is_empty())
                .map(|text| super::subids::resolve(text, &args.subid_dir))
                .transpose()?,
            cdi_spec_dirs: if args.cdi_spec_dir.is_empty() {
                DEFAULT_CDI_SPEC_DIRS.iter().map(PathBuf::from).collect()
            } else {
                args.cdi_spec_dir
            },
            live,
            certs_dir: args.registry_certs_dir,
            mend_records: args.mend_records,
            tell_ready: args.tell_ready,
        })
    }
}

fn log(driver: &str, options: &[String]) -> anyhow::Result<LogSpec> {
    let pair = |text: &String| {
        let (key, value) =
            text.split_once('=').with_context(|| format!("--log-opt {text}: key=value is expected"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    let options = options.iter().map(pair).collect::<anyhow::Result<_>>()?;
    LogSpec::parse(driver, options).context("--log-driver and --log-opt")
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("find the directory {}", path.display()))
}

/// `172.30.0.1/16`: the bridge's address in its block.
fn subnet(text: &str) -> anyhow::Result<Subnet> {
    let expected = || format!("--bip {text}: an address and a length are expected, such as 172.30.0.1/16");
    let (address, prefix) = text.split_once('/').with_context(expected)?;
    let gateway: std::net::Ipv4Addr = address.parse().with_context(expected)?;
    let prefix: u8 = prefix.parse().with_context(expected)?;
    ensure!((8..=29).contains(&prefix), "--bip {text}: the length must be from 8 to 29");
    let base = u32::from(gateway) & (u32::MAX << (32 - prefix));
    ensure!(
        base != u32::from(gateway),
        "--bip {text}: the bridge's own address is expected, not the block's"
    );
    Ok(Subnet {
        base: IpAddr::V4(base.into()),
        prefix,
        gateway: IpAddr::V4(gateway),
        range: None,
        auxiliary: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(args: &[&str]) -> anyhow::Result<Config> {
        Config::from_args(Args::parse(&[&["wharf daemon"], args].concat())?.0)
    }

    #[test]
    fn engines_side_by_side_differ() {
        let first = config(&[]).unwrap();
        assert_eq!((first.bridge.as_str(), first.table.as_str()), ("wharf0", "wharf"));
        let a = config(&["--data-root", "/tmp/a"]).unwrap();
        let b = config(&["--data-root", "/tmp/b"]).unwrap();
        assert!(a.bridge != b.bridge && a.table != b.table && a.cgroup_parent != b.cgroup_parent);
        assert!(a.bridge.len() <= 15);
    }

    #[test]
    fn tcp_is_served_as_asked() {
        let hosts = |args: &[&str]| config(&[&["-H", "tcp://127.0.0.1:2376"], args].concat()).unwrap().hosts;
        assert!(matches!(&hosts(&["--tls=false"])[..], [Host::Tcp(_, None)]));
        let tls = hosts(&["--tlsverify", "--tlscacert", "/ca"]);
        assert!(matches!(&tls[..], [Host::Tcp(_, Some(Tls { clients: Some(_), .. }))]));
        assert!(matches!(&hosts(&["--tls", "-H", "unix:///x"])[..], [Host::Tcp(..), Host::Unix(_)]));
    }

    #[test]
    fn wrong_values_are_named() {
        for args in [
            ["--bip", "10.0.0.0/24"],
            ["--bip", "x"],
            ["--bip", "10.0.0.1/31"],
            ["-H", "tcp://0.0.0.0:1"],
            ["-H", "tcp://0.0.0.0"],
            ["-H", "unix://x"],
            ["-H", "ssh://box"],
        ] {
            let message = config(&args).unwrap_err().to_string();
            assert!(message.contains(args[1]), "{message}");
        }
        assert_eq!(config(&["--bip", "10.1.2.3/24"]).unwrap().subnet.unwrap().base.to_string(), "10.1.2.0");
    }
}
