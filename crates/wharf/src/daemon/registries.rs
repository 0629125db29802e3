//! How registries are reached: insecure ones, mirrors, proxies, of flags, file and environment.

use super::config::Args;
use anyhow::{Context, anyhow, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use wharf_distribution::client::{Mirror, Proxies, Proxy, Settings};
use wharf_oci::reference::DEFAULT_DOMAIN;

/// Further places to look for what is in a registry, by the registry.
pub(super) type Mirrors = BTreeMap<String, Vec<String>>;

/// Reads `{"docker.io": ["https://…"], …}`.
pub(super) fn mirrors(value: &Value) -> anyhow::Result<Mirrors> {
    let map = value.as_object().context("an object of lists is expected, by the registry's name")?;
    map.iter().map(|(registry, urls)| Ok((registry.clone(), super::file::list(urls)?))).collect()
}

/// What all of it comes to.
pub(super) fn settings(args: &Args) -> anyhow::Result<Settings> {
    settings_in(args, |name| std::env::var(name).ok())
}

fn settings_in(args: &Args, env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Settings> {
    let mut mirrors: BTreeMap<String, Vec<Mirror>> = BTreeMap::new();
    for url in &args.registry_mirror {
        let mirror = mirror(url)?;
        // Docker's key is for Docker Hub, whose mirrors have its names as they are.
        ensure!(
            !mirror.has_path(),
            "invalid mirror: path, query, or fragment at end of the URI {url:?}: in `mirrors` a path may be"
        );
        mirrors.entry(DEFAULT_DOMAIN.to_owned()).or_default().push(mirror);
    }
    for (registry, urls) in &args.mirrors {
        let valid = !registry.is_empty() && !registry.contains('/');
        ensure!(valid, "mirrors: {registry:?} is no registry: a name such as ghcr.io is expected");
        for url in urls {
            let mirror = mirror(url).with_context(|| format!("mirrors of {registry}"))?;
            mirrors.entry(registry.clone()).or_default().push(mirror);
        }
    }
    let mut proxies = Proxies::from_env(env).map_err(|e| anyhow!("the environment: {}", e.full()))?;
    for (given, proxy) in [(&args.http_proxy, &mut proxies.http), (&args.https_proxy, &mut proxies.https)] {
        if let Some(text) = given.as_deref().filter(|text| !text.is_empty()) {
            *proxy = Some(Proxy::parse(text).map_err(|e| anyhow!(e.full()))?);
        }
    }
    if let Some(hosts) = &args.no_proxy {
        proxies.no_proxy.clone_from(hosts);
    }
    Ok(Settings { insecure_registries: args.insecure_registry.clone(), mirrors, proxies })
}

fn mirror(url: &str) -> anyhow::Result<Mirror> {
    Mirror::parse(url).map_err(|e| anyhow!(e.full()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(flags: &[&str]) -> Args {
        Args::parse(&[&["wharf daemon"], flags].concat()).unwrap().0
    }

    #[test]
    fn mirrors_of_both_keys() {
        let mut args = parsed(&["--registry-mirror", "https://a.example"]);
        let text = r#"{"docker.io": ["https://b.example/hub"], "ghcr.io": ["http://c:5000"]}"#;
        args.mirrors = mirrors(&serde_json::from_str(text).unwrap()).unwrap();
        let settings = settings_in(&args, |_| None).unwrap();
        let urls = |name: &str| settings.mirrors[name].iter().map(Mirror::url).collect::<Vec<_>>();
        assert_eq!(urls("docker.io"), ["https://a.example", "https://b.example/hub"]);
        assert_eq!(urls("ghcr.io"), ["http://c:5000"]);
        for (flags, why) in [
            (["--registry-mirror", "https://a.example/x"], "path, query, or fragment"),
            (["--registry-mirror", "a.example"], "no scheme specified"),
            (["--http-proxy", "socks4://x"], "or socks5://"),
        ] {
            let said = settings_in(&parsed(&flags), |_| None).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        args.mirrors = BTreeMap::from([("a/b".to_owned(), vec![])]);
        assert!(settings_in(&args, |_| None).is_err());
    }

    #[test]
    fn flags_win_over_the_environment() {
        let env = |name: &str| match name {
            "HTTP_PROXY" | "https_proxy" => Some("http://env:1".to_owned()),
            "NO_PROXY" => Some("x".to_owned()),
            _ => None,
        };
        let proxies = settings_in(&parsed(&["--https-proxy", "https://u:p@flag:2"]), env).unwrap().proxies;
        assert_eq!(proxies.http.unwrap().shown(), "http://env:1");
        assert_eq!(proxies.https.unwrap().shown(), "https://xxxxx:xxxxx@flag:2");
        assert_eq!(proxies.no_proxy, "x");
    }
}
