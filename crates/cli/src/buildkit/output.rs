//! Results that come to us: files into a directory, or an archive.

use crate::archive::extract::{Target, extract};
use crate::failure::Failure;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::Receiver;
use wharf_grpc::proto::session::BytesMessage;
use wharf_grpc::server::{Call, Reply};
use wharf_grpc::{Code, Messages, Status};

/// Where an archive goes.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    /// Into a file.
    File(PathBuf),
    /// To standard output.
    Stdout,
    /// Its files into a directory.
    Directory(PathBuf),
}

/// What `--output` asks for: the kind of exporter, its attributes, and where what comes goes.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) kind: String,
    pub(crate) attributes: std::collections::BTreeMap<String, String>,
    pub(crate) output: Option<Output>,
}

impl Output {
    /// Reads `DIRECTORY`, `-` or `type=…,dest=…,NAME=VALUE`.
    pub(crate) fn parse(text: &str) -> Result<Wanted, Failure> {
        let mut attributes = std::collections::BTreeMap::new();
        if text.is_empty() {
            // It would be the working directory.
            return Err(Failure::new("invalid output: a directory, - or type=TYPE is expected"));
        }
        if !text.contains('=') {
            let (kind, output) = match text {
                "-" => ("tar", Self::Stdout),
                path => ("tar", Self::Directory(path.into())),
            };
            return Ok(Wanted { kind: kind.into(), attributes, output: Some(output) });
        }
        for field in text.split(',') {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| Failure::new(format!("invalid value {field}: NAME=VALUE is expected")))?;
            attributes.insert(name.trim().to_ascii_lowercase(), value.to_owned());
        }
        let kind = attributes.remove("type").ok_or_else(|| Failure::new("type is required for output"))?;
        let dest = attributes.remove("dest").or_else(|| attributes.remove("destination"));
        let dest = dest.filter(|dest| !dest.is_empty());
        let output = match (kind.as_str(), dest.as_deref()) {
            ("local" | "tar" | "oci" | "docker", Some("-")) if kind != "local" => Some(Self::Stdout),
            ("local", Some("-") | None) => return Err(Failure::new("dest is required for local output")),
            ("local", Some(path)) => Some(Self::Directory(path.into())),
            ("tar" | "oci", None) => Some(Self::Stdout),
            ("tar" | "oci" | "docker", Some(path)) => Some(Self::File(path.into())),
            ("docker" | "image" | "registry" | "moby" | "cacheonly", _) => None,
            (other, _) => return Err(Failure::new(format!("invalid output type {other:?}"))),
        };
        // Files come as an archive, too: one way less for them to lead anywhere else.
        let kind = if kind == "local" { "tar".to_owned() } else { kind };
        Ok(Wanted { kind, attributes, output })
    }

    pub(super) fn receive(&self, call: Call) -> Result<Reply, Status> {
        let output = self.clone();
        let (answers, reply) = Reply::many();
        tokio::spawn(async move {
            let (sender, receiver) = tokio::sync::mpsc::channel(4);
            let writing =
                tokio::task::spawn_blocking(move || output.write(Pieces { receiver, piece: Bytes::new() }));
            let received = pass(call.messages, sender).await;
            let written = writing.await.unwrap_or_else(|e| Err(io::Error::other(e)));
            let written = written.map_err(|e| Status::new(Code::Unknown, format!("write the output: {e}")));
            if let Err(status) = received.and(written) {
                answers.fail(status).await;
            }
        });
        Ok(reply)
    }

    fn write(&self, mut archive: Pieces) -> io::Result<()> {
        match self {
            Self::Stdout => io::copy(&mut archive, &mut io::stdout()).map(drop),
            Self::File(path) => {
                let mut file = File::create(path)?;
                io::copy(&mut archive, &mut file)?;
                file.flush()
            }
            Self::Directory(path) => {
                std::fs::create_dir_all(path)?;
                unpack(archive, path)
            }
        }
    }
}

/// Unpacks names as they are: `extract` takes the first part of each for the name of a directory.
fn unpack(archive: impl Read, path: &Path) -> io::Result<()> {
    let target = Target { dir: path.to_owned(), name: PathBuf::new(), keep_owner: false, strip: false };
    extract(archive, &target)
}

async fn pass(mut messages: Messages, sender: tokio::sync::mpsc::Sender<Bytes>) -> Result<(), Status> {
    while let Some(message) = messages.next::<BytesMessage>().await? {
        // Who does not write any more says why.
        if sender.send(message.data).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Pieces as one stream.
struct Pieces {
    receiver: Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let of = |text: &str| Output::parse(text).unwrap();
        assert!(matches!(of("out").output, Some(Output::Directory(path)) if path == Path::new("out")));
        assert!(matches!(of("-").output, Some(Output::Stdout)));
        let local = of("type=local,dest=out,platform-split=false");
        assert_eq!((local.kind.as_str(), local.attributes["platform-split"].as_str()), ("tar", "false"));
        assert!(matches!(of("type=oci,dest=x.tar").output, Some(Output::File(_))));
        assert!(of("type=image,name=a,push=true").output.is_none());
        for bad in ["", "type=local", "type=local,dest=", "dest=x", "type=nope", "type=tar,x"] {
            assert!(Output::parse(bad).is_err(), "{bad}");
        }
    }
}
