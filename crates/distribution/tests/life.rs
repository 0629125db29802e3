//! A registry's life: collection, retention, immutable tags, quotas, restarts, many clients, pages.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Http, OCI_MANIFEST, Served, bytes, eventually, files_below, image, serve, serve_in};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use wharf_distribution::server::{Collected, Registry, Settings, collect};
use wharf_model::blobs::Blobs;
use wharf_oci::digest::Digest;

fn gc(registry: &Served) -> Collected {
    registry.control.collect(false).unwrap()
}

fn settings(registry: &Served, text: &str) {
    registry.control.apply(Settings::parse(text).unwrap()).unwrap();
}

/// Makes every entry of a repository old.
fn age(registry: &Served, hours: u64) {
    for path in files_below(&registry.path("registry/repositories")) {
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
    }
}

#[test]
fn what_nothing_names_is_collected() {
    let registry = serve("{}");
    let http = registry.http();
    let (digest, _) = http.push_image("a", "v1", b"kept");
    let lost = http.push_blob("a", b"never named");
    let deleted = http.push_blob("b", b"deleted");
    http.delete(&format!("/v2/b/blobs/{deleted}")).expect(202);
    assert_eq!(
        registry.control.collect(true).unwrap().blobs,
        std::slice::from_ref(&deleted),
        "what is young may be part of a push"
    );
    assert_eq!(registry.blobs.size(&deleted).unwrap(), Some(7), "nothing was done");
    assert_eq!(gc(&registry).blobs, [deleted]);
    age(&registry, 2);
    // Somebody asks for it, and so counts on it.
    http.head(&format!("/v2/a/blobs/{lost}")).expect(200);
    assert!(gc(&registry).blobs.is_empty());
    age(&registry, 2);
    let collected = gc(&registry);
    assert_eq!((collected.blobs, collected.unlinked), (vec![lost.clone()], 1));
    http.get(&format!("/v2/a/blobs/{lost}")).expect(404);
    http.get("/v2/a/manifests/v1").expect(200);
    http.get(&format!("/v2/a/blobs/{}", Digest::sha256(b"kept"))).expect(200);
    // An image that is gone takes its blobs with it.
    http.delete(&format!("/v2/a/manifests/{digest}")).expect(202);
    age(&registry, 2);
    gc(&registry);
    assert!(registry.blobs.list().unwrap().is_empty());
    assert!(files_below(&registry.path("registry/repositories")).is_empty());
    assert!(!registry.path("registry/repositories/a").exists());
}

#[test]
fn one_unreadable_manifest_stops_its_own_repository_only() {
    let registry = serve(r#"{"gc": {"untagged": "1h"}}"#);
    let http = registry.http();
    let (broken, _) = http.push_image("a", "v1", b"layer of what cannot be read");
    let (untagged, _) = http.push_image("a", "v2", b"untagged");
    let lost = http.push_blob("a", b"perhaps named by it");
    http.delete("/v2/a/manifests/v2").expect(202);
    let garbage = http.push_blob("b", b"garbage");
    registry.blobs.remove(&broken).unwrap();
    age(&registry, 2);
    let collected = gc(&registry);
    assert_eq!(collected.blobs, [garbage]);
    let (name, why) = &collected.unreadable[0];
    assert!(*name == format!("a@{broken}") && why.contains("no blob"), "{name}: {why}");
    http.get(&format!("/v2/a/blobs/{lost}")).expect(200);
    http.get(&format!("/v2/a/manifests/{untagged}")).expect(200);
    let unreadable = |http: &Http| {
        let metrics = http.get("/metrics").text();
        metrics.lines().find(|l| l.starts_with("wharf_registry_unreadable_manifests ")).unwrap().to_owned()
    };
    assert!(unreadable(&http).ends_with(" 1"));
    // Deleted by its digest, it is in nobody's way any more.
    http.delete(&format!("/v2/a/manifests/{broken}")).expect(202);
    age(&registry, 2);
    assert!(gc(&registry).blobs.contains(&lost));
    assert!(unreadable(&http).ends_with(" 0"));
}

#[test]
fn manifests_without_tags_and_what_hangs_on_others() {
    let registry = serve(r#"{"gc": {"untagged": "1h"}}"#);
    let http = registry.http();
    let (old, _) = http.push_image("a", "v1", b"old");
    let (new, body) = http.push_image("a", "v1", b"new");
    let config = Digest::sha256(b"{}");
    let (child, child_body) = http.push_image("a", "tmp", b"child");
    let index = common::index(&[(&child, child_body.len())], "");
    http.put_manifest("a", "multi", common::OCI_INDEX, &index).expect(201);
    http.delete("/v2/a/manifests/tmp").expect(202);
    let about = |subject: &Digest, n: u32| {
        let more = format!(
            r#","annotations":{{"n":"{n}"}},"subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{subject}","size":{}}}"#,
            body.len()
        );
        let body = image(&config, 2, &[], &more);
        let digest = Digest::sha256(&body);
        http.put_manifest("a", digest.as_str(), OCI_MANIFEST, &body).expect(201);
        digest
    };
    let (kept_note, lost_note) = (about(&new, 1), about(&old, 2));
    assert!(gc(&registry).manifests.is_empty(), "they are young");
    age(&registry, 2);
    let mut gone = gc(&registry).manifests;
    gone.sort();
    let mut expected = vec![format!("a@{old}"), format!("a@{lost_note}")];
    expected.sort();
    assert_eq!(gone, expected);
    for digest in [&new, &child, &kept_note] {
        http.get(&format!("/v2/a/manifests/{digest}")).expect(200);
    }
    assert_eq!(http.get(&format!("/v2/a/referrers/{old}")).json()["manifests"], serde_json::json!([]));
    http.get(&format!("/v2/a/blobs/{}", Digest::sha256(b"old"))).expect(404);
}

#[test]
fn signatures_stay_as_long_as_their_image() {
    let registry =
        serve(r#"{"gc": {"untagged": "1h"}, "retention": [{"repositories": ["*"], "keep-last": 1}]}"#);
    let http = registry.http();
    let (old, _) = http.push_image("a", "v1", b"old");
    let tag = |digest: &Digest| format!("sha256-{}.sig", digest.hex());
    http.push_image("a", &tag(&old), b"a signature");
    age(&registry, 2);
    let (new, _) = http.push_image("a", "v2", b"new");
    http.push_image("a", &tag(&new), b"another");
    let gone = gc(&registry);
    assert_eq!((gone.tags, gone.manifests), (vec!["a:v1".to_owned()], vec![format!("a@{old}")]));
    http.get(&format!("/v2/a/manifests/{}", tag(&new))).expect(200);
    age(&registry, 2);
    assert_eq!(gc(&registry).tags, [format!("a:{}", tag(&old))]);
    http.get(&format!("/v2/a/manifests/{}", tag(&new))).expect(200);
    http.get("/v2/a/manifests/v2").expect(200);
}

#[test]
fn retention_and_immutable_tags() {
    let registry = serve("{}");
    let http = registry.http();
    for (n, tag) in ["build-1", "build-2", "build-3", "v1"].iter().enumerate() {
        http.push_image("a", tag, &bytes(u32::try_from(n).unwrap(), 50));
        age(&registry, 1);
        // Each later than the one before.
        let path = registry.path(&format!("registry/repositories/a/_tags/{tag}"));
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(9000 - 100 * n as u64)).unwrap();
        for (m, earlier) in ["build-1", "build-2", "build-3"].iter().enumerate().take(n) {
            let path = registry.path(&format!("registry/repositories/a/_tags/{earlier}"));
            let file = std::fs::File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(9000 - 100 * m as u64)).unwrap();
        }
    }
    settings(
        &registry,
        r#"{"immutable": [{"repositories": ["a"], "tags": ["v*"]}],
            "retention": [{"repositories": ["*"], "keep-last": 1}], "gc": {"untagged": "1m"}}"#,
    );
    let other = http.push_blob("a", b"{}");
    let body = image(&other, 2, &[], r#","artifactType":"application/x""#);
    let refused = http.put_manifest("a", "v1", OCI_MANIFEST, &body).expect_code(403, "DENIED");
    assert!(refused.text().contains("immutable"));
    http.delete("/v2/a/manifests/v1").expect_code(403, "DENIED");
    let held = http.head("/v2/a/manifests/v1").header("docker-content-digest").to_owned();
    http.delete(&format!("/v2/a/manifests/{held}")).expect_code(403, "DENIED");
    http.put_manifest("a", "v2", OCI_MANIFEST, &body).expect(201);
    http.put_manifest("a", "v2", OCI_MANIFEST, &body).expect(201);
    let tags = gc(&registry).tags;
    assert_eq!(tags, ["a:build-3", "a:build-2", "a:build-1"], "the immutable ones stay, and the newest");
    assert_eq!(http.get("/v2/a/tags/list").json()["tags"], serde_json::json!(["v1", "v2"]));
}

#[test]
fn quotas() {
    let registry = serve(r#"{"quotas": [{"repositories": ["small/*"], "bytes": "10KB"}]}"#);
    let http = registry.http();
    let push = |repository: &str, content: &[u8]| {
        let digest = Digest::sha256(content);
        http.send("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], content)
    };
    push("small/a", &bytes(1, 6000)).expect(201);
    let refused = push("small/a", &bytes(2, 6000)).expect_code(403, "DENIED");
    assert!(refused.text().contains("quota"), "{}", refused.text());
    push("small/b", &bytes(2, 6000)).expect(201);
    push("large", &bytes(3, 60_000)).expect(201);
    // What is there already costs nothing more; what is mounted costs as much as what is pushed.
    push("small/a", &bytes(1, 6000)).expect(201);
    let mounted = Digest::sha256(&bytes(3, 60_000));
    http.send("POST", &format!("/v2/small/a/blobs/uploads/?mount={mounted}&from=large"), &[], b"")
        .expect_code(403, "DENIED");
    // In chunks, and without a length.
    let location = http.begin("small/a");
    http.send("PATCH", &location, &[], &bytes(4, 3000)).expect(202);
    http.send("PATCH", &location, &[], &bytes(5, 3000)).expect_code(403, "DENIED");
    http.get(&location).expect(404);
    let location = http.begin("small/a");
    let chunk = [b"1770\r\n", &bytes(6, 6000)[..], b"\r\n0\r\n\r\n"].concat();
    http.send("PATCH", &location, &[("Transfer-Encoding", "chunked")], &chunk).expect_code(403, "DENIED");
    http.delete(&format!("/v2/small/a/blobs/{}", Digest::sha256(&bytes(1, 6000)))).expect(202);
    push("small/a", &bytes(2, 6000)).expect(201);
    let config = http.push_blob("small/a", b"{}");
    let large = image(&config, 2, &[], &format!(r#","annotations":{{"a":"{}"}}"#, "x".repeat(5000)));
    http.put_manifest("small/a", "v1", OCI_MANIFEST, &large).expect_code(403, "DENIED");
    http.put_manifest("small/a", "v1", OCI_MANIFEST, &image(&config, 2, &[], "")).expect(201);
}

#[test]
fn one_root_one_server() {
    let registry = serve("{}");
    registry.http().push_image("a", "v1", b"layer");
    let again = || Registry {
        root: registry.path("registry"),
        blobs: Arc::new(registry.blobs.clone()),
        settings: Settings::default(),
    };
    let error = collect(again(), false).unwrap_err();
    assert!(
        error.kind() == wharf_model::ErrorKind::Conflict && error.full().contains("in use"),
        "{}",
        error.full()
    );
    let (dir, blobs) = (Arc::clone(&registry.dir), registry.blobs.clone());
    drop(registry);
    let root = dir.path().join("registry");
    collect(Registry { root, blobs: Arc::new(blobs.clone()), settings: Settings::default() }, false).unwrap();
    let registry = serve_in(dir, blobs, "{}");
    registry.http().get("/v2/a/manifests/v1").expect(200);
}

/// A client that goes away in the middle of a chunk: what arrived stays, and it goes on from there.
#[test]
fn a_broken_upload_goes_on() {
    let registry = serve("{}");
    let http = registry.http();
    let content = bytes(1, 300_000);
    let location = http.begin("a");
    let mut stream = TcpStream::connect(&registry.address).unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&content[..200_000]).unwrap();
    drop(stream);
    let offset = || {
        let answer = http.get(&location).expect(204);
        answer.header("range").strip_prefix("0-").unwrap().parse::<usize>().unwrap()
    };
    eventually("what was sent arrived", || offset() > 0);
    let (dir, blobs) = (Arc::clone(&registry.dir), registry.blobs.clone());
    let there = offset() + 1;
    drop(registry);
    let registry = serve_in(dir, blobs, "{}");
    let http = registry.http();
    let digest = Digest::sha256(&content);
    let range = format!("{there}-{}", content.len() - 1);
    let target = format!("{location}?digest={digest}");
    http.send("PUT", &target, &[("Content-Range", &range)], &content[there..]).expect(201);
    assert!(http.get(&format!("/v2/a/blobs/{digest}")).expect(200).body == content);
}

/// 64 clients push and pull, others delete and collect; whatever was acknowledged is there.
#[test]
fn many_clients_lose_nothing() {
    let registry = serve(r#"{"gc": {"untagged": "1h"}}"#);
    let shared = bytes(99, 40_000);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                gc(&registry);
                rounds += 1;
            }
            rounds
        });
        let clients: Vec<_> = (0..64u32)
            .map(|n| {
                let (http, shared) = (registry.http(), &shared);
                scope.spawn(move || client(&http, n, shared))
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0);
    });
    let http = registry.http();
    for n in 0..8 {
        let tags =
            http.get(&format!("/v2/team/{n}/tags/list")).expect(200).json()["tags"].as_array().unwrap().len();
        assert_eq!(tags, 8 * 3, "repository {n}");
    }
    gc(&registry);
    for n in 0..64 {
        check(&http, n, 2, &shared);
    }
}

fn client(http: &Http, n: u32, shared: &[u8]) {
    let repository = format!("team/{}", n % 8);
    for round in 0..3 {
        let config = http.push_blob(&repository, b"{}");
        let own = bytes(n * 10 + round, 20_000);
        let blob = http.push_blob(&repository, &own);
        // Pushed, deleted and pushed again by all of them at once.
        let common = http.push_blob(&format!("own/{n}"), shared);
        if n.is_multiple_of(3) {
            http.delete(&format!("/v2/own/{n}/blobs/{common}"));
            http.push_blob(&format!("own/{n}"), shared);
        }
        let body = image(&config, 2, &[(&blob, own.len())], "");
        http.put_manifest(&repository, &format!("c{n}-{round}"), OCI_MANIFEST, &body).expect(201);
        check(http, n, round, shared);
    }
}

#[track_caller]
fn check(http: &Http, n: u32, round: u32, shared: &[u8]) {
    let repository = format!("team/{}", n % 8);
    let own = bytes(n * 10 + round, 20_000);
    let manifest = http.get(&format!("/v2/{repository}/manifests/c{n}-{round}")).expect(200);
    assert!(manifest.text().contains(Digest::sha256(&own).as_str()));
    assert!(http.get(&format!("/v2/{repository}/blobs/{}", Digest::sha256(&own))).expect(200).body == own);
    assert_eq!(http.get(&format!("/v2/own/{n}/blobs/{}", Digest::sha256(shared))).expect(200).body, shared);
}

#[test]
fn health_metrics_and_pages() {
    let registry = serve("{}");
    let http = registry.http();
    assert_eq!(http.get("/healthz").expect(200).text(), "ok\n");
    http.get("/ready").expect(200);
    let (digest, _) = http.push_image("team/app", "v1", &bytes(1, 2000));
    http.get("/v2/team/app/manifests/v1").expect(200);
    http.get("/v2/team/app/manifests/v1").expect(200);
    gc(&registry);
    let text = http.get("/metrics").expect(200).text();
    let value = |name: &str| {
        let line = text
            .lines()
            .find(|l| l.starts_with(&format!("wharf_registry_{name} ")))
            .unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("received_bytes_total") >= 2002.0 && value("cache_hits_total") >= 1.0);
    assert_eq!((value("uploads_finished_total"), value("collections_total")), (2.0, 1.0));
    assert!(value("stored_bytes") > 2000.0 && value("stored_blobs") == 3.0);
    let front = http.get("/").expect(200);
    assert!(front.header("content-type").starts_with("text/html"));
    assert!(front.text().contains("<a href=\"/ui/team/app\">team/app</a>"), "{}", front.text());
    let tags = http.get("/ui/team/app").expect(200).text();
    assert!(tags.contains("?tag=v1") && tags.contains(digest.as_str()) && tags.contains("2.0 kB"), "{tags}");
    let image = http.get("/ui/team/app?tag=v1").expect(200).text();
    assert!(image.contains(Digest::sha256(&bytes(1, 2000)).as_str()), "{image}");
    assert!(http.get(&format!("/ui/team/app?tag={digest}")).expect(200).text().contains("2.0 kB"));
    // What a stranger wrote is text.
    let config = http.push_blob("x", b"{}");
    let evil = String::from_utf8(common::image(&config, 2, &[], "")).unwrap();
    let evil = evil.replacen("application/vnd.oci.image.config.v1+json", "<script>alert(1)</script>", 1);
    http.put_manifest("x", "evil", OCI_MANIFEST, evil.as_bytes()).expect(201);
    let page = http.get("/ui/x?tag=evil").expect(200).text();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    for absent in ["/ui/none", "/ui/x?tag=none", "/ui/x?tag=%3Cb%3E", "/ui/../etc"] {
        http.get(absent).expect(404);
    }
    http.get("/elsewhere").expect(404);
}

/// Files pass the connection in parts, answers one after another on one connection.
#[test]
fn blobs_of_every_size_on_one_connection() {
    let registry = serve("{}");
    let http = registry.http();
    let sizes = [1, 70_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_500_000];
    let contents: Vec<Vec<u8>> = (1..).zip(sizes).map(|(seed, size)| bytes(seed, size)).collect();
    let digests: Vec<Digest> = contents.iter().map(|c| http.push_blob("a", c)).collect();
    let mut stream = TcpStream::connect(&registry.address).unwrap();
    // All asked for at once.
    for digest in &digests {
        let head = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
    }
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut all).unwrap();
    let mut rest = &all[..];
    for content in contents {
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert!(rest.starts_with(b"HTTP/1.1 200"));
        assert!(rest[end..].starts_with(&content), "{} bytes", content.len());
        rest = &rest[end + content.len()..];
    }
    assert!(rest.starts_with(b"HTTP/1.1 200") && rest.ends_with(b"ok\n"));
    // A client that goes away in the middle of one harms nobody.
    let mut stream = TcpStream::connect(&registry.address).unwrap();
    stream
        .write_all(format!("GET /v2/a/blobs/{} HTTP/1.1\r\nHost: x\r\n\r\n", digests[5]).as_bytes())
        .unwrap();
    std::io::Read::read_exact(&mut stream, &mut [0; 1000]).unwrap();
    drop(stream);
    http.get(&format!("/v2/a/blobs/{}", digests[5])).expect(200);
}
