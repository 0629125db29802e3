//! Several tags, several platforms, several registries: what users do with them.

use super::registry::Registry;
use std::os::unix::fs::PermissionsExt;
use wharf_e2e::{Engine, eventually};

/// The digest that a command printed.
fn digest(text: &str) -> String {
    let at = text.find("sha256:").unwrap_or_else(|| panic!("{text}"));
    text[at..at + "sha256:".len() + 64].to_owned()
}

#[test]
fn all_tags_at_once() {
    let Some(e) = Engine::start() else { return };
    let registry = Registry::open(&e, "r");
    let name = format!("{}/me/app", registry.address());
    for tag in ["1", "2", "x"] {
        e.run(&["tag", "busybox", &format!("{name}:{tag}")]).ok();
    }
    let pushed = e.run(&["push", "--all-tags", &name]).ok();
    assert_eq!(pushed.matches(": digest: sha256:").count(), 3, "{pushed}");
    e.run(&["rmi", &format!("{name}:1"), &format!("{name}:2"), &format!("{name}:x")]).ok();
    let list =
        |more: &[&str]| e.run(&[&["search", "--list-tags", &name, "--format", "{{.Tag}}"], more].concat());
    assert_eq!(list(&[]).ok(), "1\n2\nx");
    assert_eq!(list(&["--limit", "2"]).ok(), "1\n2");
    let table = e.run(&["search", "--list-tags", &format!("{name}:ignored")]).ok();
    assert!(table.starts_with("NAME") && table.lines().nth(1).unwrap().starts_with(&name), "{table}");
    let absent = e.run(&["search", "--list-tags", &format!("{}/no/such", registry.address())]);
    assert!(absent.code == 1 && absent.err.contains("not"), "{}", absent.err);
    let refused = e.run(&["pull", "-a", &format!("{name}:1")]);
    assert!(refused.err.contains("tag can't be used with --all-tags/-a"), "{}", refused.err);
    e.run(&["pull", "-a", &name]).ok();
    let tags = e.run(&["images", "--format", "{{.Tag}}", &name]).ok();
    assert_eq!(tags.lines().filter(|tag| *tag != "<none>").count(), 3, "{tags}");
    assert_eq!(e.run(&["pull", "-q", &format!("{name}:2")]).ok(), format!("{name}:2"));
    // By digest, and by a tag with one: the digest decides.
    let digest = digest(&pushed);
    e.run(&["pull", &format!("{name}@{digest}")]).ok();
    e.run(&["pull", &format!("{name}:nosuch@{digest}")]).ok();
    let absent = e.run(&["pull", &format!("{name}:nosuch")]);
    assert!(absent.err.contains("manifest for") && absent.err.contains("not found"), "{}", absent.err);
}

#[test]
fn lists_of_manifests_and_copies() {
    let Some(e) = Engine::start() else { return };
    let (one, two) = (Registry::open(&e, "r1"), Registry::start(&e));
    let (from, to) = (format!("{}/me/app", one.address()), format!("{}/you/app", two.address()));
    for arch in ["amd64", "arm64"] {
        e.run(&["tag", "busybox", &format!("{from}:{arch}")]).ok();
        e.run(&["push", &format!("{from}:{arch}")]).ok();
    }
    let list = format!("{}/me/list:1", one.address());
    let created =
        e.run(&["manifest", "create", &list, &format!("{from}:amd64"), &format!("{from}:arm64")]).ok();
    assert_eq!(created, format!("Created manifest list {list}"));
    let again = e.run(&["manifest", "create", &list, &format!("{from}:amd64")]);
    assert!(
        again.err.contains("refusing to amend an existing manifest list with no --amend flag"),
        "{}",
        again.err
    );
    e.run(&["manifest", "annotate", &list, &format!("{from}:arm64"), "--arch", "arm64", "--variant", "v8"])
        .ok();
    // Docker's own client reads what is kept.
    let ours = e.run(&["manifest", "inspect", &list]).ok();
    if let Some(docker) = e.docker(&["manifest", "inspect", &list], "") {
        let docker = docker.ok();
        assert!(
            docker.contains("\"architecture\": \"arm64\"") && docker.contains(&digest(&ours)),
            "{docker}"
        );
    }
    let pushed = digest(&e.run(&["manifest", "push", "--purge", &list]).ok());
    assert_ne!(e.run(&["manifest", "rm", &list]).code, 0, "it is forgotten");
    let inspected = e.run(&["manifest", "inspect", &list]).ok();
    assert_eq!(inspected.matches("\"architecture\"").count(), 2, "{inspected}");
    let verbose = e.run(&["manifest", "inspect", "-v", &list]).ok();
    assert_eq!(verbose.matches("SchemaV2Manifest").count(), 2, "{verbose}");
    let absent = e.run(&["manifest", "inspect", &format!("{from}:nosuch")]);
    assert!(absent.err.contains(&format!("no such manifest: {from}:nosuch")), "{}", absent.err);
    // Of the list the host's platform runs; another is not there.
    e.run(&["run", "--rm", &list, "true"]).ok();
    let other = e.run(&["pull", "--platform", "linux/s390x", &list]);
    assert!(
        other.err.contains("no matching manifest for linux/s390x in the manifest list entries"),
        "{}",
        other.err
    );

    e.run_with(&["login", two.address(), "-u", "me", "--password-stdin"], "secret").ok();
    let copied = e.run(&["image", "copy", "-q", &list, &format!("{to}:all")]).ok();
    assert_eq!(copied, pushed, "all of it is the same");
    let copied = e.run(&["image", "copy", &list, &format!("{to}:one"), "--platform", "linux/amd64"]).ok();
    assert!(copied.contains("Layer already exists") && copied.contains("one: digest: sha256:"), "{copied}");
    assert_eq!(e.run(&["manifest", "inspect", &format!("{to}:one")]).ok().matches("\"layers\"").count(), 1);
    let within = format!("{}/their/app:1", one.address());
    assert!(e.run(&["image", "copy", &list, &within]).ok().contains("Mounted from me/list"));
    e.run(&["run", "--rm", &within, "true"]).ok();
    e.run(&["logout", two.address()]).ok();
    let refused = e.run(&["image", "copy", &list, &format!("{to}:all")]);
    assert!(refused.code != 0 && refused.err.contains("push access denied"), "{}", refused.err);
}

#[test]
fn an_image_for_another_platform_is_not_taken_for_the_one_that_is_here() {
    let Some(e) = Engine::start() else { return };
    let registry = Registry::open(&e, "r");
    let name = |tag: &str| format!("{}/app:{tag}", registry.address());
    e.run(&["create", "--name", "files", "busybox", "true"]).ok();
    let tree = e.path("tree.tar").display().to_string();
    e.run(&["export", "-o", &tree, "files"]).ok();
    for arch in ["amd64", "arm64"] {
        let platform = format!("linux/{arch}");
        e.run(&["import", "--platform", &platform, "-c", "CMD true", &tree, &name(arch)]).ok();
        e.run(&["push", "--platform", &platform, &name(arch)]).ok();
    }
    let list = name("list");
    e.run(&["manifest", "create", &list, &name("amd64"), &name("arm64")]).ok();
    e.run(&["manifest", "push", &list]).ok();
    let mismatch = "does not match the specified platform (linux/arm64)";
    for args in [
        &["run", "--rm", "--pull", "never", "--platform", "linux/arm64", "busybox", "true"][..],
        &["push", "--platform", "linux/arm64", &name("amd64")],
        &["save", "--platform", "linux/arm64", "-o", "/dev/null", "busybox"],
    ] {
        let refused = e.run(args);
        assert!(refused.code != 0 && refused.err.contains(mismatch), "{args:?}: {}", refused.err);
    }
    let architecture = || e.run(&["image", "inspect", "-f", "{{.Architecture}}", &list]).ok();
    e.run(&["run", "--rm", &list]).ok();
    assert_eq!(architecture(), "amd64");
    // The one that is asked for is pulled, by our client and by Docker's.
    e.run(&["run", "--rm", "--platform", "linux/arm64", &list]).ok();
    assert_eq!(architecture(), "arm64");
    if let Some(done) = e.docker(&["run", "--rm", "--platform", "linux/amd64", &list], "") {
        done.ok();
        assert_eq!(architecture(), "amd64");
        let refused = e.docker(&["save", "--platform", "linux/arm64", &list], "").unwrap();
        assert!(refused.code != 0 && refused.err.contains(mismatch), "{}", refused.err);
    }
    let archive = e.path("saved.tar").display().to_string();
    e.run(&["save", "-o", &archive, "busybox"]).ok();
    let none = e.run(&["load", "--platform", "linux/arm64", "-i", &archive]);
    assert!(none.err.contains("no image for linux/arm64 (there are: linux/amd64)"), "{}", none.err);
    e.run(&["load", "--platform", "linux/amd64", "-i", &archive]).ok();
}

#[test]
fn mirrors_of_any_registry_until_told_otherwise() {
    let Some(mut e) = Engine::start() else { return };
    let registry = Registry::open(&e, "r");
    let name = format!("{}/proxied/me/app:1", registry.address());
    e.run(&["tag", "busybox", &name]).ok();
    e.run(&["push", &name]).ok();
    e.run(&["rmi", &name]).ok();
    let file = e.path("daemon.json");
    let mirrors = |url: &str| {
        let text = format!(
            r#"{{"mirrors": {{"ghcr.test": ["http://127.0.0.1:1", "{url}"]}}, "registry-mirrors": ["https://hub.test"],
            "insecure-registries": ["reg.test:5000"], "proxies": {{"https-proxy": "http://u:p@127.0.0.1:1"}}}}"#
        );
        std::fs::write(&file, text).unwrap();
    };
    mirrors(&format!("http://{}/proxied", registry.address()));
    e.add_flag(&format!("--config-file={}", file.display()));
    e.kill();
    e.launch();
    e.run(&["pull", "ghcr.test/me/app:1"]).ok();
    assert_eq!(e.run(&["images", "--format", "{{.Tag}}", "ghcr.test/me/app"]).ok(), "1");
    let info = e.run(&["info"]).ok();
    for shown in [
        "of ghcr.test: http://127.0.0.1:1/ http://",
        "https://hub.test/",
        "reg.test:5000",
        "xxxxx:xxxxx@127.0.0.1:1",
    ] {
        assert!(info.contains(shown), "{shown}: {info}");
    }
    // Without one that has it the registry itself is asked, through its proxy, which is not there.
    mirrors("http://127.0.0.1:2");
    let pid = rustix::process::Pid::from_raw(e.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    eventually("the new mirror", || e.run(&["info"]).ok().contains("http://127.0.0.1:2/"));
    let refused = e.run(&["pull", "ghcr.test/me/app:1"]);
    assert!(refused.err.contains("through the proxy http://xxxxx:xxxxx@127.0.0.1:1"), "{}", refused.err);
}

#[test]
fn credentials_in_a_helper() {
    let Some(e) = Engine::start() else { return };
    let registry = Registry::start(&e);
    // It keeps one server's credentials in a file, as it gets them.
    let helper = e.path("docker-credential-test");
    let kept = e.path("kept");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat > {0};;\nget) cat >/dev/null; if [ -e {0} ]; then cat {0}; else echo credentials not found in native keychain; exit 1; fi;;\nerase) rm -f {0};;\nesac\n",
        kept.display()
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(e.path("config")).unwrap();
    let config = e.path("config/config.json");
    let proxies = r#""proxies": {"default": {"httpProxy": "http://proxy.test:1", "noProxy": "x.test"}}"#;
    std::fs::write(&config, format!(r#"{{"credHelpers": {{"{}": "test"}}, {proxies}}}"#, registry.address()))
        .unwrap();
    let path = format!("{}:{}", e.path("").display(), std::env::var("PATH").unwrap());
    let run =
        |args: &[&str], input: &str| wharf_e2e::run_limited(e.wharf().env("PATH", &path).args(args), input);
    let name = format!("{}/me/app:1", registry.address());
    e.run(&["tag", "busybox", &name]).ok();
    let login = run(&["login", registry.address(), "-u", "me", "--password-stdin"], "secret");
    assert!(login.out.contains("Login Succeeded") && !login.err.contains("unencrypted"), "{}", login.err);
    assert!(std::fs::read_to_string(&kept).unwrap().contains("\"Secret\":\"secret\""));
    assert!(!std::fs::read_to_string(&config).unwrap().contains("c2VjcmV0"), "not in the file");
    run(&["push", &name], "").ok();
    run(&["logout", registry.address()], "").ok();
    assert!(!kept.exists());
    assert_ne!(run(&["push", &name], "").code, 0);
    // Proxies of the same file are for containers and builds.
    let env = e.run(&["run", "--rm", "-e", "no_proxy=mine", "busybox", "env"]).ok();
    for line in ["HTTP_PROXY=http://proxy.test:1", "http_proxy=http://proxy.test:1", "no_proxy=mine"] {
        assert!(env.lines().any(|l| l == line), "{line}: {env}");
    }
}
