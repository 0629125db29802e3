//! Signatures in cosign's format: keys, `sign`, `verify`, and the policies of engine and registry.

use super::registry_serve::Served;
use std::path::{Path, PathBuf};
use std::process::Command;
use wharf_e2e::{Done, Engine, Terminal, binary, eventually, program, run_limited};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signing").join(name).display().to_string()
}

/// `wharf` in a directory, with a password for private keys.
fn wharf(dir: &Path, password: &str, args: &[&str]) -> Done {
    let mut command = Command::new(binary());
    command.current_dir(dir).env("COSIGN_PASSWORD", password).env("DOCKER_CONFIG", dir).args(args);
    run_limited(&mut command, "")
}

fn openssl(dir: &Path, args: &[&str]) -> Done {
    run_limited(Command::new("openssl").current_dir(dir).args(args), "")
}

/// The digest of what a push told.
fn digest(told: &str) -> String {
    let digest = told.split("sha256:").nth(1).and_then(|rest| rest.get(..64)).unwrap_or_default();
    assert!(digest.bytes().all(|b| b.is_ascii_hexdigit()) && digest.len() == 64, "{told}");
    format!("sha256:{digest}")
}

/// An image with one file, pushed without an engine: `content` tells one from another. Returns its digest.
fn pushed(served: &Served, repository: &str, tag: &str, content: &str) -> String {
    let digest_of = |bytes: &[u8]| {
        let done = run_limited(&mut Command::new("sha256sum"), std::str::from_utf8(bytes).unwrap());
        format!("sha256:{}", &done.ok()[..64])
    };
    let upload = |bytes: &[u8]| {
        let digest = digest_of(bytes);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(served.request("POST", &target, bytes).0, 201);
        digest
    };
    let config = format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"{content}\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[]}}}}"
    );
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{\"mediaType\":\
         \"application/vnd.oci.image.config.v1+json\",\"digest\":\"{}\",\"size\":{}}},\"layers\":[]}}",
        upload(config.as_bytes()),
        config.len()
    );
    let target = format!("/v2/{repository}/manifests/{tag}");
    assert_eq!(served.request("PUT", &target, manifest.as_bytes()).0, 201);
    digest_of(manifest.as_bytes())
}

#[test]
fn keys_signatures_and_exit_statuses() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let served = Served::start(dir, "{}");
    let image = format!("{}/team/app:1", served.address);
    let digest = pushed(&served, "team/app", "1", "first");
    wharf(dir, "secret", &["key", "generate"]).ok();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&dir.join("cosign.key").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(wharf(dir, "secret", &["key", "generate"]).err.contains("is there already"));
    assert_eq!(
        wharf(dir, "secret", &["key", "public"]).ok(),
        std::fs::read_to_string(dir.join("cosign.pub")).unwrap().trim_end()
    );
    assert!(wharf(dir, "wrong", &["key", "public"]).err.contains("password"));

    let verify = |key: &str, more: &[&str]| wharf(dir, "", &[&["verify", "--key", key][..], more].concat());
    assert_eq!(verify("cosign.pub", &[&image]).code, 10, "no signature");
    assert_eq!(verify("cosign.pub", &[&format!("{}/team/app:none", served.address)]).code, 11);
    let sign =
        ["sign", "--key", "cosign.key", "-a", "env=prod", "--output-payload", "p", "--output-signature", "s"];
    wharf(dir, "secret", &[&sign[..], &[&image]].concat()).ok();
    let printed: serde_json::Value =
        serde_json::from_str(&verify("cosign.pub", &["-a", "env=prod", &image]).ok()).unwrap();
    assert_eq!(printed[0]["critical"]["image"]["docker-manifest-digest"], digest.as_str());
    assert_eq!(printed[0]["critical"]["type"], "cosign container image signature");
    assert_eq!(printed[0]["optional"]["env"], "prod");
    let other = verify("cosign.pub", &["-a", "env=test", &image]);
    assert!(other.code == 12 && other.err.contains("env=prod, not test"), "{}", other.err);
    // A key of another implementation, and its signature beside the first.
    let theirs = fixture("cosign.pub");
    assert_eq!(verify(&theirs, &[&image]).code, 12);
    wharf(dir, "correct horse", &["sign", "--key", &fixture("cosign.key"), &image]).ok();
    verify(&theirs, &[&image]).ok();
    verify("cosign.pub", &["--key", &theirs, "--threshold", "2", &image]).ok();
    // Another image has none of them.
    pushed(&served, "team/app", "1", "second");
    assert_eq!(verify("cosign.pub", &[&image]).code, 10);
    verify("cosign.pub", &[&format!("{}/team/app@{digest}", served.address)]).ok();
    // Among the referrers.
    wharf(dir, "secret", &["sign", "--key", "cosign.key", "--registry-referrers-mode", "oci-1-1", &image])
        .ok();
    verify("cosign.pub", &[&image]).ok();
    assert!(wharf(dir, "", &["verify", &image]).err.contains("offline"));

    if program("openssl").is_none() {
        return println!("skipped in part: openssl is not there");
    }
    openssl(dir, &["base64", "-d", "-A", "-in", "s", "-out", "s.bin"]).ok();
    openssl(dir, &["dgst", "-sha256", "-verify", "cosign.pub", "-signature", "s.bin", "p"]).ok();
    for kind in [&["EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..], &["ed25519"], &["RSA"]] {
        openssl(dir, &[&["genpkey", "-out", "own.pem", "-algorithm"][..], kind].concat()).ok();
        openssl(dir, &["pkey", "-in", "own.pem", "-pubout", "-out", "own.pub"]).ok();
        wharf(dir, "", &["sign", "--key", "own.pem", &image]).ok();
        verify("own.pub", &[&image]).ok();
    }
    wharf(dir, "new", &["key", "import", "--key", "own.pem"]).ok();
    let own = std::fs::read_to_string(dir.join("own.pub")).unwrap();
    assert_eq!(std::fs::read_to_string(dir.join("import-cosign.pub")).unwrap(), own);
    wharf(dir, "new", &["sign", "--key", "import-cosign.key", &image]).ok();
}

#[test]
fn a_password_is_typed_in_twice_and_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let mut generate = Command::new(binary());
    generate.args(["key", "generate", "--output-key-prefix"]).arg(home.path().join("cosign"));
    for (again, code) in [("other", 1), ("hushhush", 0)] {
        let mut terminal = Terminal::run(&generate);
        terminal.expect("Enter password for private key: ");
        terminal.press("hushhush\n");
        terminal.expect("again: ");
        terminal.press(&format!("{again}\n"));
        let (status, shown) = terminal.end();
        assert!(status == code && !shown.contains("hushhush"), "{status}: {shown}");
    }
    wharf(home.path(), "hushhush", &["key", "public"]).ok();
}

fn hang_up(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
}

/// Pairs of keys in a directory: the one that counts, and another.
fn pairs(dir: &Path) -> PathBuf {
    for name in ["mine", "other"] {
        wharf(dir, "secret", &["key", "generate", "--output-key-prefix", name]).ok();
    }
    dir.join("mine.pub")
}

#[test]
fn the_engine_lets_in_and_tags_what_is_signed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let served = Served::start(dir, "{}");
    let key = pairs(dir);
    let file = dir.join("daemon.json");
    std::fs::write(&file, "{}").unwrap();
    let Some(e) = Engine::start_with(&["--config-file", file.to_str().unwrap()]) else { return };
    let name = format!("{}/team/app", served.address);
    let old = format!("{name}:old");
    e.run(&["tag", "busybox", &old]).ok();
    let old_digest = digest(&e.run(&["push", &old]).ok());
    e.run(&["rmi", &old]).ok();

    let policy = format!(
        r#"{{"signatures": [{{"repositories": ["{0}/open/*"], "policy": "accept"}},
            {{"repositories": ["{0}/shut/*"], "policy": "reject"}}, {{"repositories": ["{0}/*"], "keys": ["{1}"]}}]}}"#,
        served.address,
        key.display()
    );
    std::fs::write(&file, policy).unwrap();
    hang_up(e.pid());
    eventually("the policy is in force", || e.log().contains("configuration reloaded"));
    let asked = |what: &str| {
        let metrics = served.request("GET", "/metrics", b"").1;
        let line = metrics.lines().find(|line| line.starts_with(what)).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().parse::<u64>().unwrap_or(0)
    };
    let before = asked("wharf_registry_sent_bytes_total");
    let refused = e.run(&["pull", &old]);
    assert_ne!(refused.code, 0);
    for part in ["signature policy", &name, &old_digest, "mine.pub", "no signatures found"] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert!(asked("wharf_registry_sent_bytes_total") - before < 20_000, "no layer was fetched");
    assert_ne!(e.run(&["run", "--rm", &old, "true"]).code, 0);
    let dockerfile = format!("FROM {old}\n");
    assert_ne!(e.run_with(&["build", "-t", "x", "-"], &dockerfile).code, 0);

    // Signed by a key that does not count, then by one that does.
    let by_digest = format!("{name}@{old_digest}");
    wharf(dir, "secret", &["sign", "--key", "other.key", &by_digest]).ok();
    assert!(e.run(&["pull", &old]).err.contains("none of the keys"));
    wharf(dir, "secret", &["sign", "--key", "mine.key", &by_digest]).ok();
    e.run(&["pull", &old]).ok();
    e.run(&["run", "--rm", &old, "true"]).ok();
    e.run(&["pull", &by_digest]).ok();

    // A push has to be signed to get its tag.
    std::fs::write(dir.join("f"), "new").unwrap();
    let dockerfile = format!("FROM {old}\nLABEL new=1\n");
    e.run_with(&["build", "-t", &format!("{name}:new"), "-"], &dockerfile).ok();
    let refused = e.run(&["push", &format!("{name}:new")]);
    assert!(
        refused.code != 0 && refused.err.contains("It is there without a tag: sign it"),
        "{}",
        refused.err
    );
    assert_eq!(served.request("HEAD", "/v2/team/app/manifests/new", b"").0, 404);
    let there = refused.err.split_whitespace().find(|word| word.contains("/team/app@sha256:")).unwrap();
    let there = there.trim_matches(|c| c == '`' || c == ',' || c == ':');
    wharf(dir, "secret", &["sign", "--key", "mine.key", there]).ok();
    e.run(&["push", &format!("{name}:new")]).ok();
    assert_eq!(served.request("HEAD", "/v2/team/app/manifests/new", b"").0, 200);

    // Other rules, and copies.
    for (repository, goes) in [("open/app", true), ("shut/app", false), ("other/app", false)] {
        let target = format!("{}/{repository}:1", served.address);
        e.run(&["tag", "busybox", &target]).ok();
        assert_eq!(e.run(&["push", &target]).code == 0, goes, "{target}");
        let copied = e.run(&["image", "copy", &old, &target]);
        assert_eq!(copied.code == 0, goes, "{target}: {}", copied.err);
    }
    // A policy that cannot be used leaves the old one.
    std::fs::write(&file, r#"{"signatures": [{"repositories": ["*"], "keys": ["/nowhere.pub"]}]}"#).unwrap();
    hang_up(e.pid());
    eventually("the fault is told", || e.log().contains("/nowhere.pub"));
    assert_ne!(e.run(&["push", &format!("{}/shut/app:1", served.address)]).code, 0);
}

#[test]
fn the_registry_tags_and_serves_what_is_signed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let key = pairs(dir);
    let served = Served::start(dir, "{}");
    let Some(e) = Engine::start() else { return };
    let name = format!("{}/team/app", served.address);
    let first = pushed(&served, "team/app", "before", "before");
    let policy = format!(
        r#"{{"signatures": [{{"repositories": ["later/*"], "keys": ["{0}"], "at": ["pull"]}},
            {{"repositories": ["shut/*"], "policy": "reject"}},
            {{"repositories": ["team/*"], "keys": ["{0}"], "same-repository": true}}]}}"#,
        key.display()
    );
    std::fs::write(dir.join("config.json"), policy).unwrap();
    hang_up(served.pid());
    let status = |method: &str, target: &str| served.request(method, target, b"").0;
    eventually("the policy is in force", || status("GET", "/v2/team/app/manifests/before") == 403);
    let (_, said) = served.request("GET", "/v2/team/app/manifests/before", b"");
    assert!(said.contains("DENIED") && said.contains("no signatures found"), "{said}");
    assert_eq!(status("GET", &format!("/v2/team/app/manifests/{first}")), 200, "by its digest");
    let (_, answer) = served.request("GET", &format!("/v2/team/app/manifests/{first}"), b"");
    let content = answer.split("\r\n\r\n").nth(1).unwrap();
    for selector in [first.clone(), format!("{}.sig", first.replace(':', "-")), "1".to_owned()] {
        let put = served.request("PUT", &format!("/v2/shut/app/manifests/{selector}"), content.as_bytes());
        assert!(put.0 == 403 && put.1.contains("rejects shut/app"), "{selector}: {put:?}");
    }

    // The client's own words are the registry's; what it sent is kept, to be signed.
    e.run(&["tag", "busybox", &format!("{name}:1")]).ok();
    let refused = e.run(&["push", &format!("{name}:1")]);
    assert!(refused.code != 0 && refused.err.contains("without the tag 1"), "{}", refused.err);
    assert!(!refused.err.contains("log in"), "no login helps: {}", refused.err);
    let there = format!("{name}@{}", digest(&refused.err));
    assert_eq!(status("HEAD", "/v2/team/app/manifests/1"), 404);
    wharf(dir, "secret", &["sign", "--key", "other.key", &there]).ok();
    assert_ne!(e.run(&["push", &format!("{name}:1")]).code, 0);
    wharf(dir, "secret", &["sign", "--key", "mine.key", &there]).ok();
    e.run(&["push", &format!("{name}:1")]).ok();
    e.run(&["rmi", &format!("{name}:1")]).ok();
    e.run(&["pull", &format!("{name}:1")]).ok();

    // With the rule for pulls alone, as tools need it that sign after they push.
    let later = format!("{}/later/app:1", served.address);
    pushed(&served, "later/app", "1", "later");
    assert_eq!(status("GET", "/v2/later/app/manifests/1"), 403);
    let by_digest = {
        let (_, said) = served.request("GET", "/v2/later/app/manifests/1", b"");
        format!("{}/later/app@{}", served.address, digest(&said))
    };
    wharf(dir, "secret", &["sign", "--key", "mine.key", &by_digest]).ok();
    assert_eq!(status("GET", "/v2/later/app/manifests/1"), 200);
    wharf(dir, "", &["verify", "--key", "mine.pub", &later]).ok();
}
