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
