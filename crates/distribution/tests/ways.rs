//! Ways to a registry: mirrors, proxies, other addresses of a layer.
#![allow(clippy::unwrap_used)]

mod bad;

use bad::{Bad, Reply, answer, download, head, me, refused, repository, serve};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wharf_distribution::client::{Mirror, Proxies, Proxy, Settings};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, media};

const TYPE: &str = "Content-Type: application/vnd.oci.image.index.v1+json";
const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;
const CONTENT: [u8; 1000] = [3; 1000];

/// A registry that has everything.
async fn upstream() -> Bad {
    serve(|asked| match (asked.line().contains("/manifests/"), asked.header("range")) {
        (true, _) => answer("200 OK", &[TYPE], INDEX),
        (_, None) => answer("200 OK", &[], &CONTENT),
        (_, Some(range)) => {
            assert_eq!(range, "bytes=400-");
            answer("206 Partial", &["Content-Range: bytes 400-999/1000"], &CONTENT[400..])
        }
    })
    .await
}

fn mirrored(registry: &str, mirrors: &[String]) -> Settings {
    let mirrors = mirrors.iter().map(|url| Mirror::parse(url).unwrap()).collect();
    Settings { mirrors: BTreeMap::from([(registry.to_owned(), mirrors)]), ..Settings::default() }
}

#[tokio::test]
async fn mirrors_are_asked_in_order_and_then_the_registry() {
    let broken = serve(|_| answer("503 Busy", &[], b"")).await;
    let half = serve(|asked| match asked.line().contains("/manifests/") {
        true => answer("404 Not Found", &[], b""),
        false => Reply::Bytes([head("200 OK", &[], 1000), CONTENT[..400].to_vec()].concat()),
    })
    .await;
    let registry = upstream().await;
    let urls = [format!("http://{}", broken.address), format!("http://{}/pre/fix", half.address)];
    let all = mirrored(&registry.address, &urls);
    let repository = repository(&registry.address, me(), all);
    repository.manifest("v1").await.unwrap();
    assert_eq!(download(&repository, &CONTENT, 0).await.unwrap(), CONTENT, "goes on in the registry");
    assert_eq!(broken.seen().len(), 1, "one that failed is left alone for a while");
    assert!(half.seen()[0].starts_with("GET /v2/pre/fix/a/manifests/v1 "), "{}", half.seen()[0]);
    assert_eq!((half.seen().len(), registry.seen().len()), (2, 2));
    assert!(registry.seen()[1].contains("range: bytes=400-"), "{}", registry.seen()[1]);
}

#[tokio::test]
async fn a_mirror_spares_the_registry_and_gets_no_credentials() {
    let mirror = upstream().await;
    let registry = serve(|_| answer("500 No", &[], b"")).await;
    let all = mirrored(&registry.address, &[format!("http://{}", mirror.address)]);
    let repository = repository(&registry.address, me(), all);
    repository.manifest("v1").await.unwrap();
    assert_eq!(download(&repository, &CONTENT, 0).await.unwrap(), CONTENT);
    assert!(registry.seen().is_empty());
    assert!(mirror.seen().iter().all(|head| !head.to_lowercase().contains("authorization")));
    // What a mirror damaged comes from the registry.
    let mirror = serve(|_| answer("200 OK", &[TYPE], b"12")).await;
    let registry = serve(|_| answer("200 OK", &[], b"{}")).await;
    let all = mirrored(&registry.address, &[format!("http://{}", mirror.address)]);
    let repository = bad::repository(&registry.address, me(), all);
    assert_eq!(repository.small_blob(&Digest::sha256(b"{}"), 2, 10).await.unwrap(), "{}");
}

/// A proxy that leads every host to one address; what it was asked, line by line.
async fn proxy(to: String, password: Option<&'static str>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A broken connection is the client's to notice.
            tokio::spawn(lead(stream, to.clone(), password, Arc::clone(&noting)));
        }
    });
    (address, asked)
}

async fn lead(
    mut stream: TcpStream,
    to: String,
    password: Option<&str>,
    noting: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    noting.lock().unwrap().push(text.lines().next().unwrap().to_owned());
    let is_known = password.is_none_or(|p| text.to_lowercase().contains(&p.to_lowercase()));
    if !is_known {
        return stream
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            .await;
    }
    let mut onward = TcpStream::connect(to).await?;
    if text.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        onward.write_all(&head).await?;
    }
    tokio::io::copy_bidirectional(&mut stream, &mut onward).await.map(drop)
}

#[tokio::test]
async fn through_a_proxy_with_a_password() {
    let registry = upstream().await;
    let expected = "proxy-authorization: basic bWU6cEBz";
    let (address, asked) = proxy(registry.address.clone(), Some(expected)).await;
    let through = |url: &str| {
        let proxy = Some(Proxy::parse(url).unwrap());
        Settings {
            insecure_registries: vec!["registry.test:5000".into()],
            proxies: Proxies { http: proxy.clone(), https: proxy, no_proxy: String::new() },
            ..Settings::default()
        }
    };
    let settings = through(&format!("http://me:p%40s@{address}"));
    let repository = repository("registry.test:5000", me(), settings);
    repository.manifest("v1").await.unwrap();
    let lines = asked.lock().unwrap().clone();
    assert_eq!(lines[0], "CONNECT registry.test:5000 HTTP/1.1", "TLS is tried first");
    assert_eq!(lines[1], "GET http://registry.test:5000/v2/a/manifests/v1 HTTP/1.1");
    // A wrong password; and a proxy that is not there.
    let settings = through(&format!("http://me:wrong@{address}"));
    let said = refused(bad::repository("registry.test:5000", me(), settings).manifest("v1")).await.1;
    assert!(said.contains("the proxy answered 407 Proxy Authentication Required"), "{said}");
    let gone = Settings { insecure_registries: Vec::new(), ..through("http://me:hidden@127.0.0.1:1") };
    let said = refused(bad::repository("registry.test:5000", me(), gone).manifest("v1")).await.1;
    assert!(said.contains("through the proxy http://xxxxx:xxxxx@127.0.0.1:1"), "{said}");
}

#[tokio::test]
async fn layers_that_registries_need_not_hold() {
    let elsewhere = serve(|_| answer("200 OK", &[], &CONTENT)).await;
    let registry = serve(|_| answer("404 Not Found", &[], b"")).await;
    let mut blob = Descriptor::new(media::DOCKER_LAYER_FOREIGN, Digest::sha256(&CONTENT), 1000);
    blob.urls = vec!["http://127.0.0.1:1/gone".into(), format!("http://{}/layer", elsewhere.address)];
    let get = async |blob: &Descriptor| {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
        let repository = registry.repository_as(me());
        let downloading = async {
            let result = repository.download(blob, 100, &sender).await;
            drop(sender);
            result
        };
        let collecting = async {
            let mut all = Vec::new();
            while let Some(piece) = receiver.recv().await {
                all.extend_from_slice(&piece);
            }
            all
        };
        let (result, all) = tokio::join!(downloading, collecting);
        result.map(|()| all)
    };
    assert_eq!(get(&blob).await.unwrap(), CONTENT[100..]);
    assert!(!elsewhere.seen()[0].contains("authorization"));
    // Others are where their registry is.
    blob.media_type = media::DOCKER_LAYER_GZIP.into();
    refused(get(&blob)).await;
}

/// A SOCKS5 proxy that wants `me` and `pw`, and leads every name to one address.
async fn socks(to: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (to, log) = (to.clone(), Arc::clone(&log));
            tokio::spawn(async move {
                let mut hello = [0; 4];
                client.read_exact(&mut hello).await?;
                client.write_all(&[5, 2]).await?;
                let mut login = [0; 7];
                client.read_exact(&mut login).await?;
                client.write_all(&[1, u8::from(login != *b"\x01\x02me\x02pw")]).await?;
                let mut request = [0; 5];
                client.read_exact(&mut request).await?;
                let mut name = vec![0; usize::from(request[4]) + 2];
                client.read_exact(&mut name).await?;
                let port = name.split_off(name.len() - 2);
                let port = u16::from_be_bytes([port[0], port[1]]);
                log.lock().unwrap().push(format!("{}:{port}", String::from_utf8_lossy(&name)));
                let mut far = TcpStream::connect(to).await?;
                client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
                tokio::io::copy_bidirectional(&mut client, &mut far).await
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn through_a_socks_proxy() {
    let registry = upstream().await;
    let (address, asked) = socks(registry.address.clone()).await;
    let settings = |login: &str| {
        let proxy = Some(Proxy::parse(&format!("socks5://{login}@{address}")).unwrap());
        Settings {
            insecure_registries: vec!["reg.test:5000".into()],
            proxies: Proxies { http: proxy.clone(), https: proxy, no_proxy: String::new() },
            ..Settings::default()
        }
    };
    let through = repository("reg.test:5000", me(), settings("me:pw"));
    through.manifest("v1").await.unwrap();
    assert_eq!(download(&through, &CONTENT, 0).await.unwrap(), CONTENT);
    assert!(asked.lock().unwrap().iter().all(|name| name == "reg.test:5000"));
    let said = refused(repository("reg.test:5000", me(), settings("me:no")).manifest("v1")).await.1;
    assert!(said.contains("refuses the name and the password") && !said.contains("me:no"), "{said}");
}
