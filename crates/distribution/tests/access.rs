//! Who may do what: passwords, tokens of the registry's own and of others, certificates, rules, limits, the audit log.
#![allow(clippy::unwrap_used)]

mod common;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use common::{Http, OCI_MANIFEST, Served, eventually, htpasswd, image, serve, serve_in};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use wharf_distribution::client::{Client, ClientConfig, Credentials};
use wharf_distribution::server::Settings;
use wharf_model::blobs::fake::MemoryBlobs;
use wharf_oci::digest::Digest;
use wharf_oci::reference::Reference;

const RULES: &str = r#""access": [
    {"users": ["@anonymous"], "repositories": ["public/*"], "actions": ["pull"]},
    {"users": ["writer"], "repositories": ["public/*", "team/*"], "actions": ["pull", "push"]},
    {"users": ["admin"], "repositories": ["*"], "actions": ["pull", "push", "delete"]}]"#;

/// A registry with the users writer, reader and admin, whose passwords are their names.
fn with_users(settings: &str) -> Served {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let users: String = ["writer", "reader", "admin"].iter().map(|user| htpasswd(user, user)).collect();
    std::fs::write(dir.path().join("users"), users).unwrap();
    serve_in(dir, MemoryBlobs::default(), settings)
}

fn bearer(http: &Http, token: &str) -> Http {
    Http { authorization: Some(format!("Bearer {token}")), ..http.clone() }
}

fn token(http: &Http, query: &str) -> String {
    let answer = http.get(&format!("/token?service=wharf-registry{query}")).expect(200);
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn passwords_and_rules() {
    let registry = with_users(&format!(
        r#"{{"auth": {{"htpasswd": "DIR/users"}}, {}}}"#,
        RULES.replace("@anonymous", "reader")
    ));
    let (nobody, writer, admin) =
        (registry.http(), registry.as_user("writer", "writer"), registry.as_user("admin", "admin"));
    let reader = registry.as_user("reader", "reader");
    for wrong in [&nobody, &registry.as_user("writer", "reader"), &registry.as_user("none", "none")] {
        let refused = wrong.get("/v2/").expect_code(401, "UNAUTHORIZED");
        assert!(refused.header("www-authenticate").starts_with("Basic realm="), "{:?}", refused.headers);
        wrong.get("/v2/public/a/tags/list").expect(401);
        wrong.get("/ui/").expect(401);
        wrong.get("/metrics").expect(401);
    }
    let (digest, _) = writer.push_image("public/a", "v1", b"layer");
    writer.push_image("team/b", "v1", b"secret layer");
    reader.get("/v2/public/a/manifests/v1").expect(200);
    reader.get("/v2/team/b/manifests/v1").expect_code(403, "DENIED");
    reader.send("POST", "/v2/public/a/blobs/uploads/", &[], b"").expect_code(403, "DENIED");
    writer.send("POST", "/v2/other/blobs/uploads/", &[], b"").expect_code(403, "DENIED");
    for target in [
        format!("/v2/public/a/manifests/{digest}"),
        format!("/v2/public/a/blobs/{}", Digest::sha256(b"layer")),
    ] {
        writer.delete(&target).expect_code(403, "DENIED");
    }
    // A blob of a repository that one may not read is not to be had by mounting it, named or not.
    let secret = Digest::sha256(b"secret layer");
    let other = registry.as_user("admin", "admin");
    other.push_blob("hidden", b"hidden layer");
    let hidden = Digest::sha256(b"hidden layer");
    for from in ["&from=hidden", ""] {
        writer
            .send("POST", &format!("/v2/public/a/blobs/uploads/?mount={hidden}{from}"), &[], b"")
            .expect(202);
        writer
            .send(
                "POST",
                &format!("/v2/public/a/blobs/uploads/?mount={secret}{from}").replace("hidden", "team/b"),
                &[],
                b"",
            )
            .expect(201);
    }
    // Lists show what one may pull.
    let listed = |http: &Http| http.get("/v2/_catalog").expect(200).json()["repositories"].to_string();
    assert_eq!(listed(&reader), r#"["public/a"]"#);
    assert_eq!(listed(&admin), r#"["public/a","team/b"]"#);
    assert!(!reader.get("/ui/").expect(200).text().contains("team/b"));
    reader.get("/ui/team/b").expect(404);
    reader.get("/metrics").expect(403);
    assert!(admin.get("/metrics").expect(200).text().contains("wharf_registry_requests_total"));
    admin.delete(&format!("/v2/public/a/manifests/{digest}")).expect(202);
    // Changed passwords are read without a restart.
    std::fs::write(registry.path("users"), htpasswd("writer", "new")).unwrap();
    eventually("the new password", || registry.as_user("writer", "new").get("/v2/").status == 200);
    writer.get("/v2/").expect(401);
}

#[test]
fn tokens_of_its_own() {
    let registry = with_users(&format!(r#"{{"auth": {{"htpasswd": "DIR/users"}}, {RULES}}}"#));
    let (nobody, writer) = (registry.http(), registry.as_user("writer", "writer"));
    // That everybody may pull makes it issue tokens: clients could not begin without and go on with a password.
    let challenge = nobody.get("/v2/").expect(401).header("www-authenticate").to_owned();
    assert_eq!(challenge, r#"Bearer realm="http://registry.test/token",service="wharf-registry""#);
    let refused = nobody.send("POST", "/v2/team/a/blobs/uploads/", &[], b"").expect(401);
    assert!(refused.header("www-authenticate").contains(r#"scope="repository:team/a:pull,push""#));
    let pushing = bearer(
        &nobody,
        &token(&writer, "&scope=repository:team/a:pull,push&scope=repository:public/a:pull,push"),
    );
    let (digest, _) = pushing.push_image("team/a", "v1", b"layer");
    pushing.push_image("public/a", "v1", b"layer");
    pushing.get("/v2/").expect(200);
    // What was not asked for a new token might allow; what the rules do not allow none does.
    let elsewhere = pushing.send("POST", "/v2/team/b/blobs/uploads/", &[], b"").expect(401);
    assert!(elsewhere.header("www-authenticate").contains("team/b"));
    pushing.delete(&format!("/v2/team/a/manifests/{digest}")).expect_code(403, "DENIED");
    let asked = bearer(&nobody, &token(&writer, "&scope=repository:team/a:*"));
    asked.delete(&format!("/v2/team/a/manifests/{digest}")).expect(403);
    let anonymous =
        bearer(&nobody, &token(&nobody, "&scope=repository:public/a:pull&scope=repository:team/a:pull"));
    anonymous.get("/v2/public/a/manifests/v1").expect(200);
    anonymous.get("/v2/team/a/manifests/v1").expect(401);
    registry.as_user("writer", "wrong").get("/token").expect(401);
    bearer(&nobody, "x.y.z").get("/v2/").expect(401);
    // OAuth2's form, and a certificate's name nobody has.
    let form =
        b"grant_type=password&username=writer&password=writer&scope=repository%3Ateam%2Fa%3Apull&client_id=x";
    let answer = nobody
        .send("POST", "/token", &[("Content-Type", "application/x-www-form-urlencoded")], form)
        .expect(200);
    let oauth = bearer(&nobody, answer.json()["access_token"].as_str().unwrap());
    oauth.get("/v2/team/a/tags/list").expect(200);
    // Rules that change take a token's power away at once.
    let none = r#"{"auth": {"htpasswd": "DIR/users"}, "access": [{"users": ["@anonymous"], "repositories": ["x"], "actions": ["pull"]}]}"#;
    registry
        .control
        .apply(Settings::parse(&none.replace("DIR", registry.dir.path().to_str().unwrap())).unwrap())
        .unwrap();
    oauth.get("/v2/team/a/tags/list").expect(403);
}

#[test]
fn a_mount_asks_for_a_token_of_both_repositories() {
    let registry = with_users(&format!(r#"{{"auth": {{"htpasswd": "DIR/users"}}, {RULES}}}"#));
    let (nobody, writer, admin) =
        (registry.http(), registry.as_user("writer", "writer"), registry.as_user("admin", "admin"));
    let (blob, hidden) = (admin.push_blob("team/b", b"blob"), admin.push_blob("hidden", b"hidden"));
    let mount = |http: &Http, blob: &Digest, from: &str| {
        http.send("POST", &format!("/v2/team/a/blobs/uploads/?mount={blob}{from}"), &[], b"")
    };
    let both = r#"scope="repository:team/a:pull,push repository:team/b:pull""#;
    let narrow = bearer(&nobody, &token(&writer, "&scope=repository:team/a:pull,push"));
    for http in [&nobody, &narrow] {
        let refused = mount(http, &blob, "&from=team/b").expect(401);
        let challenge = refused.header("www-authenticate");
        assert!(challenge.ends_with(both), "{challenge}");
    }
    let wide = token(&writer, "&scope=repository:team/a:pull,push%20repository:team/b:pull");
    mount(&bearer(&nobody, &wide), &blob, "&from=team/b").expect(201);
    // What no token would allow, what no name is said of, and what is no name: the blob is sent.
    for from in ["&from=hidden", "", "&from=x%22,y", "&from=team/a"] {
        mount(&narrow, &hidden, from).expect(202);
    }
    let quoted = mount(&nobody, &blob, "&from=x%22,y").expect(401);
    assert!(quoted.header("www-authenticate").ends_with(r#"scope="repository:team/a:pull,push""#));
}

#[test]
fn our_client_gets_tokens_of_our_server() {
    let registry = with_users(&format!(r#"{{"auth": {{"htpasswd": "DIR/users"}}, {RULES}}}"#));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client =
            Client::new(&ClientConfig { certs_dir: registry.path("certs"), ..ClientConfig::default() })
                .unwrap();
        let writer = Credentials::Password { user: "writer".into(), password: "writer".into() };
        client.login(&registry.address, &writer).await.unwrap();
        let wrong = Credentials::Password { user: "writer".into(), password: "no".into() };
        client.login(&registry.address, &wrong).await.unwrap_err();
        let reference: Reference = format!("{}/public/a", registry.address).parse().unwrap();
        let repository = client.repository(&reference, writer);
        let config = repository.upload_bytes(&bytes::Bytes::from_static(b"{}")).await.unwrap();
        let body = image(&config, 2, &[], "");
        repository.put_manifest("v1", OCI_MANIFEST, body.into()).await.unwrap();
        let anonymous = client.repository(&reference, Credentials::Anonymous);
        assert_eq!(anonymous.tags().await.unwrap(), ["v1"]);
        assert!(anonymous.upload_bytes(&bytes::Bytes::from_static(b"x")).await.is_err());
    });
}

/// A token as a server elsewhere makes it.
fn foreign(algorithm: &str, claims: &serde_json::Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: String| BASE64_URL_SAFE_NO_PAD.encode(value);
    let signed =
        format!("{}.{}", part(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#)), part(claims.to_string()));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn claims(audience: &str, age: i64) -> serde_json::Value {
    let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap() - age;
    serde_json::json!({
        "iss": "auth.test", "sub": "someone", "aud": audience, "exp": now + 300, "nbf": now, "iat": now,
        "access": [{"type": "repository", "name": "theirs", "actions": ["pull", "push"]}]
    })
}

#[test]
fn tokens_of_a_trusted_server() {
    let random = SystemRandom::new();
    let curve = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let curve = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, curve.as_ref(), &random).unwrap();
    let edwards =
        Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let point = curve.public_key().as_ref();
    let set = serde_json::json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "a", "x": part(&point[1..33]), "y": part(&point[33..])},
        {"kty": "OKP", "crv": "Ed25519", "x": part(edwards.public_key().as_ref())},
        {"kty": "oct", "k": "AAAA"}]});
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("keys"), set.to_string()).unwrap();
    let settings = r#"{"auth": {"trust": {"realm": "https://auth.test/token", "service": "ours", "issuer": "auth.test",
        "keys": "DIR/keys"}}}"#;
    let registry = serve_in(Arc::clone(&dir), MemoryBlobs::default(), settings);
    let nobody = registry.http();
    let challenge = nobody.get("/v2/theirs/tags/list").expect(401).header("www-authenticate").to_owned();
    assert_eq!(
        challenge,
        r#"Bearer realm="https://auth.test/token",service="ours",scope="repository:theirs:pull""#
    );
    let by_curve = |signed: &[u8]| curve.sign(&random, signed).unwrap().as_ref().to_vec();
    let by_edwards = |signed: &[u8]| edwards.sign(signed).as_ref().to_vec();
    let good =
        [foreign("ES256", &claims("ours", 0), by_curve), foreign("EdDSA", &claims("ours", 0), by_edwards)];
    for token in &good {
        let http = bearer(&nobody, token);
        http.push_image("theirs", "v1", b"layer");
        http.get("/v2/theirs/tags/list").expect(200);
        http.get("/v2/other/tags/list").expect(401);
        http.delete("/v2/theirs/manifests/v1").expect(401);
    }
    for (why, bad) in [
        ("for another service", foreign("ES256", &claims("theirs", 0), by_curve)),
        ("too old", foreign("ES256", &claims("ours", 1000), by_curve)),
        ("from the future", foreign("ES256", &claims("ours", -1000), by_curve)),
        ("another algorithm", foreign("RS256", &claims("ours", 0), by_curve)),
        ("no signature", foreign("none", &claims("ours", 0), |_| Vec::new())),
        ("signed with a public key", foreign("HS256", &claims("ours", 0), |_| point.to_vec())),
        ("signed by nobody", foreign("ES256", &claims("ours", 0), |_| vec![1; 64])),
    ] {
        let refused = bearer(&nobody, &bad).get("/v2/theirs/tags/list");
        assert_eq!(refused.status, 401, "{why}");
    }
    // The same key as PEM.
    let info = [
        &[
            0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
            0x3d, 3, 1, 7, 3, 0x42, 0,
        ][..],
        point,
    ]
    .concat();
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(info));
    std::fs::write(dir.path().join("keys"), pem).unwrap();
    eventually("the other key is gone", || {
        bearer(&nobody, &good[1]).get("/v2/theirs/tags/list").status == 401
    });
    bearer(&nobody, &good[0]).get("/v2/theirs/tags/list").expect(200);
    std::fs::write(dir.path().join("keys"), "nothing").unwrap();
    registry.control.reopen().unwrap_err();
    bearer(&nobody, &good[0]).get("/v2/theirs/tags/list").expect(200);
}

/// A key and signatures of openssl's.
#[test]
fn tokens_signed_with_rsa() {
    use std::io::Write;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let openssl = |args: &[&str], input: &[u8]| {
        let mut command = std::process::Command::new("openssl");
        command.current_dir(dir.path()).args(args);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::null()).spawn().ok()?;
        child.stdin.take()?.write_all(input).ok()?;
        child.wait_with_output().ok().filter(|out| out.status.success()).map(|out| out.stdout)
    };
    let key = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"];
    if openssl(&[&key[..], &["own"]].concat(), b"").is_none() {
        return println!("skipped: openssl is not there");
    }
    openssl(&["pkey", "-in", "own", "-pubout", "-out", "keys"], b"").unwrap();
    openssl(&[&key[..], &["other"]].concat(), b"").unwrap();
    let settings = r#"{"auth": {"trust": {"realm": "https://auth.test/token", "service": "ours", "issuer": "auth.test",
        "keys": "DIR/keys"}}}"#;
    let registry = serve_in(Arc::clone(&dir), MemoryBlobs::default(), settings);
    let nobody = registry.http();
    let by = |key: &str| {
        let key = key.to_owned();
        move |signed: &[u8]| openssl(&["dgst", "-sha256", "-sign", &key], signed).unwrap()
    };
    let good = foreign("RS256", &claims("ours", 0), by("own"));
    bearer(&nobody, &good).push_image("theirs", "v1", b"layer");
    for bad in [
        foreign("RS256", &claims("ours", 0), by("other")),
        foreign("RS512", &claims("ours", 0), by("own")),
        foreign("ES256", &claims("ours", 0), by("own")),
        good.replacen('e', "f", 1),
    ] {
        bearer(&nobody, &bad).get("/v2/theirs/tags/list").expect(401);
    }
}

#[test]
fn too_many_requests() {
    let registry =
        with_users(r#"{"auth": {"htpasswd": "DIR/users"}, "rate-limit": {"per-second": 1, "burst": 5}}"#);
    let reader = registry.as_user("reader", "reader");
    let answers: Vec<_> = (0..8).map(|_| reader.get("/v2/")).collect();
    assert!(answers[..5].iter().all(|a| a.status == 200), "{answers:?}");
    let refused = answers.into_iter().find(|a| a.status == 429).unwrap().expect_code(429, "TOOMANYREQUESTS");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    registry.as_user("writer", "writer").get("/v2/").expect(200);
    registry.http().get("/healthz").expect(200);
    // Guessing is limited by the guesser's address.
    let guesses: Vec<u16> =
        (0..10).map(|n| registry.as_user("admin", &n.to_string()).get("/v2/").status).collect();
    assert!(guesses.contains(&401) && guesses.last() == Some(&429), "{guesses:?}");
}

#[test]
fn read_only_and_live_settings() {
    let registry = serve("{}");
    let http = registry.http();
    let (digest, _) = http.push_image("a", "v1", b"layer");
    registry.control.apply(Settings::parse(r#"{"read-only": true}"#).unwrap()).unwrap();
    http.get("/v2/a/manifests/v1").expect(200);
    for (method, target) in [
        ("POST", "/v2/a/blobs/uploads/".to_owned()),
        ("PUT", "/v2/a/manifests/v2".to_owned()),
        ("DELETE", format!("/v2/a/manifests/{digest}")),
    ] {
        let refused = http.send(method, &target, &[], b"").expect_code(405, "UNSUPPORTED");
        assert!(refused.text().contains("read-only"));
    }
    // Settings that cannot be leave those in force.
    registry.control.apply(Settings::parse(r#"{"auth": {"htpasswd": "/none"}}"#).unwrap()).unwrap_err();
    http.get("/v2/a/manifests/v1").expect(200);
    registry.control.apply(Settings::default()).unwrap();
    http.delete(&format!("/v2/a/manifests/{digest}")).expect(202);
}

#[test]
fn the_audit_log_says_who_did_what() {
    let registry = with_users(&format!(
        r#"{{"auth": {{"htpasswd": "DIR/users"}}, "audit-log": "DIR/audit", {}}}"#,
        RULES.replace("@anonymous", "reader")
    ));
    let (digest, _) = registry.as_user("writer", "writer").push_image("public/a", "v1", b"layer");
    registry.as_user("reader", "reader").get("/v2/public/a/manifests/v1").expect(200);
    registry.as_user("reader", "reader").delete("/v2/public/a/manifests/v1").expect(403);
    registry.http().get("/v2/public/a/manifests/v1").expect(401);
    let text = std::fs::read_to_string(registry.path("audit")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let find = |action: &str, status: u16, user: Option<&str>| {
        let found = lines.iter().find(|l| {
            l["action"] == action
                && l["status"] == status
                && l["user"].as_str() == user
                && l["reference"] == "v1"
        });
        found.unwrap_or_else(|| panic!("no {action} {status} {user:?} in\n{text}")).clone()
    };
    let pushed = find("push", 201, Some("writer"));
    assert_eq!(
        (pushed["repository"].as_str(), pushed["digest"].as_str()),
        (Some("public/a"), Some(digest.as_str()))
    );
    assert!(
        pushed["from"].as_str().unwrap().starts_with("127.0.0.1:")
            && pushed["time"].as_str().unwrap().ends_with('Z')
    );
    find("pull", 200, Some("reader"));
    find("delete", 403, Some("reader"));
    find("pull", 401, None);
    // Moved away, it is begun anew.
    std::fs::rename(registry.path("audit"), registry.path("audit.1")).unwrap();
    registry.control.reopen().unwrap();
    registry.as_user("reader", "reader").get("/v2/public/a/tags/list").expect(200);
    assert_eq!(std::fs::read_to_string(registry.path("audit")).unwrap().lines().count(), 1);
}

/// A client that sends all of a body before it reads sees the refusal, and not a broken connection.
#[test]
fn a_refusal_is_read_also_by_those_who_send_first() {
    let registry = with_users(r#"{"auth": {"htpasswd": "DIR/users"}}"#);
    // A manifest may have 4 MiB.
    let content = common::bytes(1, 4_000_000);
    for _ in 0..20 {
        registry
            .http()
            .send("PUT", "/v2/a/blobs/uploads/x?digest=y", &[], &content)
            .expect_code(401, "UNAUTHORIZED");
        let writer = registry.as_user("writer", "writer");
        writer.send("PUT", "/v2/a/manifests/v1?tag=.", &[], &content).expect_code(400, "MANIFEST_INVALID");
        writer.send("PATCH", "/v2/a/blobs/uploads/x", &[], &content).expect_code(404, "BLOB_UPLOAD_UNKNOWN");
    }
    // The connection stays good for the next request.
    let mut stream = std::net::TcpStream::connect(&registry.address).unwrap();
    use std::io::{Read, Write};
    let head =
        format!("PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&content).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 401") && all.ends_with("ok\n"), "{all}");
}

/// Another certificate in the files is served without a restart; a pair that does not fit is not.
#[test]
fn certificates_are_read_again() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/fixtures/tls");
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let copy = |from: &str, to: &str| {
        std::fs::copy(fixtures.join(from), dir.path().join(to)).unwrap();
    };
    copy("server/cert.pem", "cert.pem");
    copy("server/key.pem", "key.pem");
    let settings = r#"{"tls": {"certificate": "DIR/cert.pem", "key": "DIR/key.pem"}}"#;
    let registry = serve_in(Arc::clone(&dir), MemoryBlobs::default(), settings);
    let shown = || common::certificate(&registry.address);
    let of =
        |name: &str| rustls::pki_types::CertificateDer::from_pem_file(fixtures.join(name)).unwrap().to_vec();
    let (first, second) = (of("server/cert.pem"), of("client/cert.pem"));
    assert!(shown() == first);
    // In two steps: until they fit, the old pair serves.
    copy("client/key.pem", "key.pem");
    assert!(registry.control.reopen().is_err() && shown() == first);
    copy("client/cert.pem", "cert.pem");
    eventually("the other certificate", || shown() == second);
    copy("server/cert.pem", "cert.pem");
    copy("server/key.pem", "key.pem");
    eventually("the first again", || shown() == first);
}
