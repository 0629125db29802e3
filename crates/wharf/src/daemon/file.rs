//! The daemon's configuration file: Docker's daemon.json in its words, and `gc`.

mod gc;
mod native;

use super::config::Args;
use super::registries;
use anyhow::{Context, bail, ensure};
use clap::ArgMatches;
use clap::parser::ValueSource;
use serde_json::{Map, Value};
use std::path::Path;
use wharf_distribution::client::Settings;
use wharf_distribution::server::Settings as RegistrySettings;
use wharf_engine::gc::Policy;
use wharf_signing::policy::Policy as SignaturePolicy;

/// What can be changed while the engine runs, by SIGHUP.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Live {
    pub(super) debug: bool,
    pub(super) labels: Vec<String>,
    pub(super) gc: Policy,
    pub(super) registries: Settings,
    pub(super) signatures: SignaturePolicy,
    pub(super) registry: Option<RegistrySettings>,
}

/// What the file may say, and the flag that says the same.
const KEYS: [(&str, &str); 28] = [
    ("apparmor-profile", "apparmor_profile"),
    ("bip", "bip"),
    ("bridge", "bridge"),
    ("cdi-spec-dirs", "cdi_spec_dir"),
    ("cgroup-parent", "cgroup_parent"),
    ("compressed-layers", "compressed_layers"),
    ("data-root", "data_root"),
    ("debug", "debug"),
    ("exec-root", "exec_root"),
    ("gc", ""),
    ("hosts", "host"),
    ("insecure-registries", "insecure_registry"),
    ("labels", "label"),
    ("layers", "layers"),
    ("log-driver", "log_driver"),
    ("log-opts", "log_opt"),
    ("mirrors", ""),
    ("proxies", ""),
    ("registry", ""),
    ("registry-mirrors", "registry_mirror"),
    ("selinux-enabled", "selinux_enabled"),
    ("signatures", ""),
    ("tls", "tls"),
    ("tlscacert", "tlscacert"),
    ("tlscert", "tlscert"),
    ("tlskey", "tlskey"),
    ("tlsverify", "tlsverify"),
    ("userns-remap", "userns_remap"),
];

/// Reads the file, if there is one, into the arguments. What both say is refused, as by Docker.
pub(super) fn merge(args: &mut Args, matches: &ArgMatches) -> anyhow::Result<()> {
    let path = args.config_file.clone();
    let explicit = matches.value_source("config_file") == Some(ValueSource::CommandLine);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !explicit => return Ok(()),
        Err(e) => return Err(e).with_context(|| failing(&path)),
    };
    merge_text(args, matches, &text).with_context(|| failing(&path))
}

fn failing(path: &Path) -> String {
    format!("unable to configure the daemon with file {}", path.display())
}

fn merge_text(args: &mut Args, matches: &ArgMatches, text: &str) -> anyhow::Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let mut map: Map<String, Value> = serde_json::from_str(text).context("a JSON object is expected")?;
    native::take(&mut map)?;
    let names: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    known(&map, &names, "")?;
    let clashes: Vec<String> = map.iter().filter_map(|(key, value)| clash(matches, key, value)).collect();
    ensure!(
        clashes.is_empty(),
        "the following directives are specified both as a flag and in the configuration file: {}",
        clashes.join(", ")
    );
    map.iter().try_for_each(|(key, value)| set(args, key, value).with_context(|| format!("directive {key}")))
}

fn clash(matches: &ArgMatches, key: &str, value: &Value) -> Option<String> {
    let flag = KEYS.iter().find(|(k, _)| *k == key).map(|(_, flag)| *flag).filter(|flag| !flag.is_empty())?;
    if matches.value_source(flag) != Some(ValueSource::CommandLine) {
        return None;
    }
    let given: Vec<_> =
        matches.get_raw(flag).into_iter().flatten().map(|v| v.to_string_lossy().into_owned()).collect();
    let given = if given.is_empty() { "true".to_owned() } else { given.join(" ") };
    Some(format!("{key}: (from flag: {given}, from file: {value})"))
}

/// Refuses what is not known by name, with what may have been meant.
fn known(map: &Map<String, Value>, names: &[&str], below: &str) -> anyhow::Result<()> {
    let Some(unknown) = map.keys().find(|key| !names.contains(&key.as_str())) else { return Ok(()) };
    let nearest =
        names.iter().min_by_key(|name| strsim::levenshtein(name, unknown)).copied().unwrap_or_default();
    bail!(
        "the following directives don't match any configuration option: {below}{unknown} (the nearest there is: \
         {below}{nearest})"
    )
}

fn set(args: &mut Args, key: &str, value: &Value) -> anyhow::Result<()> {
    match key {
        "apparmor-profile" => args.apparmor_profile = Some(text(value)?),
        "bip" => args.bip = Some(text(value)?),
        "bridge" => args.bridge = Some(text(value)?),
        "cdi-spec-dirs" => args.cdi_spec_dir = list(value)?.into_iter().map(Into::into).collect(),
        "cgroup-parent" => args.cgroup_parent = Some(text(value)?),
        "compressed-layers" => {
            args.compressed_layers = text(value)?.parse().map_err(anyhow::Error::msg)?;
        }
        "data-root" => args.data_root = text(value)?.into(),
        "debug" => args.debug = boolean(value)?,
        "exec-root" => args.exec_root = text(value)?.into(),
        "gc" => args.gc = gc::policy(value)?,
        "hosts" => args.host = list(value)?,
        "insecure-registries" => args.insecure_registry = list(value)?,
        "labels" => args.label = list(value)?,
        "layers" => args.layers = text(value)?,
        "log-driver" => args.log_driver = text(value)?,
        "log-opts" => {
            let options = value.as_object().context("an object of strings is expected")?;
            let pair = |(key, value): (&String, &Value)| Ok(format!("{key}={}", text(value)?));
            args.log_opt = options.iter().map(pair).collect::<anyhow::Result<_>>()?;
        }
        "mirrors" => args.mirrors = registries::mirrors(value)?,
        "proxies" => proxies(args, value)?,
        "registry" => args.registry = Some(super::registry::settings(value)?),
        "registry-mirrors" => args.registry_mirror = list(value)?,
        "selinux-enabled" => args.selinux_enabled = boolean(value)?,
        "signatures" => args.signatures = serde_json::from_value(value.clone())?,
        "tls" => args.tls.tls = Some(boolean(value)?),
        "tlscacert" => args.tls.tlscacert = text(value)?.into(),
        "tlscert" => args.tls.tlscert = text(value)?.into(),
        "tlskey" => args.tls.tlskey = text(value)?.into(),
        "tlsverify" => args.tls.tlsverify = Some(boolean(value)?),
        _ => args.userns_remap = Some(text(value)?),
    }
    Ok(())
}

/// As Docker has it, with the names of the flags.
fn proxies(args: &mut Args, value: &Value) -> anyhow::Result<()> {
    let map = value.as_object().context("an object of strings is expected")?;
    known(map, &["http-proxy", "https-proxy", "no-proxy"], "proxies.")?;
    for (key, value) in map {
        let target = match key.as_str() {
            "http-proxy" => &mut args.http_proxy,
            "https-proxy" => &mut args.https_proxy,
            _ => &mut args.no_proxy,
        };
        ensure!(target.is_none(), "{key} is specified both as a flag and in the configuration file");
        *target = Some(text(value)?);
    }
    Ok(())
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).context("a string is expected")
}

fn boolean(value: &Value) -> anyhow::Result<bool> {
    value.as_bool().context("true or false is expected")
}

pub(super) fn list(value: &Value) -> anyhow::Result<Vec<String>> {
    let values = value.as_array().context("a list of strings is expected")?;
    values.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(flags: &[&str], text: &str) -> anyhow::Result<Args> {
        let (mut args, matches) = Args::parse(&[&["wharf daemon"], flags].concat())?;
        merge_text(&mut args, &matches, text)?;
        Ok(args)
    }

    fn refusal(flags: &[&str], text: &str) -> String {
        format!("{:#}", merged(flags, text).unwrap_err())
    }

    #[test]
    fn every_key_has_a_flag_that_exists() {
        let (_, matches) = Args::parse(&["wharf daemon"]).unwrap();
        for (key, flag) in KEYS.iter().filter(|(_, flag)| !flag.is_empty()) {
            assert!(matches.try_contains_id(flag).is_ok(), "{key}: {flag}");
        }
    }

    #[test]
    fn the_file_says_what_flags_do_not() {
        let text = r#"{"hosts": ["unix:///x"], "data-root": "/d", "debug": true, "log-opts": {"max-size": "1m"},
            "tlsverify": true, "labels": ["a=b"], "gc": {"enabled": true, "images": {"unused-for": "72h"}}}"#;
        let args = merged(&["--bip", "10.0.0.1/24"], text).unwrap();
        assert_eq!(args.host, ["unix:///x"]);
        assert_eq!((args.data_root.to_str(), args.debug), (Some("/d"), true));
        assert_eq!((args.log_opt, args.label), (vec!["max-size=1m".to_owned()], vec!["a=b".to_owned()]));
        assert_eq!(args.gc.rules(), ["images unused for 72h"]);
        assert_eq!(args.bip.as_deref(), Some("10.0.0.1/24"));
        merged(&[], " ").unwrap();
        assert!(merged(&[], r#"{"live-restore": true, "debug": true}"#).unwrap().debug);
        let text = r#"{"registry-mirrors": ["https://a"], "mirrors": {"ghcr.io": ["https://b"]},
            "proxies": {"http-proxy": "http://p", "no-proxy": "x"}}"#;
        let args = merged(&[], text).unwrap();
        assert_eq!(
            (args.registry_mirror, args.no_proxy),
            (vec!["https://a".to_owned()], Some("x".to_owned()))
        );
        assert_eq!(args.mirrors["ghcr.io"], ["https://b"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let said = refusal(&["-H", "unix:///y", "-D"], r#"{"hosts": ["unix:///x"], "debug": false}"#);
        assert!(said.contains("hosts: (from flag: unix:///y, from file: [\"unix:///x\"])"), "{said}");
        assert!(said.contains("debug: (from flag: true, from file: false)"), "{said}");
        let said = refusal(&[], r#"{"data_root": "/x"}"#);
        assert!(said.contains("option: data_root (the nearest there is: data-root)"), "{said}");
        assert!(
            refusal(&[], r#"{"gc": {"imagse": {}}}"#).contains("gc.imagse (the nearest there is: gc.images)")
        );
        let said = refusal(&["--http-proxy", "http://y"], r#"{"proxies": {"http-proxy": "http://x"}}"#);
        assert!(
            said.contains("http-proxy is specified both as a flag and in the configuration file"),
            "{said}"
        );
        assert!(refusal(&[], r#"{"registry": {"lisen": "x"}}"#).contains("registry: unknown field `lisen`"));
        assert!(refusal(&[], r#"{"signatures": [{"repositories": ["*"], "kyes": []}]}"#).contains("kyes"));
        assert!(refusal(&[], r#"{"hosts": "x"}"#).contains("hosts: a list of strings"));
        assert!(refusal(&[], "[]").contains("a JSON object"));
    }
}
