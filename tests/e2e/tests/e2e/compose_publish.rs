//! Applications in registries: what one tool publishes, either reads.

use crate::compose::{Client, Project, clients};
use crate::registry_serve::Served;
use std::path::{Path, PathBuf};
use wharf_e2e::{Done, Engine, run_limited};

const FILE: &str = r#"services:
  web:
    image: IMAGE
    command: sleep 100
    extends:
      file: lib/base.yaml
      service: base
    env_file: web.env
    environment:
      A: "1"
      W2: ${W2:-unset}
    stop_signal: SIGKILL
  more:
    image: IMAGE
    profiles: [more]
"#;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

/// A registry with TLS, for the plugin speaks nothing else.
fn registry(dir: &Path) -> Served {
    let of = |name: &str| fixtures(name).display().to_string();
    let tls = (of("server/cert.pem"), of("server/key.pem"));
    Served::start(dir, &format!(r#"{{"tls": {{"certificate": "{}", "key": "{}"}}}}"#, tls.0, tls.1))
}

/// A command that trusts the registry and has a cache and a directory of its own.
fn with(project: &Project<'_>, client: Client, cache: &Path, args: &[&str]) -> Option<Done> {
    let mut command = project.command(client)?;
    command.env("SSL_CERT_FILE", fixtures("client/ca.pem")).env("XDG_CACHE_HOME", cache);
    command.env("DOCKER_CONFIG", cache);
    Some(run_limited(command.args(args), ""))
}

fn config(project: &Project<'_>, client: Client, cache: &Path, args: &[&str]) -> String {
    let args = [args, &["config", "--format", "json"]].concat();
    with(project, client, cache, &args).unwrap().ok()
}

#[test]
fn what_one_publishes_the_other_reads() {
    let home = tempfile::tempdir().unwrap();
    let served = registry(home.path());
    let certs = home.path().join("certs");
    std::fs::create_dir_all(certs.join(&served.address)).unwrap();
    std::fs::copy(fixtures("client/ca.pem"), certs.join(&served.address).join("ca.crt")).unwrap();
    let Some(e) = Engine::start_with(&["--registry-certs-dir", certs.to_str().unwrap()]) else { return };
    let image = format!("{}/busybox:1", served.address);
    e.run(&["tag", "busybox", &image]).ok();
    e.run(&["push", &image]).ok();
    let source = Project::new(&e, "source", &FILE.replace("IMAGE", &image));
    source.write("lib/base.yaml", "services:\n  base:\n    labels: {from: base}\n");
    source.write("over.yaml", "services:\n  web: {labels: {over: written}}\n");
    source.write("web.env", "W=1\n");
    let elsewhere = Project::new(&e, "elsewhere", "services: {}\n");
    elsewhere.write(".env", "W2=ours\n");
    let files = ["-f", "compose.yaml", "-f", "over.yaml"];
    for publisher in clients() {
        let name = format!("{}/shop:{publisher:?}", served.address).to_lowercase();
        if publisher == Client::Ours {
            // Docker's tool forgets this one where a service has a profile.
            let refused = with(&source, publisher, home.path(), &["publish", &name, "-y"]).unwrap();
            let expected = "service \"web\" has env_file declared.";
            assert!(refused.code == 1 && refused.err.contains(expected), "{}", refused.err);
        }
        let words = [&files[..], &["publish", &name, "-y", "--with-env"]].concat();
        let done = with(&source, publisher, home.path(), &words).unwrap();
        assert!(done.err.contains("published"), "{}", done.err);
        done.ok();
        let far = format!("oci://{name}");
        let mut seen = Vec::new();
        for reader in clients() {
            let cache = home.path().join(format!("{publisher:?}{reader:?}"));
            let text = config(&elsewhere, reader, &cache, &["-f", &far]);
            let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
            let web = &whole["services"]["web"];
            assert_eq!(whole["name"], "elsewhere", "{publisher:?} {reader:?}");
            assert_eq!(web["environment"], serde_json::json!({"A": "1", "W": "1", "W2": "ours"}));
            assert_eq!(web["labels"], serde_json::json!({"from": "base", "over": "written"}));
            // The same from within another file, and as what a service begins as.
            elsewhere.write("include.yaml", &format!("include: ['{far}']\n"));
            elsewhere.write(
                "extends.yaml",
                &format!("services:\n  own: {{extends: {{file: '{far}', service: web}}}}\n"),
            );
            let included = config(&elsewhere, reader, &cache, &["-f", "include.yaml"]);
            assert!(included.contains("\"over\": \"written\""), "{reader:?}: {included}");
            let extended = config(&elsewhere, reader, &cache, &["-f", "extends.yaml"]);
            assert!(extended.contains("\"over\": \"written\""), "{reader:?}: {extended}");
            seen.push(text);
        }
        assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:#?}");
        // The files of ours stay what they are: nothing of the registry's is followed.
        let cache = home.path().join("up");
        with(&elsewhere, Client::Ours, &cache, &["-f", &far, "up", "-d"]).unwrap().ok();
        assert!(elsewhere.shown("elsewhere-web-1", "{{.Config.Env}}").contains("W=1"));
        with(&elsewhere, Client::Ours, &cache, &["-f", &far, "down"]).unwrap().ok();
    }
    // Digests, images beside it, and the form of OCI 1.0.
    let name = format!("{}/shop:pinned", served.address);
    let words =
        ["publish", &name, "-y", "--with-env", "--resolve-image-digests", "--app", "--oci-version", "1.0"];
    with(&source, Client::Ours, home.path(), &words).unwrap().ok();
    for reader in clients() {
        let cache = home.path().join("pinned");
        let text = config(&elsewhere, reader, &cache, &["-f", &format!("oci://{name}")]);
        assert!(text.contains(&format!("\"image\": \"{image}@sha256:")), "{reader:?}: {text}");
    }
    let images = e.run(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &image]).ok();
    let digest = images.split('@').nth(1).unwrap_or_default();
    e.run(&["pull", &format!("{}/shop@{digest}", served.address)]).ok();
    // What is no application, and what is not there.
    for (name, expected) in [
        (&image, "is not a compose project OCI artifact"),
        (&format!("{}/no:1", served.address), "failed to pull OCI resource"),
    ] {
        let done =
            with(&elsewhere, Client::Ours, home.path(), &["-f", &format!("oci://{name}"), "config"]).unwrap();
        assert!(done.code == 1 && done.err.contains(expected), "{}", done.err);
    }
    let git = elsewhere.ours(&["-f", "git@example.org:x.git#main", "config"]);
    assert!(git.code == 1 && git.err.contains("not fetched by SSH"), "{}", git.err);
}
