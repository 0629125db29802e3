//! The embedded registry with the engine as its client.

use std::io::BufRead;
use std::process::{Child, Stdio};
use wharf_e2e::{Engine, eventually, get};

/// A registry with one user, ended when dropped.
pub(crate) struct Registry(Child, String);

impl Registry {
    pub(crate) fn start(e: &Engine) -> Self {
        let line = e.run_with(&["registry", "htpasswd", "me"], "secret\n").ok();
        std::fs::write(e.path("htpasswd"), line).unwrap();
        let passwords = e.path("htpasswd").display().to_string();
        Self::serve(e, "registry", &["--htpasswd", &passwords])
    }

    /// One that asks nobody for a password, with its content in this directory of the engine's.
    pub(crate) fn open(e: &Engine, root: &str) -> Self {
        Self::serve(e, root, &[])
    }

    fn serve(e: &Engine, root: &str, flags: &[&str]) -> Self {
        let mut child = e
            .wharf()
            .args(["registry", "serve", "--listen", "127.0.0.1:0", "--root"])
            .arg(e.path(root))
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().last().unwrap().to_owned();
        Self(child, address)
    }

    pub(crate) fn address(&self) -> &str {
        &self.1
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn push_and_pull_with_a_password() {
    let Some(e) = Engine::start() else { return };
    let registry = Registry::start(&e);
    let name = format!("{}/me/app:1", registry.1);
    e.run(&["tag", "busybox", &name]).ok();
    let refused = e.run(&["push", &name]);
    assert_ne!(refused.code, 0, "without a login");
    assert_ne!(e.run_with(&["login", &registry.1, "-u", "me", "--password-stdin"], "wrong").code, 0);
    e.run_with(&["login", &registry.1, "-u", "me", "--password-stdin"], "secret").ok();
    let kept = std::fs::metadata(e.path("config/config.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777, 0o600);
    let pushed = e.run(&["push", &name]).ok();
    assert!(pushed.contains("digest: sha256:"), "{pushed}");
    e.run(&["rmi", &name, "busybox"]).ok();
    e.run(&["pull", &name]).ok();
    e.run(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "80",
        &name,
        "sh",
        "-c",
        "mkdir /w; echo pulled > /w/index.html; httpd -f -h /w",
    ])
    .ok();
    let port = e.run(&["port", "web", "80"]).ok();
    let port = port.lines().next().unwrap().rsplit(':').next().unwrap().to_owned();
    eventually("the page", || get(&format!("127.0.0.1:{port}")).as_deref() == Some("pulled\n"));
    let absent = e.run(&["pull", &format!("{}/me/nothing", registry.1)]);
    assert_ne!(absent.code, 0);
}
