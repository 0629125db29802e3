//! Large objects: uploads in parts, which are there wholly at their end or not at all.

use super::sign::{UNSIGNED, hex};
use super::{Ask, Bucket, xml};
use crate::server::file_body;
use bytes::Bytes;
use http::{Method, StatusCode};
use ring::digest::{Context, SHA256};
use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::FileExt;
use wharf_model::{Error, ErrorKind, Result};

/// What is sent at once. Stores take parts from 5 MiB on, and 10,000 of them.
const PART: u64 = 16 << 20;
const MAX_PARTS: u64 = 10_000;
/// Bytes read at once.
const CHUNK: usize = 128 << 10;

/// An object that is a file here.
pub(crate) struct Whole<'a> {
    pub(crate) key: &'a str,
    pub(crate) file: &'a File,
    pub(crate) size: u64,
}

impl Bucket {
    /// Writes an object from a file. A process that ends in the middle leaves an upload that nobody sees, which
    /// [`Bucket::abandon`] takes away.
    pub(crate) async fn upload(&self, whole: &Whole<'_>) -> Result<()> {
        if whole.size <= PART {
            let ask = Ask::new(Method::PUT, whole.key);
            return self.piece(whole, 0, whole.size, ask).await.map(drop);
        }
        let id = self.begin(whole.key).await?;
        let sent = self.parts(whole, &id).await;
        if sent.is_err() {
            let mut ask = Ask::new(Method::DELETE, whole.key);
            ask.query = vec![("uploadId", id)];
            // What cannot be taken away now is at the next start; why it failed is what matters.
            if let Err(error) = self.send(&ask).await {
                tracing::warn!(error = error.full(), "an upload to the store was left");
            }
        }
        sent
    }

    async fn begin(&self, key: &str) -> Result<String> {
        let mut ask = Ask::new(Method::POST, key);
        ask.query = vec![("uploads", String::new())];
        let answer = self.send(&ask).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.failure(answer, &format!("begin to upload {key}")).await);
        }
        let text = self.text(answer).await?;
        let id = xml::first(&text, "UploadId").map(xml::text);
        id.ok_or_else(|| Error::internal(format!("the store {} named no upload of {key}", self.host)))
    }

    async fn parts(&self, whole: &Whole<'_>, id: &str) -> Result<()> {
        let size = PART.max(whole.size.div_ceil(MAX_PARTS));
        let mut listed = String::from("<CompleteMultipartUpload>");
        let (mut start, mut number) = (0, 1);
        while start < whole.size {
            let end = (start + size).min(whole.size);
            let mut ask = Ask::new(Method::PUT, whole.key);
            ask.query = vec![("partNumber", number.to_string()), ("uploadId", id.to_owned())];
            let tag = self.piece(whole, start, end, ask).await?;
            let _ = write!(
                listed,
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
                xml::escaped(&tag)
            );
            (start, number) = (end, number + 1);
        }
        let listed = Bytes::from(listed + "</CompleteMultipartUpload>");
        let body = || Ok(super::whole(&listed));
        let ask = Ask {
            query: vec![("uploadId", id.to_owned())],
            hash: super::sign::hash(&listed),
            length: listed.len() as u64,
            body: &body,
            ..Ask::new(Method::POST, whole.key)
        };
        let answer = self.send(&ask).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(self.failure(answer, &format!("finish the upload of {}", whole.key)).await);
        }
        // A store may find out that it failed after it has answered.
        let text = self.text(answer).await?;
        match text.contains("<Error>") {
            false => Ok(()),
            true => Err(Error::internal(format!(
                "finish the upload of {} in the store {}: {}",
                whole.key,
                self.host,
                xml::first(&text, "Code").unwrap_or("it failed")
            ))),
        }
    }

    /// Sends some bytes of a file; returns what the store calls them.
    async fn piece(&self, whole: &Whole<'_>, start: u64, end: u64, ask: Ask<'_>) -> Result<String> {
        let clone = || whole.file.try_clone().map_err(|e| Error::wrap(ErrorKind::Internal, "send a file", e));
        let hash = match self.is_private() {
            true => UNSIGNED.to_owned(),
            false => {
                let file = clone()?;
                let hashed = tokio::task::spawn_blocking(move || hashed(&file, start, end)).await;
                hashed
                    .map_err(std::io::Error::other)
                    .and_then(|hash| hash)
                    .map_err(|e| Error::wrap(ErrorKind::Internal, "hash a part of a file", e))?
            }
        };
        let body = || Ok(file_body(clone()?, start, end));
        let ask = Ask { hash, length: end - start, body: &body, ..ask };
        let answer = self.send(&ask).await?;
        if !answer.status().is_success() {
            return Err(self.failure(answer, &format!("upload {}", whole.key)).await);
        }
        let tag = answer.headers().get(http::header::ETAG).and_then(|v| v.to_str().ok());
        Ok(tag.unwrap_or_default().to_owned())
    }

    /// Takes away uploads below a prefix that were begun and not finished.
    pub(crate) async fn abandon(&self, prefix: &str) -> Result<()> {
        let mut ask = Ask::new(Method::GET, "");
        ask.query = vec![("uploads", String::new()), ("prefix", prefix.to_owned())];
        let answer = self.send(&ask).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.failure(answer, "list unfinished uploads").await);
        }
        let text = self.text(answer).await?;
        for upload in xml::all(&text, "Upload") {
            let of = |name| xml::first(upload, name).map(xml::text);
            let (Some(key), Some(id)) = (of("Key"), of("UploadId")) else { continue };
            let mut ask = Ask::new(Method::DELETE, &key);
            ask.query = vec![("uploadId", id)];
            let answer = self.send(&ask).await?;
            if !answer.status().is_success() && answer.status() != StatusCode::NOT_FOUND {
                return Err(self.failure(answer, &format!("give up the upload of {key}")).await);
            }
        }
        Ok(())
    }
}

fn hashed(file: &File, start: u64, end: u64) -> std::io::Result<String> {
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; CHUNK];
    let mut at = start;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact_at(&mut buffer[..length], at)?;
        hash.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(hex(hash.finish().as_ref()))
}
