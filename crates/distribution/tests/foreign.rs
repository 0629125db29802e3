//! Our client with Debian's docker-registry: passwords, a private authority, a token server. Skipped where it is not installed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use common::{OCI_MANIFEST, eventually, htpasswd, image};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wharf_distribution::client::{Client, ClientConfig, Credentials};
use wharf_model::ErrorKind;
use wharf_oci::digest::Digest;
use wharf_oci::reference::Reference;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/fixtures/tls").join(name)
}

/// Debian's registry with a configuration of its own, ended with the test.
struct Foreign {
    child: Child,
    address: String,
}

impl Foreign {
    /// `more` follows in the configuration; `TLS` in it is the server's certificate.
    fn start(dir: &Path, tls: bool, more: &str) -> Option<Self> {
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let tls = match tls {
            true => format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                fixtures("server/cert.pem").display(),
                fixtures("server/key.pem").display()
            ),
            false => String::new(),
        };
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http:\n  addr: \"{address}\"\n{tls}{more}",
            dir.join("foreign").display()
        );
        std::fs::write(dir.join("foreign.yml"), text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("foreign.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            println!("skipped: docker-registry is not there");
            return None;
        };
        eventually("it listens", || TcpStream::connect(&address).is_ok());
        Some(Self { child, address })
    }

    fn client(&self, certs_dir: PathBuf) -> Client {
        Client::new(&ClientConfig { certs_dir, ..ClientConfig::default() }).unwrap()
    }

    /// Pushes, lists, pulls and deletes.
    async fn round(&self, client: &Client, credentials: Credentials) {
        let reference: Reference = format!("{}/me/app", self.address).parse().unwrap();
        let repository = client.repository(&reference, credentials);
        let layer: Bytes = common::bytes(1, 500_000).into();
        let config = repository.upload_bytes(&Bytes::from_static(b"{}")).await.unwrap();
        let blob = repository.upload_bytes(&layer).await.unwrap();
        let body = image(&config, 2, &[(&blob, layer.len())], "");
        let digest = repository.put_manifest("v1", OCI_MANIFEST, body.clone().into()).await.unwrap();
        assert_eq!(digest, Digest::sha256(&body));
        assert_eq!(repository.tags().await.unwrap(), ["v1"]);
        assert!(repository.manifest("v1").await.unwrap().body == body);
        assert!(repository.small_blob(&blob, layer.len() as u64, 1 << 20).await.unwrap() == layer);
        repository.delete_manifest(digest.as_str()).await.unwrap();
        assert_eq!(repository.manifest("v1").await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn password(password: &str) -> Credentials {
    Credentials::Password { user: "me".into(), password: password.into() }
}

#[tokio::test]
async fn passwords_and_a_private_authority() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("users"), htpasswd("me", "secret")).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", dir.path().join("users").display());
    let Some(foreign) = Foreign::start(dir.path(), true, &auth) else { return };
    let trusting = dir.path().join("certs").join(&foreign.address);
    std::fs::create_dir_all(&trusting).unwrap();
    std::fs::copy(fixtures("client/ca.pem"), trusting.join("ca.crt")).unwrap();
    let client = foreign.client(dir.path().join("certs"));
    client.login(&foreign.address, &password("secret")).await.unwrap();
    let refused = client.login(&foreign.address, &password("wrong")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthorised);
    foreign.round(&client, password("secret")).await;
}

/// Hands out tokens that the registry trusts by the certificate in them, for the password `secret`.
fn token_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let good = format!("Basic {}", BASE64_STANDARD.encode("me:secret"));
            let line = head.lines().find(|l| l.to_ascii_lowercase().starts_with("authorization:"));
            let body = match line {
                Some(line) if line.ends_with(&good) => format!(r#"{{"token":"{}"}}"#, token(&head)),
                _ => String::new(),
            };
            let status = if body.is_empty() { "401 Unauthorized" } else { "200 OK" };
            let answer = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

/// A token for the scopes that a request's first line asks for.
fn token(head: &str) -> String {
    let query = head.split(' ').nth(1).unwrap().split_once('?').unwrap().1;
    let access: Vec<serde_json::Value> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .map(|scope| scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",").replace("%2A", "*"))
        .map(|scope| {
            let (rest, actions) = scope.rsplit_once(':').unwrap();
            let (kind, name) = rest.split_once(':').unwrap();
            let actions: Vec<&str> = actions.split(',').collect();
            serde_json::json!({"type": kind, "name": name, "actions": actions})
        })
        .collect();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = serde_json::json!({"iss": "test issuer", "sub": "me", "aud": "test service", "exp": now + 300,
        "nbf": now - 10, "iat": now - 10, "jti": "1", "access": access});
    let certificate = CertificateDer::from_pem_file(fixtures("server/cert.pem")).unwrap();
    let header =
        serde_json::json!({"typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(&certificate)]});
    let part = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
    let key = PrivatePkcs8KeyDer::from_pem_file(fixtures("server/key.pem")).unwrap();
    let random = SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random).unwrap();
    let signature = pair.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let realm = token_server();
    let auth = format!(
        "auth: {{token: {{realm: \"http://{realm}/token\", service: \"test service\", issuer: \"test issuer\", rootcertbundle: {}}}}}\n",
        fixtures("client/ca.pem").display()
    );
    let Some(foreign) = Foreign::start(dir.path(), false, &auth) else { return };
    let client = foreign.client(dir.path().join("certs"));
    client.login(&foreign.address, &password("secret")).await.unwrap();
    let refused = client.login(&foreign.address, &password("wrong")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthorised, "{}", refused.full());
    foreign.round(&client, password("secret")).await;
    // Our own registry trusts the same server, by its certificate.
    let settings = format!(
        r#"{{"auth": {{"trust": {{"realm": "http://{realm}/token", "service": "test service", "issuer": "test issuer", "keys": "{}"}}}}}}"#,
        fixtures("server/cert.pem").display()
    );
    let ours = tokio::task::spawn_blocking(move || common::serve(&settings)).await.unwrap();
    let reference: Reference = format!("{}/me/app", ours.address).parse().unwrap();
    let repository = client.repository(&reference, password("secret"));
    let config = repository.upload_bytes(&Bytes::from_static(b"{}")).await.unwrap();
    repository.put_manifest("v1", OCI_MANIFEST, image(&config, 2, &[], "").into()).await.unwrap();
    assert_eq!(repository.tags().await.unwrap(), ["v1"]);
    let wrong = client.repository(&reference, password("wrong"));
    assert_eq!(wrong.tags().await.unwrap_err().kind(), ErrorKind::Unauthorised);
    tokio::task::spawn_blocking(move || drop(ours)).await.unwrap();
}
