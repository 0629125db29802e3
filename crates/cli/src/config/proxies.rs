//! `proxies` of the configuration: variables for containers and builds.

use super::ConfigFile;
use serde_json::Value;

/// Keys of the file, and the variable each is.
const KEYS: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

impl ConfigFile {
    /// The variables for an engine, in both of their spellings: its own, else those of `default`.
    pub(crate) fn proxies(&self, engine: &str) -> Vec<(String, String)> {
        let all = self.content.get("proxies").and_then(Value::as_object);
        let Some(proxies) = all.and_then(|all| all.get(engine).or_else(|| all.get("default"))) else {
            return Vec::new();
        };
        let mut variables = Vec::new();
        for (key, name) in KEYS {
            if let Some(value) = proxies[key].as_str().filter(|value| !value.is_empty()) {
                variables.push((name.to_owned(), value.to_owned()));
                variables.push((name.to_lowercase(), value.to_owned()));
            }
        }
        variables
    }

    /// Puts them among the variables of a container, as `NAME=value`; those that are there stay.
    pub(crate) fn add_proxies(&self, engine: &str, env: &mut Vec<String>) {
        for (name, value) in self.proxies(engine) {
            if !env.iter().any(|known| known.split('=').next() == Some(&name)) {
                env.push(format!("{name}={value}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_own_or_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "x"},
            "tcp://far:2376": {"httpsProxy": "http://q"}}}"#;
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        let config = ConfigFile::load(dir.path()).unwrap();
        let mut env = vec!["http_proxy=mine".to_owned()];
        config.add_proxies("unix:///x", &mut env);
        assert_eq!(env, ["http_proxy=mine", "HTTP_PROXY=http://p:1", "NO_PROXY=x", "no_proxy=x"]);
        let far: Vec<String> = config.proxies("tcp://far:2376").into_iter().map(|(name, _)| name).collect();
        assert_eq!(far, ["HTTPS_PROXY", "https_proxy"]);
    }
}
