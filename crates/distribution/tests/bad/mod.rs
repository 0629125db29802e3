//! A server that answers as a test wants, byte by byte.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wharf_distribution::client::{Client, ClientConfig, Credentials, Repository, Settings};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::{Descriptor, media};

/// What a request is answered with; the connection ends afterwards.
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    /// These bytes, and then nothing, without an end.
    Stall(Vec<u8>),
    /// These bytes, and then others without an end.
    Endless(Vec<u8>),
    /// These bytes, and then blanks without an end, so many milliseconds apart.
    Drip(Vec<u8>, u64),
}

/// A request: its head, and its body as text.
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: String,
    /// How many came before it.
    pub(crate) nth: usize,
}

impl Asked {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|l| l.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).next()
    }
}

/// The server; it ends with the test's runtime.
pub(crate) struct Bad {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

pub(crate) async fn serve(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Bad {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (answer, heads) = (Arc::new(answer), Arc::clone(&seen));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, heads) = (Arc::clone(&answer), Arc::clone(&heads));
            // A client that goes away is what some tests are about.
            tokio::spawn(async move { drop(answer_one(stream, &*answer, &heads).await) });
        }
    });
    Bad { address, seen }
}

async fn answer_one(
    mut stream: TcpStream,
    answer: &(impl Fn(&Asked) -> Reply + Send + Sync),
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        // TLS is what the client tries first.
        if head[0] == 0x16 {
            return Ok(());
        }
    }
    let mut asked = Asked { head: String::from_utf8(head).unwrap(), body: String::new(), nth: 0 };
    let body = if asked.header("transfer-encoding").is_some() {
        chunked(&mut stream).await?
    } else {
        let length = asked.header("content-length").map_or(0, |l| l.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        body
    };
    asked.body = String::from_utf8_lossy(&body).into_owned();
    {
        let mut heads = heads.lock().unwrap();
        asked.nth = heads.len();
        heads.push(asked.head.clone());
    }
    match answer(&asked) {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
        Reply::Stall(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending::<()>().await;
        }
        Reply::Endless(bytes) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(&[b' '; 65536]).await?;
            }
        }
        Reply::Drip(bytes, pause) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }
    stream.shutdown().await
}

/// A body whose length is told piece by piece.
async fn chunked(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            line.push(char::from(stream.read_u8().await?));
        }
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut piece = vec![0; length + 2];
        stream.read_exact(&mut piece).await?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&piece[..length]);
    }
}

/// An answer with its length.
pub(crate) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Reply {
    Reply::Bytes([&head(status, headers, body.len())[..], body].concat())
}

/// The head of one that says it has a body of this length.
pub(crate) fn head(status: &str, headers: &[&str], length: usize) -> Vec<u8> {
    let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n")
        .into_bytes()
}

impl Bad {
    /// The heads of all requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn repository(&self) -> Repository {
        self.repository_as(Credentials::Anonymous)
    }

    pub(crate) fn repository_as(&self, credentials: Credentials) -> Repository {
        repository(&self.address, credentials, Settings::default())
    }
}

pub(crate) fn me() -> Credentials {
    Credentials::Password { user: "me".into(), password: "secret".into() }
}

pub(crate) fn repository(registry: &str, credentials: Credentials, settings: Settings) -> Repository {
    let config = ClientConfig {
        settings,
        certs_dir: "/nonexistent".into(),
        silence: Duration::from_millis(400),
        ..ClientConfig::default()
    };
    Client::new(&config).unwrap().repository(&format!("{registry}/a").parse().unwrap(), credentials)
}

/// Downloads a blob from byte `start` on.
pub(crate) async fn download(
    repository: &Repository,
    content: &[u8],
    start: u64,
) -> wharf_model::Result<Vec<u8>> {
    let blob = Descriptor::new(media::OCI_LAYER, Digest::sha256(content), content.len() as u64);
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
    let downloading = async {
        let result = repository.download(&blob, start, &sender).await;
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
}

/// Waits for an error, which has to come within seconds.
pub(crate) async fn refused<T: std::fmt::Debug>(
    work: impl Future<Output = wharf_model::Result<T>>,
) -> (wharf_model::ErrorKind, String) {
    let result = tokio::time::timeout(Duration::from_secs(20), work).await.expect("it ends by itself");
    let error = result.unwrap_err();
    (error.kind(), error.full())
}
