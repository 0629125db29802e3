//! The requirements of the OCI distribution specification 1.1, request by request: what its conformance suite asks, in
//! all its categories, with SHA-256 and with SHA-512.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Http, OCI_INDEX, OCI_MANIFEST, bytes, image, index, serve};
use wharf_model::blobs::Blobs;
use wharf_oci::digest::Digest;

const REPO: &str = "conformance/repo1";
const OTHER: &str = "conformance/repo2";

type Hash = fn(&[u8]) -> Digest;
const HASHES: [Hash; 2] = [Digest::sha256, Digest::sha512];

/// A path with a parameter more.
fn with(location: &str, parameter: &str) -> String {
    format!("{location}{}{parameter}", if location.contains('?') { '&' } else { '?' })
}

/// What every way of pushing a blob ends in: `201`, the digest, and a location that has the content.
#[track_caller]
fn is_created(http: &Http, answer: Answer, digest: &Digest, content: &[u8]) {
    let answer = answer.expect(201);
    assert_eq!(answer.header("docker-content-digest"), digest.as_str());
    let got = http.get(answer.header("location")).expect(200);
    assert!(got.body == content);
    has_blob(http, REPO, digest, content);
}

#[track_caller]
fn has_blob(http: &Http, repository: &str, digest: &Digest, content: &[u8]) {
    let target = format!("/v2/{repository}/blobs/{digest}");
    for method in ["GET", "HEAD"] {
        let answer = http.send(method, &target, &[], b"").expect(200);
        assert_eq!(answer.header("docker-content-digest"), digest.as_str());
        assert_eq!(answer.header("content-length"), content.len().to_string());
        assert!(answer.body == if method == "GET" { content } else { b"" });
    }
}

#[track_caller]
fn delete_blob(http: &Http, repository: &str, digest: &Digest) {
    let target = format!("/v2/{repository}/blobs/{digest}");
    http.delete(&target).expect(202);
    http.head(&target).expect(404);
    http.get(&target).expect_code(404, "BLOB_UNKNOWN");
    http.delete(&target).expect_code(404, "BLOB_UNKNOWN");
}

/// In three chunks, perhaps with one out of order before each, perhaps the last with the closing PUT.
fn push_chunked(http: &Http, digest: &Digest, content: &[u8], put_last: bool, disorder: bool) -> Answer {
    let mut location = http.begin(REPO);
    let size = content.len() / 3 + 1;
    let mut start = 0;
    while start < content.len() {
        if disorder {
            let wrong = if start + size < content.len() { start + size } else { 0 };
            let end = (wrong + size).min(content.len());
            let put = put_last && end == content.len();
            let (method, target) = if put {
                ("PUT", with(&location, &format!("digest={digest}")))
            } else {
                ("PATCH", location.clone())
            };
            let range = format!("{wrong}-{}", end - 1);
            let refused =
                http.send(method, &target, &[("Content-Range", &range)], &content[wrong..end]).expect(416);
            assert!(!refused.header("location").is_empty());
            let there = http.get(&location).expect(204);
            assert_eq!(there.header("range"), format!("0-{}", start.saturating_sub(1)));
            location = there.header("location").to_owned();
        }
        let end = (start + size).min(content.len());
        let range = format!("{start}-{}", end - 1);
        let headers = [("Content-Range", &range[..]), ("Content-Type", "application/octet-stream")];
        if put_last && end == content.len() {
            return http.send(
                "PUT",
                &with(&location, &format!("digest={digest}")),
                &headers,
                &content[start..end],
            );
        }
        let answer = http.send("PATCH", &location, &headers, &content[start..end]).expect(202);
        assert_eq!(answer.header("range"), format!("0-{}", end - 1));
        location = answer.header("location").to_owned();
        start = end;
    }
    http.send("PUT", &with(&location, &format!("digest={digest}")), &[], b"")
}

fn push_streamed(http: &Http, digest: &Digest, content: &[u8]) -> Answer {
    let location = http.begin(REPO);
    let mut chunked = Vec::new();
    if !content.is_empty() {
        chunked.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
        chunked.extend_from_slice(content);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let sent = http.send("PATCH", &location, &[("Transfer-Encoding", "chunked")], &chunked).expect(202);
    http.send("PUT", &with(sent.header("location"), &format!("digest={digest}")), &[], b"")
}

fn push_at_once(http: &Http, digest: &Digest, content: &[u8]) -> Answer {
    http.send("POST", &format!("/v2/{REPO}/blobs/uploads/?digest={digest}"), &[], content)
}

fn push_in_two(http: &Http, digest: &Digest, content: &[u8]) -> Answer {
    let location = http.begin(REPO);
    http.send("PUT", &with(&location, &format!("digest={digest}")), &[], content)
}

#[test]
fn the_base_and_an_empty_registry() {
    let registry = serve("{}");
    let http = registry.http();
    for path in ["/v2/", "/v2"] {
        let answer = http.get(path).expect(200);
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
    }
    http.get(&format!("/v2/{REPO}/tags/list")).expect_code(404, "NAME_UNKNOWN");
    let list = http.get(&format!("/v2/{REPO}/referrers/{}", Digest::sha256(b"none"))).expect(200);
    assert_eq!(list.header("content-type"), OCI_INDEX);
    assert_eq!(list.json(), serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));
    assert_eq!(http.get("/v2/_catalog").expect(200).json()["repositories"], serde_json::json!([]));
}

#[test]
fn every_way_to_push_a_blob() {
    let registry = serve("{}");
    let http = registry.http();
    for (round, hash) in HASHES.into_iter().enumerate() {
        let seed = |n: u32| n + 100 * u32::try_from(round).unwrap();
        let mut contents: Vec<Vec<u8>> = (0..3).map(|n| bytes(seed(n), 512)).collect();
        // Well-known contents, the empty one too.
        contents.push(b"{}".to_vec());
        contents.push(Vec::new());
        for content in &contents {
            let digest = hash(content);
            for push in [push_at_once, push_in_two, push_streamed] {
                is_created(&http, push(&http, &digest, content), &digest, content);
                delete_blob(&http, REPO, &digest);
            }
        }
        let content = bytes(seed(9), 3 * 1024 - 5);
        let digest = hash(&content);
        for (put_last, disorder) in [(false, false), (true, false), (false, true), (true, true)] {
            is_created(&http, push_chunked(&http, &digest, &content, put_last, disorder), &digest, &content);
            delete_blob(&http, REPO, &digest);
        }
    }
}

#[test]
fn a_digest_that_is_not_the_contents() {
    let registry = serve("{}");
    let http = registry.http();
    for hash in HASHES {
        let content = bytes(7, 3 * 1024);
        let wrong = hash(b"something else");
        for push in [push_at_once, push_in_two, push_streamed] {
            push(&http, &wrong, &content).expect_code(400, "DIGEST_INVALID");
        }
        for put_last in [false, true] {
            push_chunked(&http, &wrong, &content, put_last, false).expect_code(400, "DIGEST_INVALID");
        }
        http.head(&format!("/v2/{REPO}/blobs/{wrong}")).expect(404);
    }
    for bad in ["sha256:baddigeststring", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", "x"] {
        http.send("POST", &format!("/v2/{REPO}/blobs/uploads/?digest={bad}"), &[], b"x")
            .expect_code(400, "DIGEST_INVALID");
        http.get(&format!("/v2/{REPO}/blobs/{bad}")).expect_code(400, "DIGEST_INVALID");
        let location = http.begin(REPO);
        http.send("PUT", &with(&location, &format!("digest={bad}")), &[], b"x")
            .expect_code(400, "DIGEST_INVALID");
        http.send("PUT", &location, &[], b"x").expect_code(400, "DIGEST_INVALID");
    }
    assert!(registry.blobs.list().unwrap().is_empty(), "nothing wrong is kept");
}

#[test]
fn uploads_that_are_cancelled_unknown_or_wrong() {
    let registry = serve("{}");
    let http = registry.http();
    let location = http.begin(REPO);
    http.send("PATCH", &location, &[], b"abc").expect(202);
    http.delete(&location).expect(204);
    for method in ["GET", "PATCH", "PUT", "DELETE"] {
        let target = with(&location, &format!("digest={}", Digest::sha256(b"")));
        http.send(method, &target, &[], b"").expect_code(404, "BLOB_UPLOAD_UNKNOWN");
    }
    let location = http.begin(REPO);
    // Another repository's upload is none of this one's.
    http.get(&location.replace(REPO, OTHER)).expect_code(404, "BLOB_UPLOAD_UNKNOWN");
    // The first chunk begins at 0.
    http.send("PATCH", &location, &[("Content-Range", "1-3")], b"abc")
        .expect_code(416, "BLOB_UPLOAD_INVALID");
    for bad in ["x", "3", "5-1", "a-b"] {
        http.send("PATCH", &location, &[("Content-Range", bad)], b"abc").expect(416);
    }
    http.send("PATCH", &location, &[("Content-Range", "0-3")], b"abc").expect_code(400, "SIZE_INVALID");
    assert_eq!(http.get(&location).expect(204).header("range"), "0-0");
    http.send("PATCH", &location, &[("Content-Range", "bytes 0-2/*")], b"abc").expect(202);
    // The same chunk again.
    let again = http.send("PATCH", &location, &[("Content-Range", "0-2")], b"abc").expect(416);
    assert_eq!(again.header("range"), "0-2");
    let status = http.get(&location).expect(204);
    assert!(status.header("range") == "0-2" && !status.header("docker-upload-uuid").is_empty());
    http.send("DELETE", "/v2/a/blobs/uploads/", &[], b"").expect_code(405, "UNSUPPORTED");
}

#[test]
fn mounts() {
    let registry = serve("{}");
    let http = registry.http();
    for (round, hash) in HASHES.into_iter().enumerate() {
        let content = bytes(40 + u32::try_from(round).unwrap(), 700);
        let digest = hash(&content);
        let push = |repository: &str| {
            http.send("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], &content)
                .expect(201)
        };
        let mount = |from: &str| {
            http.send("POST", &format!("/v2/{REPO}/blobs/uploads/?mount={digest}{from}"), &[], b"")
        };
        // Of what is nowhere, an upload is begun.
        for from in ["&from=conformance%2Frepo2", "&from=conformance/repo2", "", "&from=../x"] {
            let answer = mount(from).expect(202);
            http.delete(answer.header("location")).expect(204);
        }
        push(OTHER);
        for from in ["&from=conformance%2Frepo2", ""] {
            let answer = mount(from).expect(201);
            assert!(answer.header("location").starts_with(&format!("/v2/{REPO}/blobs/")));
            is_created(&http, answer, &digest, &content);
            delete_blob(&http, REPO, &digest);
        }
        // Of another repository than the one that has it.
        mount("&from=conformance/repo3").expect(202);
        let answer = mount("&from=conformance/repo3").expect(202);
        let finished =
            http.send("PUT", &with(answer.header("location"), &format!("digest={digest}")), &[], &content);
        is_created(&http, finished, &digest, &content);
        delete_blob(&http, REPO, &digest);
        delete_blob(&http, OTHER, &digest);
        // What no repository has is not mounted, though the store may still have it.
        mount("").expect(202);
    }
    http.send("POST", &format!("/v2/{REPO}/blobs/uploads/?mount=sha256:x"), &[], b"")
        .expect_code(400, "DIGEST_INVALID");
}

#[test]
fn ranges_of_blobs() {
    let registry = serve("{}");
    let http = registry.http();
    for hash in HASHES {
        let content = bytes(3, 2048);
        let digest = hash(&content);
        push_at_once(&http, &digest, &content).expect(201);
        let target = format!("/v2/{REPO}/blobs/{digest}");
        let range = |range: &str| http.send("GET", &target, &[("Range", range)], b"");
        for (wanted, first, last) in [
            ("bytes=500-1499", 500, 1499),
            ("bytes=500-", 500, 2047),
            ("bytes=-500", 1548, 2047),
            ("bytes=2000-5000", 2000, 2047),
            ("bytes=0-0", 0, 0),
        ] {
            let answer = range(wanted).expect(206);
            assert!(answer.body == content[first..=last], "{wanted}");
            assert_eq!(answer.header("content-length"), (last - first + 1).to_string());
            assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/2048"));
        }
        for wanted in ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"] {
            let answer = range(wanted).expect_code(416, "SIZE_INVALID");
            assert_eq!(answer.header("content-range"), "bytes */2048");
        }
        for wanted in ["lines=1-2", "bytes=0-1,5-6", "bytes=x-y"] {
            assert!(range(wanted).expect(200).body == content, "{wanted}");
        }
        let known =
            http.send("GET", &target, &[("If-None-Match", &format!("\"{digest}\""))], b"").expect(304);
        assert!(known.body.is_empty());
    }
}

/// Pushes a manifest by digest and by tag, and reads it in every way.
#[track_caller]
fn manifest_round(http: &Http, media_type: &str, body: &[u8], digest: &Digest, tag: Option<&str>) {
    let mut references = vec![digest.as_str()];
    references.extend(tag);
    for reference in &references {
        let answer = http.put_manifest(REPO, reference, media_type, body).expect(201);
        assert_eq!(answer.header("docker-content-digest"), digest.as_str());
        assert!(http.get(answer.header("location")).expect(200).body == body);
    }
    for reference in references {
        let target = format!("/v2/{REPO}/manifests/{reference}");
        for method in ["GET", "HEAD"] {
            let headers = [("Accept", OCI_INDEX), ("Accept", OCI_MANIFEST)];
            let answer = http.send(method, &target, &headers, b"").expect(200);
            assert_eq!(answer.header("content-type"), media_type);
            assert_eq!(answer.header("content-length"), body.len().to_string());
            assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            assert!(answer.body == if method == "GET" { body } else { b"" });
        }
    }
}

#[track_caller]
fn delete_manifest(http: &Http, tag: Option<&str>, digest: &Digest) {
    for reference in tag.into_iter().chain([digest.as_str()]) {
        let target = format!("/v2/{REPO}/manifests/{reference}");
        http.delete(&target).expect(202);
        http.head(&target).expect(404);
        http.get(&target).expect_code(404, "MANIFEST_UNKNOWN");
    }
}

#[test]
fn manifests_of_every_kind() {
    let registry = serve("{}");
    let http = registry.http();
    for hash in HASHES {
        // A config and layers pushed under this hash.
        let contents = [b"{}".to_vec(), bytes(1, 300), bytes(2, 400)];
        let digests: Vec<Digest> = contents.iter().map(|c| hash(c)).collect();
        for (content, digest) in contents.iter().zip(&digests) {
            push_at_once(&http, digest, content).expect(201);
        }
        let layers = [(&digests[1], 300), (&digests[2], 400)];
        let annotations: Vec<String> =
            (0..390).map(|n| format!("\"large-annotation-{n}\":\"{}\"", "A".repeat(10_000))).collect();
        let data = base64_of(&contents[1]);
        let foreign = Digest::sha256(b"elsewhere");
        let images = [
            image(&digests[0], 2, &layers, ""),
            image(&digests[0], 2, &[], ""),
            image(&digests[0], 2, &layers, &format!(r#","annotations":{{{}}}"#, annotations.join(","))),
            image(&digests[0], 2, &layers, r#","artifactType":"application/vnd.example","org.example.unknown":{"a":[1]}"#),
            String::from_utf8(image(&digests[0], 2, &layers, ""))
                .unwrap()
                .replacen(r#""size":300"#, &format!(r#""size":300,"data":"{data}""#), 1)
                .into_bytes(),
            // Without its own media type.
            String::from_utf8(image(&digests[0], 2, &layers, ""))
                .unwrap()
                .replacen(&format!("\"mediaType\":\"{OCI_MANIFEST}\","), "", 1)
                .into_bytes(),
            // Layers that are not to be distributed need not be here.
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip","digest":"{foreign}","size":9,"urls":["https://example.com/x"]}},{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"{foreign}","size":9}}]}}"#,
                digests[0]
            )
            .into_bytes(),
        ];
        // Under a tag a manifest gets its SHA-256.
        let tagged = hash(b"").algorithm() == "sha256";
        for (n, body) in images.iter().enumerate() {
            let (digest, tag) = (hash(body), format!("image-{n}"));
            let tag = tagged.then_some(&tag[..]);
            manifest_round(&http, OCI_MANIFEST, body, &digest, tag);
            delete_manifest(&http, tag, &digest);
        }
        // Indexes: of images, of indexes, of nothing, of an artifact type, of what is not here.
        let child = hash(&images[0]);
        manifest_round(&http, OCI_MANIFEST, &images[0], &child, None);
        let inner = index(&[(&child, images[0].len())], "");
        manifest_round(&http, OCI_INDEX, &inner, &hash(&inner), None);
        for (n, body) in [
            index(&[(&hash(&inner), inner.len()), (&child, images[0].len())], ""),
            index(&[], ""),
            index(&[(&child, 9)], r#","artifactType":"application/vnd.example""#),
            index(&[(&foreign, 9)], ""),
        ]
        .iter()
        .enumerate()
        {
            let (digest, tag) = (hash(body), format!("index-{n}"));
            let tag = tagged.then_some(&tag[..]);
            manifest_round(&http, OCI_INDEX, body, &digest, tag);
            delete_manifest(&http, tag, &digest);
        }
        // The blobs can go though a manifest names them.
        for digest in &digests {
            delete_blob(&http, REPO, digest);
        }
    }
}

fn base64_of(content: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(content)
}

#[test]
fn tags_as_parameters_of_a_push_by_digest() {
    let registry = serve("{}");
    let http = registry.http();
    for hash in HASHES {
        push_at_once(&http, &hash(b"{}"), b"{}").expect(201);
        let body = image(&hash(b"{}"), 2, &[], "");
        let digest = hash(&body);
        let target = format!("{digest}?tag=one&tag=two");
        let answer = http.put_manifest(REPO, &target, OCI_MANIFEST, &body).expect(201);
        let mut set: Vec<&str> = answer.header("oci-tag").split(',').map(str::trim).collect();
        set.sort_unstable();
        assert_eq!(set, ["one", "two"]);
        for tag in ["one", "two"] {
            let got = http.get(&format!("/v2/{REPO}/manifests/{tag}")).expect(200);
            assert_eq!((got.header("docker-content-digest"), &got.body), (digest.as_str(), &body));
        }
        http.put_manifest(REPO, &format!("{digest}?tag=../x"), OCI_MANIFEST, &body)
            .expect_code(400, "TAG_INVALID");
        http.delete(&format!("/v2/{REPO}/manifests/{digest}")).expect(202);
        http.get(&format!("/v2/{REPO}/manifests/one")).expect(404);
    }
}

#[test]
fn manifests_that_are_refused() {
    let registry = serve("{}");
    let http = registry.http();
    let config = http.push_blob(REPO, b"{}");
    let good = image(&config, 2, &[], "");
    let digest = Digest::sha256(&good);
    let mut changed = good.clone();
    changed.extend_from_slice(b"  ");
    http.put_manifest(REPO, digest.as_str(), OCI_MANIFEST, &changed).expect_code(400, "DIGEST_INVALID");
    http.put_manifest(REPO, "sha256:baddigeststring", OCI_MANIFEST, &good).expect_code(400, "DIGEST_INVALID");
    http.get(&format!("/v2/{REPO}/manifests/sha256:baddigeststring")).expect_code(400, "DIGEST_INVALID");
    http.get(&format!("/v2/{REPO}/manifests/{digest}")).expect_code(404, "MANIFEST_UNKNOWN");
    http.get(&format!("/v2/{REPO}/manifests/missing")).expect_code(404, "MANIFEST_UNKNOWN");
    http.delete(&format!("/v2/{REPO}/manifests/{digest}")).expect_code(404, "MANIFEST_UNKNOWN");
    let absent = image(&config, 2, &[(&Digest::sha256(b"absent"), 6)], "");
    http.put_manifest(REPO, "v1", OCI_MANIFEST, &absent).expect_code(400, "MANIFEST_BLOB_UNKNOWN");
    // Another repository's blobs are not this one's.
    http.put_manifest(OTHER, "v1", OCI_MANIFEST, &good).expect_code(400, "MANIFEST_BLOB_UNKNOWN");
    http.put_manifest(REPO, "v1", OCI_MANIFEST, b"{}x").expect_code(400, "MANIFEST_INVALID");
    http.put_manifest(REPO, "v1", OCI_INDEX, &good).expect_code(400, "MANIFEST_INVALID");
    let schema1 = br#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[]}"#;
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/json",
    ] {
        let refused = http.put_manifest(REPO, "v1", media_type, schema1).expect_code(400, "MANIFEST_INVALID");
        assert!(refused.text().contains("schema 1"), "{}", refused.text());
    }
    let large = image(&config, 2, &[], &format!(r#","annotations":{{"a":"{}"}}"#, "x".repeat(4 << 20)));
    http.put_manifest(REPO, "v1", OCI_MANIFEST, &large).expect_code(413, "SIZE_INVALID");
    http.put_manifest(REPO, ".bad", OCI_MANIFEST, &good).expect(404);
    http.get("/v2/UPPER/tags/list").expect_code(404, "NAME_INVALID");
    http.put_manifest(REPO, "v1", OCI_MANIFEST, &good).expect(201);
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let text = String::from_utf8(good).unwrap().replacen(OCI_MANIFEST, docker, 1);
    http.put_manifest(REPO, "docker", docker, text.as_bytes()).expect(201);
    assert_eq!(http.get(&format!("/v2/{REPO}/manifests/docker")).header("content-type"), docker);
    let known =
        http.send("GET", &format!("/v2/{REPO}/manifests/v1"), &[("If-None-Match", &digest.to_string())], b"");
    known.expect(304);
    http.send("POST", &format!("/v2/{REPO}/manifests/v1"), &[], b"").expect_code(405, "UNSUPPORTED");
}

#[test]
fn tags_and_repositories_in_pages() {
    let registry = serve("{}");
    let http = registry.http();
    let config = http.push_blob(REPO, b"{}");
    let body = image(&config, 2, &[], "");
    for tag in ["test3", "test0", "TEST1", "test2"] {
        http.put_manifest(REPO, tag, OCI_MANIFEST, &body).expect(201);
    }
    let list = |query: &str| http.get(&format!("/v2/{REPO}/tags/list{query}"));
    let tags = |answer: &Answer| {
        answer.json()["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = list("").expect(200);
    assert_eq!(all.json()["name"], REPO);
    assert_eq!(tags(&all), ["TEST1", "test0", "test2", "test3"]);
    let mut page = list("?n=3").expect(200);
    assert_eq!(tags(&page), ["TEST1", "test0", "test2"]);
    let link = page.header("link").to_owned();
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    page = http.get(link.trim_start_matches('<').split('>').next().unwrap()).expect(200);
    assert_eq!((tags(&page), page.header("link")), (vec!["test3".to_owned()], ""));
    assert_eq!(tags(&list("?last=test0")), ["test2", "test3"]);
    assert_eq!(tags(&list("?n=1&last=test0")), ["test2"]);
    assert_eq!(tags(&list("?n=4")), tags(&all));
    assert!(tags(&list("?n=0").expect(200)).is_empty());
    list("?n=x").expect_code(400, "PAGINATION_NUMBER_INVALID");
    for repository in ["b", "a/c", "a-c", "a/b"] {
        http.push_blob(repository, b"{}");
        http.put_manifest(repository, "x", OCI_MANIFEST, &body).expect(201);
    }
    let (mut target, mut found) = (Some("/v2/_catalog?n=2".to_owned()), Vec::new());
    while let Some(path) = target.take() {
        let page = http.get(&path).expect(200);
        found.extend(
            page.json()["repositories"].as_array().unwrap().iter().map(|t| t.as_str().unwrap().to_owned()),
        );
        target = page.header("link").split_once('>').map(|(path, _)| path[1..].to_owned());
    }
    assert_eq!(found, ["a-c", "a/b", "a/c", "b", REPO]);
    // A repository without manifests leaves the catalog.
    http.delete("/v2/b/manifests/x").expect(202);
    http.delete(&format!("/v2/b/manifests/{}", Digest::sha256(&body))).expect(202);
    assert!(!http.get("/v2/_catalog").text().contains("\"b\""));
}

#[test]
fn referrers_by_subject_and_type() {
    let registry = serve("{}");
    let http = registry.http();
    for hash in HASHES {
        push_at_once(&http, &hash(b"{}"), b"{}").expect(201);
        let config = hash(b"{}");
        let body = image(&config, 2, &[], "");
        // One subject is here, one is not, one comes after those who are about it.
        for subject in [hash(&body), hash(b"missing content"), hash(b"later")] {
            let about = format!(
                r#","subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{subject}","size":{}}}"#,
                body.len()
            );
            let typed = |kind: &str| {
                format!(
                    r#","artifactType":"{kind}","annotations":{{"org.opencontainers.conformance":"hello {kind}"}}{about}"#
                )
            };
            let referrers = [
                (OCI_MANIFEST, image(&config, 2, &[], &about), "application/vnd.oci.image.config.v1+json"),
                (OCI_MANIFEST, image(&config, 2, &[], &typed("application/vnd.a")), "application/vnd.a"),
                (OCI_MANIFEST, image(&config, 2, &[], &typed("application/vnd.b+x")), "application/vnd.b+x"),
                (OCI_INDEX, index(&[], &typed("application/vnd.a")), "application/vnd.a"),
                (OCI_INDEX, index(&[], &about), ""),
            ];
            for (media_type, body, _) in &referrers {
                let answer = http.put_manifest(REPO, hash(body).as_str(), media_type, body).expect(201);
                assert_eq!(answer.header("oci-subject"), subject.as_str());
            }
            if subject == hash(&body) {
                http.put_manifest(REPO, subject.as_str(), OCI_MANIFEST, &body).expect(201);
            }
            let target = format!("/v2/{REPO}/referrers/{subject}");
            let list = http.get(&target).expect(200);
            assert_eq!((list.header("content-type"), list.header("oci-filters-applied")), (OCI_INDEX, ""));
            let listed = list.json()["manifests"].as_array().unwrap().clone();
            assert_eq!(listed.len(), referrers.len());
            for (media_type, body, kind) in &referrers {
                let found = listed.iter().find(|d| d["digest"] == hash(body).as_str()).unwrap();
                assert_eq!(
                    (found["mediaType"].as_str().unwrap(), found["size"].as_u64().unwrap()),
                    (*media_type, body.len() as u64)
                );
                assert_eq!(found["artifactType"].as_str().unwrap_or_default(), *kind);
                if kind.starts_with("application/vnd.a") {
                    assert_eq!(
                        found["annotations"]["org.opencontainers.conformance"],
                        "hello application/vnd.a"
                    );
                }
            }
            for (filter, count) in [
                ("application%2Fvnd.a", 2),
                ("application/vnd.b%2Bx", 1),
                ("application/vnd.oci.image.config.v1+json".replace('+', "%2B").as_str(), 1),
                ("none", 0),
            ] {
                let list = http.get(&format!("{target}?artifactType={filter}")).expect(200);
                assert_eq!(list.header("oci-filters-applied"), "artifactType");
                assert_eq!(list.json()["manifests"].as_array().unwrap().len(), count, "{filter}");
            }
            for (_, body, _) in &referrers {
                http.delete(&format!("/v2/{REPO}/manifests/{}", hash(body))).expect(202);
            }
            assert_eq!(http.get(&target).expect(200).json()["manifests"], serde_json::json!([]));
        }
    }
    http.get(&format!("/v2/{REPO}/referrers/sha256:x")).expect_code(400, "DIGEST_INVALID");
}

/// An index of referrers has at most 4 MiB, and goes on elsewhere.
#[test]
fn many_referrers_come_in_pages() {
    let registry = serve("{}");
    let http = registry.http();
    let config = http.push_blob(REPO, b"{}");
    let subject = Digest::sha256(b"subject");
    for n in 0..12 {
        let more = format!(
            r#","annotations":{{"n":"{n}","large":"{}"}},"subject":{{"mediaType":"{OCI_MANIFEST}","digest":"{subject}","size":7}}"#,
            "x".repeat(500_000)
        );
        let body = image(&config, 2, &[], &more);
        http.put_manifest(REPO, Digest::sha256(&body).as_str(), OCI_MANIFEST, &body).expect(201);
    }
    let (mut target, mut count, mut pages) = (Some(format!("/v2/{REPO}/referrers/{subject}")), 0, 0);
    while let Some(path) = target.take() {
        let page = http.get(&path).expect(200);
        assert!(page.body.len() <= 4 << 20);
        count += page.json()["manifests"].as_array().unwrap().len();
        pages += 1;
        target = page.header("link").split_once('>').map(|(path, _)| path[1..].to_owned());
    }
    assert_eq!((count, pages), (12, 2));
}

#[test]
fn sparse_images_when_the_settings_say_so() {
    let registry = serve(r#"{"allow-missing-blobs": true}"#);
    let http = registry.http();
    let body = image(&Digest::sha256(b"absent"), 6, &[(&Digest::sha256(b"also"), 4)], "");
    http.put_manifest(REPO, "sparse", OCI_MANIFEST, &body).expect(201);
    assert_eq!(http.get(&format!("/v2/{REPO}/manifests/sparse")).expect(200).body, body);
}
