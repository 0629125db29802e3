//! Repositories that are filled from another registry: one of ours, with a password.
#![allow(clippy::unwrap_used)]

mod common;

use common::{OCI_MANIFEST, Served, bytes, eventually, htpasswd, image, serve, serve_in};
use std::sync::Arc;
use wharf_model::blobs::Blobs;
use wharf_model::blobs::fake::MemoryBlobs;
use wharf_oci::digest::Digest;

fn upstream() -> Served {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("users"), htpasswd("me", "secret")).unwrap();
    serve_in(dir, MemoryBlobs::default(), r#"{"auth": {"htpasswd": "DIR/users"}}"#)
}

fn mirror(of: &Served, more: &str) -> Served {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("password"), "secret\n").unwrap();
    let settings = format!(
        r#"{{"mirrors": [{{"prefix": "far", "upstream": "{}", "user": "me", "password-file": "DIR/password"{more}}}]}}"#,
        of.address
    );
    serve_in(dir, MemoryBlobs::default(), &settings)
}

#[test]
fn what_is_asked_for_comes_and_stays() {
    let far = upstream();
    let layer = bytes(1, 700_000);
    let (digest, body) = far.as_user("me", "secret").push_image("team/app", "v1", &layer);
    let near = mirror(&far, "");
    let http = near.http();
    let blob = format!("/v2/far/team/app/blobs/{}", Digest::sha256(&layer));
    let size = http.head(&blob).expect(200);
    assert_eq!(size.header("content-length"), layer.len().to_string());
    assert!(near.blobs.list().unwrap().is_empty(), "asked for only");
    assert!(http.get("/v2/far/team/app/manifests/v1").expect(200).body == body);
    // Several who want the same wait for one.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(near.http().get(&blob).expect(200).body == layer));
        }
    });
    let metrics = http.get("/metrics").text();
    assert!(metrics.contains("wharf_registry_mirrored_total 2\n"), "{metrics}");
    let part = http.send("GET", &blob, &[("Range", "bytes=5-9")], b"").expect(206);
    assert!(part.body == layer[5..10]);
    http.get(&format!("/v2/far/team/app/manifests/{digest}")).expect(200);
    http.get("/v2/far/team/app/manifests/none").expect_code(404, "MANIFEST_UNKNOWN");
    http.get(&format!("/v2/far/team/app/blobs/{}", Digest::sha256(b"none"))).expect_code(404, "BLOB_UNKNOWN");
    http.get("/v2/near/app/manifests/v1").expect(404);
    http.send("POST", "/v2/far/team/app/blobs/uploads/", &[], b"").expect_code(403, "DENIED");
    assert!(http.get("/v2/_catalog").text().contains("far/team/app"));
    // What is mirrored is not garbage, and is there when the other registry is not.
    assert!(near.control.collect(false).unwrap().blobs.is_empty());
    drop(far);
    http.get("/v2/far/team/app/manifests/v1").expect(200);
    assert!(http.get(&blob).expect(200).body == layer);
    let refused = http.get("/v2/far/team/other/manifests/v1").expect(502);
    assert_eq!(refused.code(), "UNKNOWN");
}

#[test]
fn tags_that_move_are_noticed() {
    let far = upstream();
    let pusher = far.as_user("me", "secret");
    let (first, body) = pusher.push_image("app", "v1", b"one");
    let near = mirror(&far, r#", "refresh": "0s""#);
    let digest = |served: &Served| {
        served.http().get("/v2/far/app/manifests/v1").expect(200).header("docker-content-digest").to_owned()
    };
    assert_eq!(digest(&near), first.as_str());
    let (second, _) = pusher.push_image("app", "v1", b"two");
    assert_eq!(digest(&near), second.as_str());
    // By the clock, too: nobody asks, and it is renewed.
    let clock = mirror(&far, r#", "every": "1s", "refresh": "1d""#);
    assert_eq!(digest(&clock), second.as_str());
    pusher.put_manifest("app", "v1", OCI_MANIFEST, &body).expect(201);
    eventually("the clock's round", || digest(&clock) == first.as_str());
    let config = pusher.push_blob("app", b"{}");
    let odd = image(&config, 2, &[(&Digest::sha256(b"one"), 3)], r#","artifactType":"application/x""#);
    pusher.put_manifest("app", "odd", OCI_MANIFEST, &odd).expect(201);
    assert!(near.http().get("/v2/far/app/manifests/odd").expect(200).body == odd);
    // All of a registry, without a prefix.
    let all = serve(&format!(r#"{{"mirrors": [{{"upstream": "{}"}}]}}"#, near.address));
    assert!(all.http().get("/v2/far/app/manifests/odd").expect(200).body == odd, "a mirror of a mirror");
}

#[test]
fn what_is_pushed_is_copied_also_after_a_while() {
    let far = upstream();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("password"), "secret").unwrap();
    let settings = format!(
        r#"{{"replicas": [{{"repositories": ["team/*"], "registry": "{}", "prefix": "copy", "user": "me", "password-file": "DIR/password"}},
                          {{"repositories": ["*"], "registry": "127.0.0.1:1"}}]}}"#,
        far.address
    );
    let near = serve_in(Arc::clone(&dir), MemoryBlobs::default(), &settings);
    let (http, there) = (near.http(), far.as_user("me", "secret"));
    let layer = bytes(1, 300_000);
    let (digest, body) = http.push_image("team/app", "v1", &layer);
    let multi = common::index(&[(&digest, body.len())], "");
    http.put_manifest("team/app", "multi", common::OCI_INDEX, &multi).expect(201);
    http.push_image("other/app", "v1", b"not theirs");
    eventually("the copy", || there.get("/v2/copy/team/app/manifests/multi").status == 200);
    assert!(there.get("/v2/copy/team/app/manifests/v1").expect(200).body == body);
    assert!(
        there.get(&format!("/v2/copy/team/app/blobs/{}", Digest::sha256(&layer))).expect(200).body == layer
    );
    there.get("/v2/copy/other/app/manifests/v1").expect(404);
    // The other replica cannot be reached: what is for it waits, also over a restart, and holds up nobody.
    let waiting = |near: &Served| std::fs::read_dir(near.path("registry/replication")).unwrap().count();
    eventually("the first is through", || waiting(&near) == 3);
    let blobs = near.blobs.clone();
    drop(near);
    let near = serve_in(dir, blobs, &settings);
    near.http().push_image("team/app", "v2", b"second");
    eventually("the copy after the restart", || there.get("/v2/copy/team/app/manifests/v2").status == 200);
    eventually("its note is gone", || waiting(&near) == 4);
}

#[test]
fn what_is_deleted_goes_there_where_that_is_wanted() {
    let (far, keeping) = (serve("{}"), serve("{}"));
    let settings = format!(
        r#"{{"gc": {{"untagged": "0s"}}, "replicas": [{{"repositories": ["*"], "registry": "{}", "deletes": true}},
            {{"repositories": ["*"], "registry": "{}"}}],
            "retention": [{{"repositories": ["*"], "tags": ["build-*"], "keep": ["none"]}}]}}"#,
        far.address, keeping.address
    );
    let near = serve(&settings);
    let (http, there) = (near.http(), far.http());
    for tag in ["v1", "v2", "build-1"] {
        http.push_image("app", tag, tag.as_bytes());
    }
    let (digest, _) = http.push_image("app", "v3", b"by its digest");
    let status = |tag: &str| there.get(&format!("/v2/app/manifests/{tag}")).status;
    eventually("the copies", || ["v1", "v2", "v3", "build-1"].iter().all(|tag| status(tag) == 200));
    http.delete("/v2/app/manifests/v1").expect(202);
    http.delete(&format!("/v2/app/manifests/{digest}")).expect(202);
    near.control.collect(false).unwrap();
    eventually("they go", || ["v1", "v3", "build-1"].iter().all(|tag| status(tag) == 404));
    assert_eq!(status("v2"), 200);
    let waiting = || std::fs::read_dir(near.path("registry/replication")).unwrap().count();
    eventually("nothing waits", || waiting() == 0);
    keeping.http().get("/v2/app/manifests/v1").expect(200);
}

/// The signature is fetched with its image, from the other registry.
#[test]
fn what_is_mirrored_has_to_be_signed_where_that_is_wanted() {
    use wharf_signing::{format, key};
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let pair = key::generate(b"").unwrap();
    std::fs::write(dir.path().join("key.pub"), &pair.public).unwrap();
    let far = serve("{}");
    let settings = format!(
        r#"{{"mirrors": [{{"prefix": "far", "upstream": "{}", "refresh": "0s"}}], "signatures": [
            {{"repositories": ["far/team/*"], "keys": ["DIR/key.pub"], "same-repository": true}}]}}"#,
        far.address
    );
    let near = serve_in(dir, MemoryBlobs::default(), &settings);
    let http = far.http();
    let (digest, _) = http.push_image("team/app", "v1", b"layer");
    http.push_image("open/app", "v1", b"layer");
    near.http().get("/v2/far/open/app/manifests/v1").expect(200);
    let refused = near.http().get("/v2/far/team/app/manifests/v1").expect_code(403, "DENIED");
    assert!(refused.text().contains("no signatures found"), "{}", refused.text());
    let private = key::PrivateKey::from_pem(&pair.private, || Ok(Vec::new())).unwrap();
    // For another repository, for what it is called here, and for what it is called where it comes from.
    for (name, status) in
        [("r.example/other", 403), ("r.example/far/team/app", 403), ("r.example/team/app", 200)]
    {
        let signed = format::sign(&private, name, &digest, &Default::default()).unwrap();
        let (manifest, config) = format::manifest_with(None, &signed, None);
        http.push_blob("team/app", &signed.payload);
        http.push_blob("team/app", &config);
        let manifest = serde_json::to_vec(&manifest).unwrap();
        http.put_manifest("team/app", &format::tag_of(&digest), OCI_MANIFEST, &manifest).expect(201);
        near.http().get("/v2/far/team/app/manifests/v1").expect(status);
    }
}

/// A registry with one blob, of which it sends half, and the rest when it is told to.
struct Slow {
    address: String,
    go_on: std::sync::mpsc::Sender<Vec<u8>>,
    gets: Arc<std::sync::atomic::AtomicUsize>,
}

fn slow(size: usize, half: Vec<u8>) -> Slow {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (go_on, told) = std::sync::mpsc::channel::<Vec<u8>>();
    let gets = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&gets);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    break;
                }
            }
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n");
            // What the client has heard enough of is no failure here.
            let _ = stream.write_all(answer.as_bytes());
            if head.starts_with("GET") && head.contains("/blobs/") {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let _ = stream.write_all(&half);
                let Ok(rest) = told.recv() else { return };
                let _ = stream.write_all(&rest);
            }
        }
    });
    Slow { address, go_on, gets }
}

/// Asks for a blob and reads so much of the answer's body.
fn begin(near: &Served, digest: &Digest, count: usize) -> (std::net::TcpStream, Vec<u8>) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(&near.address).unwrap();
    let head = format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        got.push(byte[0]);
    }
    assert!(got.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&got));
    let mut body = vec![0; count];
    stream.read_exact(&mut body).unwrap();
    (stream, body)
}

#[test]
fn a_blob_is_given_out_while_it_comes_and_whole_only_when_it_is_good() {
    use std::io::Read;
    let content = bytes(7, 1_000_000);
    let digest = Digest::sha256(&content);
    for good in [false, true] {
        let far = slow(content.len(), content[..500_000].to_vec());
        let near = serve(&format!(r#"{{"mirrors": [{{"upstream": "{}"}}]}}"#, far.address));
        // Two who want it get what is there, of one fetch, before the rest has come.
        let mut clients: Vec<_> = (0..2).map(|_| begin(&near, &digest, 300_000)).collect();
        let mut rest = content[500_000..].to_vec();
        if !good {
            rest[499_999] ^= 1;
        }
        far.go_on.send(rest).unwrap();
        for (stream, body) in &mut clients {
            // One that is broken off may end with a reset.
            let _ = stream.read_to_end(body);
            assert!(content.starts_with(body) || !good);
            assert_eq!(body.len() == content.len(), good, "{} bytes", body.len());
        }
        assert_eq!(far.gets.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(near.blobs.size(&digest).unwrap().is_some(), good);
    }
}
