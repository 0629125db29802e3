//! Syslog over TLS: to whom the log goes, and who is shown to be sending it.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use wharf_e2e::{Done, Engine};

const LIMIT: Duration = Duration::from_secs(20);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

/// A receiver that wants to see a certificate of our authority. What it reads comes line by line.
fn receiver() -> (SocketAddr, Receiver<String>) {
    let certificates = |name| CertificateDer::pem_file_iter(fixture(name)).unwrap().map(Result::unwrap);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("client/ca.pem"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server/key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates("server/cert.pem").collect(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let connection = ServerConnection::new(config.clone()).unwrap();
            let (sender, stream) = (sender.clone(), StreamOwned::new(connection, stream));
            std::thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                lines.for_each(|line| drop(sender.send(line)));
            });
        }
    });
    (address, lines)
}

fn run(e: &Engine, address: SocketAddr, options: &[(&str, &Path)], script: &str) -> Done {
    let mut command = e.wharf();
    command.args(["run", "--network", "none", "--log-driver", "syslog", "--log-opt", "tag=c1"]);
    command.args(["--log-opt", &format!("syslog-address=tcp+tls://{address}")]);
    for (name, value) in options {
        command.args(["--log-opt", &format!("syslog-{name}={}", value.display())]);
    }
    wharf_e2e::run_limited(command.args(["busybox", "sh", "-c", script]), "")
}

#[test]
fn each_line_arrives_under_tls() {
    let Some(e) = Engine::start() else { return };
    let (address, lines) = receiver();
    let (ca, cert, key) = (fixture("client/ca.pem"), fixture("client/cert.pem"), fixture("client/key.pem"));
    let own = [("tls-cert", cert.as_path()), ("tls-key", key.as_path())];
    let trusted = [&own[..], &[("tls-ca-cert", ca.as_path())]].concat();
    let script = "for i in 1 2 3; do echo line-$i; done";
    run(&e, address, &trusted, script).ok();
    let texts: Vec<String> = (0..3).map(|_| lines.recv_timeout(LIMIT).unwrap()).collect();
    assert!(texts[0].starts_with("<30>") && texts[2].ends_with(": line-3"), "{texts:?}");
    // Messages of this form come after their lengths.
    run(&e, address, &[&trusted[..], &[("format", Path::new("rfc5424"))]].concat(), "echo framed").ok();
    let text = lines.recv_timeout(LIMIT).unwrap();
    let (length, message) = text.split_once(' ').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), message.len() + 1, "{text}");
    assert!(message.starts_with("<30>1 ") && message.ends_with(" - framed"), "{text}");
    // Whoever it is.
    let any = [&own[..], &[("tls-skip-verify", Path::new("true"))]].concat();
    run(&e, address, &any, "echo unverified").ok();
    assert!(lines.recv_timeout(LIMIT).unwrap().ends_with(": unverified"));
}

#[test]
fn whom_nobody_vouches_for_gets_no_line() {
    let Some(e) = Engine::start() else { return };
    let (address, lines) = receiver();
    let (nope, cert) = (Path::new("/nope"), fixture("client/cert.pem"));
    let initialize = "failed to initialize logging driver: ";
    for (options, text) in [
        (vec![], "invalid peer certificate: UnknownIssuer"),
        (vec![("tls-skip-verify", Path::new("false"))], "UnknownIssuer"),
        (vec![("tls-ca-cert", nope)], "could not read CA certificate \"/nope\": open /nope"),
        (vec![("tls-cert", nope)], "Could not load X509 key pair: open /nope"),
        (vec![("tls-cert", cert.as_path()), ("tls-key", nope)], "Could not load X509 key pair: open /nope"),
    ] {
        let done = run(&e, address, &options, "echo secret");
        assert!(done.code == 125 && done.err.contains(initialize), "{options:?}: {}", done.err);
        assert!(done.err.contains(text), "{options:?}: {}", done.err);
    }
    assert!(lines.try_recv().is_err());
}
