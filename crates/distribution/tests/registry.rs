//! The client against the server, over real sockets.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wharf_distribution::client::{Client, ClientConfig, Credentials, Mount, Repository, Sent};
use wharf_distribution::server::{Config, Server};
use wharf_model::ErrorKind;
use wharf_model::blobs::fake::MemoryBlobs;
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, Manifest, media};
use wharf_oci::reference::Reference;

/// A registry that ends with the test.
struct Registry {
    address: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
    dir: Arc<tempfile::TempDir>,
    blobs: MemoryBlobs,
}

async fn start(htpasswd: Option<&str>) -> Registry {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = htpasswd.map(|text| {
        let path = dir.path().join("htpasswd");
        std::fs::write(&path, text).unwrap();
        path
    });
    start_on(dir, MemoryBlobs::default(), path, None).await
}

async fn start_on(
    dir: Arc<tempfile::TempDir>,
    blobs: MemoryBlobs,
    htpasswd: Option<std::path::PathBuf>,
    tls: Option<(std::path::PathBuf, std::path::PathBuf)>,
) -> Registry {
    let config = Config { root: dir.path().to_owned(), blobs: Arc::new(blobs.clone()), htpasswd, tls };
    let server = Server::bind(config, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address().unwrap().to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Registry { address, stop: Some(stop), task, dir, blobs }
}

impl Registry {
    fn client(&self) -> Client {
        Client::new(&ClientConfig { certs_dir: self.dir.path().join("certs"), ..ClientConfig::default() })
            .unwrap()
    }

    fn repository(&self, path: &str, credentials: Credentials) -> Repository {
        let reference: Reference = format!("{}/{path}", self.address).parse().unwrap();
        self.client().repository(&reference, credentials)
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }

    /// A request written by hand; the head of the answer.
    async fn raw(&self, head: &str, body: &[u8]) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let request =
            format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn quiet() -> Sent {
    Arc::new(|_| {})
}

fn file(content: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

fn manifest(config: &Digest, layer: &Digest, size: usize, subject: Option<Descriptor>) -> Bytes {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.into()),
        artifact_type: subject.as_ref().map(|_| "application/x-note".into()),
        config: Descriptor::new(media::OCI_CONFIG, config.clone(), 2),
        layers: vec![Descriptor::new(media::OCI_LAYER, layer.clone(), size as u64)],
        subject,
        annotations: BTreeMap::new(),
    };
    serde_json::to_vec(&manifest).unwrap().into()
}

async fn push(repository: &Repository, layer: &[u8], tag: &str) -> (Digest, Digest) {
    let digest = Digest::sha256(layer);
    repository.upload(&digest, layer.len() as u64, &file(layer), quiet()).await.unwrap();
    let config = repository.upload_bytes(&Bytes::from_static(b"{}")).await.unwrap();
    let body = manifest(&config, &digest, layer.len(), None);
    (repository.put_manifest(tag, media::OCI_MANIFEST, body).await.unwrap(), digest)
}

async fn fetch(
    repository: &Repository,
    digest: &Digest,
    size: u64,
    start: u64,
) -> wharf_model::Result<Vec<u8>> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(2);
    let (repository, digest) = (repository.clone(), digest.clone());
    let blob = Descriptor::new(media::OCI_LAYER, digest, size);
    let download = tokio::spawn(async move { repository.download(&blob, start, &sender).await });
    let mut all = Vec::new();
    while let Some(part) = receiver.recv().await {
        all.extend_from_slice(&part);
    }
    download.await.unwrap().map(|()| all)
}

#[tokio::test]
async fn push_and_pull() {
    let registry = start(None).await;
    let repository = registry.repository("me/app", Credentials::Anonymous);
    let layer: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let (digest, blob) = push(&repository, &layer, "v1").await;
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    let sent: Sent = Arc::new(move |n| {
        counting.fetch_add(n, Ordering::Relaxed);
    });
    assert!(
        !repository.upload(&blob, layer.len() as u64, &file(&layer), sent).await.unwrap(),
        "it is there already"
    );
    assert_eq!(count.load(Ordering::Relaxed), 0);

    let fetched = repository.manifest("v1").await.unwrap();
    assert_eq!((&fetched.digest, &fetched.media_type[..]), (&digest, media::OCI_MANIFEST));
    assert_eq!(repository.manifest(digest.as_str()).await.unwrap().body, fetched.body);
    let head = repository.head_manifest("v1").await.unwrap().unwrap();
    assert_eq!((head.digest, head.size), (digest.clone(), fetched.body.len() as u64));
    assert_eq!(repository.head_manifest("v2").await.unwrap(), None);
    assert_eq!(repository.manifest("v2").await.unwrap_err().kind(), ErrorKind::NotFound);

    assert_eq!(fetch(&repository, &blob, layer.len() as u64, 0).await.unwrap(), layer);
    assert_eq!(fetch(&repository, &blob, layer.len() as u64, 2_999_990).await.unwrap(), layer[2_999_990..]);
    let short = fetch(&repository, &blob, 100, 0).await.unwrap_err();
    assert_eq!(short.kind(), ErrorKind::Invalid, "more than promised");
    assert_eq!(repository.small_blob(&Digest::sha256(b"{}"), 2, 10).await.unwrap(), "{}");

    let other = registry.repository("other", Credentials::Anonymous);
    assert_eq!(other.blob_size(&blob).await.unwrap(), None);
    assert_eq!(other.mount(&blob, "me/app").await.unwrap(), Mount::Done);
    assert_eq!(other.blob_size(&blob).await.unwrap(), Some(layer.len() as u64));
    assert_eq!(other.mount(&Digest::sha256(b"?"), "me/app").await.unwrap(), Mount::Refused);

    push(&repository, b"second", "v2").await;
    assert_eq!(repository.tags().await.unwrap(), ["v1", "v2"]);
    assert_eq!(
        registry.client().catalog(&registry.address, &Credentials::Anonymous).await.unwrap(),
        ["me/app"]
    );
    repository.delete_manifest(digest.as_str()).await.unwrap();
    assert_eq!(repository.tags().await.unwrap(), ["v2"]);
    repository.delete_manifest("v2").await.unwrap();
    assert!(repository.tags().await.unwrap().is_empty());
    registry.stop().await;
}

#[tokio::test]
async fn only_users_get_in() {
    let hash = bcrypt::hash("secret", 4).unwrap();
    let registry = start(Some(&format!("me:{hash}\n"))).await;
    let good = Credentials::Password { user: "me".into(), password: "secret".into() };
    let bad = Credentials::Password { user: "me".into(), password: "wrong".into() };
    let client = registry.client();
    client.login(&registry.address, &good).await.unwrap();
    for credentials in [bad, Credentials::Anonymous] {
        let error = client.login(&registry.address, &credentials).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorised, "{}", error.full());
        let denied = registry.repository("a", credentials).manifest("v1").await.unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::Unauthorised);
    }
    push(&registry.repository("a", good), b"layer", "v1").await;
    registry.stop().await;
}

#[tokio::test]
async fn what_the_specification_asks_of_uploads() {
    let registry = start(None).await;
    let begun = registry.raw("POST /v2/a/blobs/uploads/ HTTP/1.1", b"").await;
    assert!(begun.starts_with("HTTP/1.1 202"), "{begun}");
    let location = begun.lines().find_map(|l| l.strip_prefix("location: ")).unwrap().trim().to_owned();
    let first = registry.raw(&format!("PATCH {location} HTTP/1.1\r\nContent-Range: 0-2"), b"abc").await;
    assert!(first.starts_with("HTTP/1.1 202") && first.contains("range: 0-2\r\n"), "{first}");
    let twice = registry.raw(&format!("PATCH {location} HTTP/1.1\r\nContent-Range: 0-2"), b"abc").await;
    assert!(twice.starts_with("HTTP/1.1 416") && twice.contains("range: 0-2\r\n"), "{twice}");

    // A new process finds the upload where it was.
    let (dir, blobs) = (Arc::clone(&registry.dir), registry.blobs.clone());
    registry.stop().await;
    let registry = start_on(dir, blobs, None, None).await;
    let status = registry.raw(&format!("GET {location} HTTP/1.1"), b"").await;
    assert!(status.starts_with("HTTP/1.1 204") && status.contains("range: 0-2\r\n"), "{status}");
    let wrong = Digest::sha256(b"other");
    let digest = Digest::sha256(b"abcdef");
    let done = registry.raw(&format!("PUT {location}?digest={digest} HTTP/1.1"), b"def").await;
    assert!(done.starts_with("HTTP/1.1 201"), "{done}");
    assert!(registry.raw(&format!("GET {location} HTTP/1.1"), b"").await.starts_with("HTTP/1.1 404"));
    let blob = registry.raw(&format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nRange: bytes=1-2"), b"").await;
    assert!(blob.starts_with("HTTP/1.1 206") && blob.ends_with("\r\n\r\nbc"), "{blob}");
    let head = registry.raw(&format!("HEAD /v2/a/blobs/{digest} HTTP/1.1"), b"").await;
    assert!(head.contains("content-length: 6\r\n") && head.ends_with("\r\n\r\n"), "{head}");

    let at_once = registry.raw(&format!("POST /v2/a/blobs/uploads/?digest={wrong} HTTP/1.1"), b"abc").await;
    assert!(at_once.starts_with("HTTP/1.1 400") && at_once.contains("DIGEST_INVALID"), "{at_once}");
    let at_once = registry.raw(&format!("POST /v2/a/blobs/uploads/?digest={wrong} HTTP/1.1"), b"other").await;
    assert!(at_once.starts_with("HTTP/1.1 201"), "{at_once}");
    let gone = registry.raw(&format!("DELETE /v2/a/blobs/{digest} HTTP/1.1"), b"").await;
    assert!(gone.starts_with("HTTP/1.1 202"), "{gone}");
    assert!(
        registry.raw(&format!("GET /v2/a/blobs/{digest} HTTP/1.1"), b"").await.starts_with("HTTP/1.1 404")
    );
    registry.stop().await;
}

#[tokio::test]
async fn manifests_are_checked_and_referrers_listed() {
    let registry = start(None).await;
    let repository = registry.repository("a", Credentials::Anonymous);
    let absent = manifest(&Digest::sha256(b"1"), &Digest::sha256(b"2"), 1, None);
    let error = repository.put_manifest("v1", media::OCI_MANIFEST, absent).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.full().contains("blob unknown"), "{}", error.full());
    let garbage =
        repository.put_manifest("v1", media::OCI_MANIFEST, Bytes::from_static(b"{}x")).await.unwrap_err();
    assert_eq!(garbage.kind(), ErrorKind::Invalid);
    let (digest, layer) = push(&repository, b"layer", "v1").await;
    let config = Digest::sha256(b"{}");
    let subject = Descriptor::new(media::OCI_MANIFEST, digest.clone(), 1);
    let note = manifest(&config, &layer, 5, Some(subject));
    let by_digest = Digest::sha256(&note);
    repository.put_manifest(by_digest.as_str(), media::OCI_MANIFEST, note.clone()).await.unwrap();
    let wrong = repository.put_manifest(digest.as_str(), media::OCI_MANIFEST, note).await.unwrap_err();
    assert!(wrong.full().contains("digest"), "{}", wrong.full());
    let list = registry.raw(&format!("GET /v2/a/referrers/{digest} HTTP/1.1"), b"").await;
    assert!(list.contains(by_digest.as_str()) && list.contains("application/x-note"), "{list}");
    let filtered =
        registry.raw(&format!("GET /v2/a/referrers/{digest}?artifactType=none HTTP/1.1"), b"").await;
    assert!(!filtered.contains(by_digest.as_str()) && filtered.contains("oci-filters-applied"), "{filtered}");
    repository.delete_manifest(by_digest.as_str()).await.unwrap();
    let list = registry.raw(&format!("GET /v2/a/referrers/{digest} HTTP/1.1"), b"").await;
    assert!(list.starts_with("HTTP/1.1 200") && !list.contains(by_digest.as_str()), "{list}");
    registry.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let registry = start(None).await;
    let repository = registry.repository("a", Credentials::Anonymous);
    for tag in ["c", "a", "b"] {
        push(&repository, b"layer", tag).await;
    }
    let page = registry.raw("GET /v2/a/tags/list?n=2 HTTP/1.1", b"").await;
    assert!(
        page.contains(r#""tags":["a","b"]"#) && page.contains("</v2/a/tags/list?n=2&last=b>; rel=\"next\""),
        "{page}"
    );
    let page = registry.raw("GET /v2/a/tags/list?n=2&last=b HTTP/1.1", b"").await;
    assert!(page.contains(r#""tags":["c"]"#) && !page.contains("link:"), "{page}");
    let none = registry.raw("GET /v2/a/tags/list?n=0 HTTP/1.1", b"").await;
    assert!(none.contains(r#""tags":[]"#), "{none}");
    assert!(registry.raw("GET /v2/b/tags/list HTTP/1.1", b"").await.contains("NAME_UNKNOWN"));
    assert!(registry.raw("GET /v2/a/tags/list?n=x HTTP/1.1", b"").await.starts_with("HTTP/1.1 400"));
    registry.stop().await;
}

/// A registry that breaks off, ignores ranges, is busy, and redirects elsewhere with a token of its own.
#[tokio::test]
async fn difficult_registries() {
    use http_body_util::{BodyExt, Full, StreamBody};
    use hyper::body::{Frame, Incoming};
    let content = Bytes::from(vec![7u8; 100_000]);
    let digest = Digest::sha256(&content);
    let requests = Arc::new(AtomicU64::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other_address = other.local_addr().unwrap();
    let answer = {
        let (content, requests) = (content.clone(), Arc::clone(&requests));
        move |request: http::Request<Incoming>| {
            let (content, requests) = (content.clone(), Arc::clone(&requests));
            async move {
                let path = request.uri().path().to_owned();
                let authorization =
                    request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
                let empty = || Full::<Bytes>::default().map_err(|e| match e {}).boxed_unsync();
                let builder = http::Response::builder();
                let reply = if path == "/token" {
                    assert!(authorization.unwrap().starts_with("Basic "));
                    assert!(request.uri().query().unwrap().contains("scope=repository%3Aa%3Apull"));
                    builder.body(
                        Full::from(r#"{"token":"T","expires_in":300}"#)
                            .map_err(|e| match e {})
                            .boxed_unsync(),
                    )
                } else if path == "/elsewhere" {
                    assert_eq!(authorization, None, "credentials stay with their host");
                    let start = match request.headers().get("range").map(|v| v.to_str().unwrap()) {
                        Some(range) => {
                            range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap()
                        }
                        None => 0usize,
                    };
                    match requests.fetch_add(1, Ordering::SeqCst) {
                        0 => builder.status(503).header("retry-after", "0").body(empty()),
                        1 => {
                            // Says all and sends a part.
                            let part = content.slice(..40_000);
                            let parts = [Ok(Frame::data(part)), Err(std::io::Error::other("broken"))];
                            let body = StreamBody::new(futures_util::stream::iter(parts));
                            builder.header("content-length", content.len()).body(body.boxed_unsync())
                        }
                        2 => {
                            // Knows no ranges, and breaks again.
                            let part = content.slice(..60_000);
                            let parts = [Ok(Frame::data(part)), Err(std::io::Error::other("broken"))];
                            builder.body(StreamBody::new(futures_util::stream::iter(parts)).boxed_unsync())
                        }
                        _ => {
                            let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
                            let body =
                                Full::from(content.slice(start..)).map_err(|e| match e {}).boxed_unsync();
                            builder.status(206).header("content-range", range).body(body)
                        }
                    }
                } else if authorization.as_deref() != Some("Bearer T") {
                    let challenge = format!(r#"Bearer realm="http://{address}/token",service="s",scope="x""#);
                    builder.status(401).header("www-authenticate", challenge).body(empty())
                } else if path == "/v2/a/manifests/loop" {
                    builder.status(307).header("location", path).body(empty())
                } else if path == "/v2/a/manifests/html" {
                    builder.body(Full::from("<html>").map_err(|e| match e {}).boxed_unsync())
                } else if path == "/v2/a/manifests/huge" {
                    let parts = futures_util::stream::repeat_with(|| {
                        Ok(Frame::data(Bytes::from_static(&[b' '; 65536])))
                    });
                    builder.body(StreamBody::new(parts).boxed_unsync())
                } else {
                    builder
                        .status(307)
                        .header("location", format!("http://{other_address}/elsewhere"))
                        .body(empty())
                };
                Ok::<_, std::convert::Infallible>(reply.unwrap())
            }
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    for listener in [listener, other] {
        let answer = answer.clone();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper::service::service_fn(answer.clone());
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
                );
            }
        });
    }
    let client = Client::new(&ClientConfig::default()).unwrap();
    let reference: Reference = format!("{address}/a").parse().unwrap();
    let credentials = Credentials::Password { user: "u".into(), password: "p".into() };
    let repository = client.repository(&reference, credentials);
    assert_eq!(fetch(&repository, &digest, content.len() as u64, 0).await.unwrap(), content);
    assert_eq!(requests.load(Ordering::SeqCst), 4);
    let error = repository.manifest("html").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.full());
    let error = repository.manifest("huge").await.unwrap_err();
    assert!(error.full().contains("more than"), "{}", error.full());
    let error = repository.manifest("loop").await.unwrap_err();
    assert!(error.full().contains("redirects"), "{}", error.full());
    tasks.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints a rate; run by hand, in release"]
async fn manifest_rate() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const EACH: usize = 5000;
    let registry = start(None).await;
    push(&registry.repository("a", Credentials::Anonymous), b"layer", "v1").await;
    let begun = std::time::Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let address = registry.address.clone();
        clients.spawn(async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let request = b"GET /v2/a/manifests/v1 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
            let mut buffer = vec![0; 8192];
            for _ in 0..EACH {
                stream.write_all(request).await.unwrap();
                let mut filled = 0;
                while !buffer[..filled].ends_with(b"}") {
                    filled += stream.read(&mut buffer[filled..]).await.unwrap();
                }
            }
        });
    }
    clients.join_all().await;
    println!("{:.0} manifests a second", (16 * EACH) as f64 / begun.elapsed().as_secs_f64());
    registry.stop().await;
}
