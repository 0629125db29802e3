//! Other clients with our registry: skopeo, Podman, Buildah, Docker's; with passwords, tokens, TLS and certificates.

use super::registry_serve::Served;
use std::path::{Path, PathBuf};
use std::process::Command;
use wharf_e2e::{Done, Engine, binary, run_limited};

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        println!("skipped: {program} is not there");
    }
    there
}

/// A configuration of users, rules and TLS: everybody pulls from public, `me` may do all.
fn config(dir: &Path, extra: &str) -> String {
    let mut line = Command::new(binary());
    let line = run_limited(line.args(["registry", "htpasswd", "me"]), "secret\n").ok();
    std::fs::write(dir.join("users"), line).unwrap();
    let tls = |name: &str| fixtures(name).display().to_string();
    format!(
        r#"{{"auth": {{"htpasswd": "DIR/users"}}, "audit-log": "DIR/audit",
            "access": [{{"users": ["@anonymous"], "repositories": ["public/*"], "actions": ["pull"]}},
                       {{"users": ["me", "test client"], "repositories": ["*"], "actions": ["pull", "push", "delete"]}}],
            "tls": {{"certificate": "{}", "key": "{}"{extra}}}}}"#,
        tls("server/cert.pem"),
        tls("server/key.pem")
    )
}

/// A directory of authorities as these clients want it, perhaps with a certificate.
fn certificates(dir: &Path, own: bool) -> String {
    let certs = dir.join(if own { "own-certs" } else { "certs" });
    std::fs::create_dir_all(&certs).unwrap();
    std::fs::copy(fixtures("client/ca.pem"), certs.join("ca.crt")).unwrap();
    if own {
        std::fs::copy(fixtures("client/cert.pem"), certs.join("client.cert")).unwrap();
        std::fs::copy(fixtures("client/key.pem"), certs.join("client.key")).unwrap();
    }
    certs.display().to_string()
}

/// A client that keeps what it knows in the test's directory.
fn client(dir: &Path, program: &str, args: &[&str]) -> Done {
    let mut command = Command::new(program);
    command.env("HOME", dir).env("XDG_RUNTIME_DIR", dir).env("REGISTRY_AUTH_FILE", dir.join("auth.json"));
    command.env("CONTAINERS_STORAGE_CONF", dir.join("storage.conf"));
    run_limited(command.args(args), "")
}

/// An image as `docker save` writes it.
fn saved(e: &Engine) -> String {
    let file = e.path("busybox.tar").display().to_string();
    e.run(&["save", "-o", &file, "busybox"]).ok();
    file
}

#[test]
fn skopeo_with_tokens_and_tls() {
    if !has("skopeo") {
        return;
    }
    let Some(e) = Engine::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), &config(dir.path(), ""));
    let (certs, archive) = (certificates(dir.path(), false), saved(&e));
    let skopeo = |args: &[&str]| client(dir.path(), "skopeo", &[&["--insecure-policy"][..], args].concat());
    let to = format!("docker://{}/public/busybox:1", served.address);
    let from = format!("docker-archive:{archive}");
    let cert = ["--dest-cert-dir", &certs[..]];
    assert_ne!(skopeo(&[&["copy"][..], &cert, &[&from, &to]].concat()).code, 0, "nobody pushes");
    assert_ne!(skopeo(&["copy", "--dest-creds", "me:secret", &from, &to]).code, 0, "an unknown authority");
    let wrong = [&["copy", "--dest-creds", "me:wrong"][..], &cert, &[&from, &to]].concat();
    assert_ne!(skopeo(&wrong).code, 0, "a wrong password");
    for format in ["oci", "v2s2"] {
        let push = [&["copy", "--dest-creds", "me:secret", "-f", format][..], &cert, &[&from, &to]].concat();
        skopeo(&push).ok();
        // Everybody pulls.
        let dir = dir.path().join(format).display().to_string();
        skopeo(&["copy", "--src-cert-dir", &certs, &to, &format!("dir:{dir}")]).ok();
        let shown = skopeo(&["inspect", "--cert-dir", &certs, &to]).ok();
        assert!(shown.contains("\"RepoTags\": [\n        \"1\""), "{shown}");
    }
    let private = to.replace("public", "private");
    let mount = [
        "copy",
        "--src-cert-dir",
        &certs,
        "--dest-creds",
        "me:secret",
        "--dest-cert-dir",
        &certs,
        &to,
        &private,
    ];
    skopeo(&mount).ok();
    assert_ne!(skopeo(&["inspect", "--cert-dir", &certs, &private]).code, 0, "it is private");
    let delete = ["delete", "--creds", "me:secret", "--cert-dir", &certs, &private];
    skopeo(&delete).ok();
    let audit = std::fs::read_to_string(served.dir.join("audit")).unwrap();
    assert!(audit.contains(r#""action":"delete","repository":"private/busybox""#), "{audit}");
}

#[test]
fn skopeo_with_a_certificate_for_a_name() {
    if !has("skopeo") {
        return;
    }
    let Some(e) = Engine::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let ca = format!(r#", "client-ca": "{}""#, fixtures("client/ca.pem").display());
    // Without passwords: the certificate is all there is.
    let config = config(dir.path(), &ca).replace(r#""auth": {"htpasswd": "DIR/users"}, "#, "");
    let served = Served::start(dir.path(), &config);
    let (nobody, own) = (certificates(dir.path(), false), certificates(dir.path(), true));
    let from = format!("docker-archive:{}", saved(&e));
    let to = format!("docker://{}/private/busybox:1", served.address);
    let skopeo = |certs: &str| {
        client(dir.path(), "skopeo", &["--insecure-policy", "copy", "--dest-cert-dir", certs, &from, &to])
    };
    assert_ne!(skopeo(&nobody).code, 0, "without a certificate");
    skopeo(&own).ok();
    let audit = std::fs::read_to_string(served.dir.join("audit")).unwrap();
    assert!(audit.contains(r#""user":"test client""#), "{audit}");
}

#[test]
fn podman_and_buildah() {
    let Some(e) = Engine::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), &config(dir.path(), ""));
    let (certs, archive) = (certificates(dir.path(), false), saved(&e));
    // Storage that needs no mounts, in the test's own directory.
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
        dir.path().display()
    );
    std::fs::write(dir.path().join("storage.conf"), storage).unwrap();
    let name = format!("{}/public/app:1", served.address);
    let from = format!("docker-archive:{archive}");
    if has("podman") {
        let podman = |args: &[&str]| client(dir.path(), "podman", args);
        podman(&["login", "--cert-dir", &certs, "-u", "me", "-p", "secret", &served.address]).ok();
        assert_ne!(podman(&["login", "--cert-dir", &certs, "-u", "me", "-p", "no", &served.address]).code, 0);
        podman(&["load", "-q", "-i", &archive]).ok();
        podman(&["tag", "busybox", &name]).ok();
        podman(&["push", "-q", "--cert-dir", &certs, &name]).ok();
        podman(&["rmi", "-a", "-f"]).ok();
        podman(&["logout", &served.address]).ok();
        podman(&["pull", "-q", "--cert-dir", &certs, &name]).ok();
        assert!(podman(&["images", "--format", "{{.Repository}}"]).ok().contains("public/app"));
    }
    if has("buildah") {
        let buildah = |args: &[&str]| client(dir.path(), "buildah", args);
        let to = format!("docker://{}", name.replace("app", "other"));
        buildah(&["pull", "-q", &from]).ok();
        let push = ["push", "-q", "--creds", "me:secret", "--cert-dir", &certs, "busybox", &to];
        buildah(&push).ok();
        buildah(&["pull", "-q", "--cert-dir", &certs, &to]).ok();
    }
}

#[test]
fn dockers_own_client_with_tokens() {
    let Some(e) = Engine::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let plain = config(dir.path(), "");
    let plain = format!("{}}}", plain.split(",\n            \"tls\"").next().unwrap());
    let served = Served::start(dir.path(), &plain);
    let name = format!("{}/public/busybox:1", served.address);
    let login = ["login", "-u", "me", "--password-stdin", &served.address];
    if e.docker(&["version"], "").is_none() {
        println!("skipped: there is no docker client on this host (DOCKER_BIN names one)");
        return;
    }
    let docker = |args: &[&str], input: &str| e.docker(args, input).unwrap();
    docker(&["tag", "busybox", &name], "").ok();
    assert_ne!(docker(&["push", &name], "").code, 0, "nobody pushes");
    assert_ne!(docker(&login, "wrong").code, 0);
    docker(&login, "secret").ok();
    docker(&["push", &name], "").ok();
    docker(&["logout", &served.address], "").ok();
    docker(&["rmi", &name], "").ok();
    docker(&["pull", &name], "").ok();
    let private = name.replace("public", "private");
    assert_ne!(docker(&["pull", &private], "").code, 0);
    // Ours does the same.
    let login = ["login", &served.address, "-u", "me", "--password-stdin"];
    e.run_with(&login, "secret").ok();
    e.run(&["tag", &name, &private]).ok();
    e.run(&["push", &private]).ok();
    e.run(&["rmi", &private, &name]).ok();
    e.run(&["pull", &private]).ok();
}

/// `cargo xtask clients` installs them.
#[test]
fn oras_and_dxf_for_python() {
    let Some(clients) = std::env::var_os("WHARF_CLIENTS").map(PathBuf::from) else {
        println!("skipped: `cargo xtask clients` installs the clients");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/registry.py");
    for (way, more) in [("basic", ""), ("token", r#", "token": {}"#)] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "").replace(r#""DIR/users""#, &format!(r#""DIR/users"{more}"#));
        // Without what everybody may do, passwords are all that is asked for.
        let everybody = r#"{"users": ["@anonymous"], "repositories": ["public/*"], "actions": ["pull"]},"#;
        let served = Served::start(dir.path(), &config.replace(everybody, ""));
        let mut command = Command::new(clients.join("python/bin/python"));
        command.arg(&script).env("HOME", dir.path()).env("AUTH", way).env("REGISTRY", &served.address);
        command.env("REQUESTS_CA_BUNDLE", fixtures("client/ca.pem"));
        let done = run_limited(&mut command, "");
        assert_eq!(done.code, 0, "{way}: {}{}", done.out, done.err);
    }
}
