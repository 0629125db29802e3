//! The API on TCP: with TLS and clients' certificates, and without either.

use std::path::Path;
use wharf_e2e::{Done, Engine, run_limited};

fn fixtures(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name).display().to_string()
}

/// The address that the engine's log names.
fn address(e: &Engine) -> String {
    let log = e.log();
    let start = log.find("tcp://").expect("the engine listens on TCP");
    log[start..].split_whitespace().next().unwrap_or_default().to_owned()
}

fn remote(e: &Engine, certificates: Option<&str>, args: &[&str]) -> Done {
    let mut command = e.wharf();
    command.env("WHARF_HOST", address(e));
    if let Some(name) = certificates {
        command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", fixtures(name));
    }
    run_limited(command.args(args), "")
}

#[test]
fn clients_need_a_certificate() {
    let (ca, cert, key) =
        (fixtures("client/ca.pem"), fixtures("server/cert.pem"), fixtures("server/key.pem"));
    let flags = ["--tlsverify", "--tlscacert", &ca, "--tlscert", &cert, "--tlskey", &key];
    let Some(e) = Engine::start_with(&[&["-H", "tcp://127.0.0.1:0"][..], &flags].concat()) else { return };
    let script = ["run", "--rm", "-i", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3"];
    let done = remote(&e, Some("client"), &script);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (3, "out\n", "err\n"));
    let done = remote(&e, None, &["ps"]);
    assert_ne!(done.code, 0, "without TLS");
    let mut nobody = e.wharf();
    nobody.env("WHARF_HOST", address(&e)).args(["--tls", "ps"]);
    assert_ne!(run_limited(&mut nobody, "").code, 0, "without a certificate");
    if let Some(mut docker) = e.docker_command() {
        docker
            .env("DOCKER_HOST", address(&e))
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", fixtures("client"));
        assert_eq!(run_limited(docker.args(script), "").code, 3);
    }
}

#[test]
fn nobody_is_let_in_unasked() {
    let Some(e) = Engine::start_with(&["-H", "tcp://127.0.0.1:0", "--tls=false"]) else { return };
    assert_eq!(remote(&e, None, &["ps", "-q"]).ok(), "");
    assert!(e.log().contains("is root on this machine"), "{}", e.log());
    let mut daemon = e.wharf();
    daemon.args(["daemon", "-H", "tcp://127.0.0.1:0", "--data-root"]).arg(e.path("other"));
    let done = run_limited(&mut daemon, "");
    assert_eq!(done.code, 1);
    assert!(done.err.contains("--tlsverify"), "{}", done.err);
}
