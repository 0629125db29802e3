//! Debian's registry (package `docker-registry`) in the ways it is run: with passwords, with TLS of a private authority and
//! clients' certificates, with a token server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use wharf_e2e::{Done, Engine, eventually, program};

/// The registry, ended when dropped.
struct Registry {
    process: Child,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts it on a free port of a host, with these further sections of its configuration.
fn registry(e: &Engine, host: &str, sections: &str, http: &str) -> Registry {
    // Free when asked for; what takes it in between makes the registry end, and the test fail.
    let port = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port();
    let address = format!("{host}:{port}");
    let file = e.path("registry.yml");
    let root = e.path("debian").display().to_string();
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {root}}}\n  delete: {{enabled: true}}\n\
         http:\n  addr: {address}\n{http}{sections}"
    );
    std::fs::write(&file, text).unwrap();
    let process = Command::new("docker-registry")
        .arg("serve")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(e.path("registry.log")).unwrap())
        .spawn()
        .unwrap();
    let registry = Registry { process, address };
    eventually("the registry listens", || TcpStream::connect(&registry.address).is_ok());
    registry
}

fn is_here() -> bool {
    let missing = ["docker-registry", "openssl"].into_iter().find(|name| program(name).is_none());
    if let Some(name) = missing {
        println!("skipped: {name} is not there: install docker-registry and openssl");
    }
    missing.is_none()
}

fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {args:?}");
    output.stdout
}

/// A certificate of its own authority, for an address, with its key.
fn certificate(directory: &Path, host: &str) -> (PathBuf, PathBuf) {
    std::fs::create_dir_all(directory).unwrap();
    let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let name = format!("subjectAltName=IP:{host}");
    let (to, with) = (cert.display().to_string(), key.display().to_string());
    openssl(
        &[
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext",
            &name, "-out", &to, "-keyout", &with,
        ],
        b"",
    );
    (cert, key)
}

fn login(e: &Engine, registry: &str, password: &str) -> Done {
    e.run_with(&["login", registry, "-u", "me", "--password-stdin"], password)
}

/// What every registry has to serve.
fn there_and_back(e: &Engine, registry: &str) {
    let name = format!("{registry}/me/app:1");
    e.run(&["tag", "busybox", &name]).ok();
    assert_ne!(e.run(&["push", &name]).code, 0, "without a login");
    assert_ne!(login(e, registry, "wrong").code, 0);
    login(e, registry, "secret").ok();
    assert!(e.run(&["push", &name]).ok().contains("1: digest: sha256:"));
    assert!(e.run(&["push", &name]).ok().contains("Layer already exists"));
    e.run(&["rmi", &name]).ok();
    e.run(&["run", "--rm", &name, "true"]).ok();
    // To another repository without being sent.
    let other = format!("{registry}/me/other:1");
    e.run(&["tag", &name, &other]).ok();
    assert!(e.run(&["push", &other]).ok().contains("Mounted from me/app"));
    let third = format!("{registry}/me/third:1");
    assert!(e.run(&["image", "copy", &name, &third]).ok().contains("Mounted from me/app"));
    let list = format!("{registry}/me/list:1");
    e.run(&["manifest", "create", &list, &name]).ok();
    e.run(&["manifest", "push", &list]).ok();
    e.run(&["run", "--rm", &list, "true"]).ok();
    e.run(&["logout", registry]).ok();
    assert_ne!(e.run(&["pull", &name]).code, 0, "after the logout");
}

#[test]
fn with_passwords() {
    if !is_here() {
        return;
    }
    let Some(e) = Engine::start() else { return };
    let line = e.run_with(&["registry", "htpasswd", "me"], "secret\n").ok();
    let file = e.path("passwords");
    std::fs::write(&file, line).unwrap();
    let auth = format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", file.display());
    let registry = registry(&e, "127.0.0.1", &auth, "");
    there_and_back(&e, &registry.address);
}

#[test]
fn with_a_private_authority() {
    if !is_here() {
        return;
    }
    let certs = tempfile::tempdir().unwrap();
    let directory = certs.path().display().to_string();
    let Some(e) = Engine::start_with(&["--registry-certs-dir", &directory]) else { return };
    // Loopback is never verified: the bridge's own address is another one of this host.
    e.run(&["run", "-d", "--name", "holds", "busybox", "sleep", "1000"]).ok();
    let host =
        e.run(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]).ok();
    let (cert, key) = certificate(&e.path("tls"), &host);
    let line = e.run_with(&["registry", "htpasswd", "me"], "secret\n").ok();
    std::fs::write(e.path("passwords"), line).unwrap();
    let auth = format!("auth:\n  htpasswd: {{realm: test, path: {}}}\n", e.path("passwords").display());
    let ca = cert.display();
    let tls = format!("  tls: {{certificate: {ca}, key: {}, clientcas: [{ca}]}}\n", key.display());
    let registry = registry(&e, &host, &auth, &tls);
    e.run(&["tag", "busybox", &format!("{}/me/app:1", registry.address)]).ok();
    let refused = e.run(&["push", &format!("{}/me/app:1", registry.address)]);
    assert!(refused.code != 0 && refused.err.contains("ca.crt"), "{}", refused.err);
    // Certificates come while the engine runs.
    let own = certs.path().join(&registry.address);
    std::fs::create_dir_all(&own).unwrap();
    for (from, to) in [(&cert, "ca.crt"), (&cert, "client.cert"), (&key, "client.key")] {
        std::fs::copy(from, own.join(to)).unwrap();
    }
    there_and_back(&e, &registry.address);
    e.run(&["rm", "-f", "holds"]).ok();
}

#[test]
fn with_a_token_server() {
    if !is_here() {
        return;
    }
    let Some(e) = Engine::start() else { return };
    let (cert, key) = certificate(&e.path("tokens"), "127.0.0.1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let bundle = cert.display().to_string();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away gets no token.
            let _ = grant(stream, &cert, &key);
        }
    });
    let auth = format!(
        "auth:\n  token: {{realm: \"{realm}\", service: registry, issuer: test, rootcertbundle: {bundle}}}\n"
    );
    let registry = registry(&e, "127.0.0.1", &auth, "");
    there_and_back(&e, &registry.address);
}

/// Answers one request for a token: to the user with the password all that is asked for, to others nothing.
fn grant(mut stream: TcpStream, cert: &Path, key: &Path) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head[0] == 0x16 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    // `me:secret`.
    if !head.contains("Basic bWU6c2VjcmV0\r\n") {
        let body = r#"{"details":"incorrect username or password"}"#;
        return write!(
            stream,
            "HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
    let query = head.split(' ').nth(1).unwrap_or_default().split_once('?').map_or("", |(_, query)| query);
    let access: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .map(|scope| scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","))
        .filter_map(|scope| {
            let [kind, name, actions] =
                scope.split(':').map(str::to_owned).collect::<Vec<_>>().try_into().ok()?;
            let actions = actions.replace(',', "\",\"");
            Some(format!(r#"{{"type":"{kind}","name":"{name}","actions":["{actions}"]}}"#))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let der = openssl(&["x509", "-in", &cert.display().to_string(), "-outform", "DER"], b"");
    let der = String::from_utf8(openssl(&["base64", "-A"], &der)).unwrap();
    let head = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{der}"]}}"#);
    let claims = format!(
        r#"{{"iss":"test","sub":"me","aud":"registry","exp":{},"nbf":{},"iat":{now},"jti":"x","access":[{}]}}"#,
        now + 60,
        now - 10,
        access.join(",")
    );
    let signed = format!("{}.{}", base64url(head.as_bytes()), base64url(claims.as_bytes()));
    let signature = openssl(&["dgst", "-sha256", "-sign", &key.display().to_string()], signed.as_bytes());
    let body = format!(r#"{{"token":"{signed}.{}","expires_in":60}}"#, base64url(&signature));
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn base64url(bytes: &[u8]) -> String {
    let text = String::from_utf8(openssl(&["base64", "-A"], bytes)).unwrap();
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}
