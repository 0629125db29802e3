//! Blobs of a repository: download with resumption, upload, mount.

use super::answer::{absolute, escape};
use super::send::{Call, bytes_body, host_of};
use super::transport::RequestBody;
use super::{ATTEMPTS, FIRST_PAUSE, MAX_PAUSE, Repository};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::Descriptor;

/// Bytes read from the disk at once for an upload.
const CHUNK: usize = 1 << 18;

/// Called with the number of bytes that went out since the last call.
pub type Sent = Arc<dyn Fn(u64) + Send + Sync>;

/// A blob that is being made. Whoever makes it ends when nobody takes the pieces any more.
pub struct Made {
    /// Its bytes.
    pub pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// Its digest and length, told after the last piece.
    pub digest: oneshot::Receiver<(Digest, u64)>,
}

/// How trying a mount ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Mount {
    /// The blob is in the repository now.
    Done,
    /// It has to be uploaded.
    Refused,
}

impl Repository {
    /// The size of a blob; `None` when the repository has it not.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let response = self.send(&self.call(Method::HEAD, &format!("blobs/{digest}"), "pull")).await?;
        match response.status() {
            StatusCode::OK => Ok(Some(content_length(response.headers()).unwrap_or_default())),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.failure(response, &format!("look for the blob {digest} in {}", self.name())).await),
        }
    }

    /// A small blob whole, verified: a configuration.
    pub async fn small_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Bytes> {
        if size > limit {
            return Err(Error::invalid(format!(
                "blob {digest} has {size} bytes, more than the {limit} allowed"
            )));
        }
        let blob = Descriptor::new("", digest.clone(), size);
        match self.collect_blob(&blob, true).await {
            // A mirror with damaged content is no reason to fail.
            Err(error) if error.kind() == ErrorKind::Invalid && self.has_mirrors() => {
                tracing::warn!(%digest, error = error.full(), "asking the registry itself");
                self.collect_blob(&blob, false).await
            }
            result => result,
        }
    }

    async fn collect_blob(&self, blob: &Descriptor, from_mirrors: bool) -> Result<Bytes> {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
        let collecting = async {
            let mut all = Vec::new();
            while let Some(part) = receiver.recv().await {
                all.extend_from_slice(&part);
            }
            all
        };
        let downloading = async {
            let result = match from_mirrors {
                true => self.download(blob, 0, &sender).await,
                false => self.download_upstream(blob, 0, &sender).await,
            };
            drop(sender);
            result
        };
        let (all, result) = tokio::join!(collecting, downloading);
        result?;
        let digest = &blob.digest;
        let real = if digest.algorithm() == "sha512" { Digest::sha512(&all) } else { Digest::sha256(&all) };
        if real != *digest {
            return Err(wharf_model::blobs::mismatch(digest, &real));
        }
        Ok(all.into())
    }

    /// Takes a blob from another repository of the same registry without sending it.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount> {
        let rest = format!("blobs/uploads/?mount={}&from={}", escape(digest.as_str()), escape(from));
        let mut call = self.call(Method::POST, &rest, "pull,push");
        call.scope = format!("{} repository:{from}:pull", call.scope);
        let response = self.send(&call).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(Mount::Done);
        }
        // The upload that was begun instead is given up: not every repository is asked in vain for ever.
        if response.status() == StatusCode::ACCEPTED
            && let Ok(location) = self.location(&response)
        {
            let cancel = Call::new(Method::DELETE, location, self.scope("pull,push"));
            let status = self.send(&cancel).await.map(|r| r.status());
            tracing::debug!(?status, "an upload instead of a mount was given up");
        }
        Ok(Mount::Refused)
    }

    /// Uploads a blob from a file, unless the repository has it. Returns whether it had to be sent.
    pub async fn upload(&self, digest: &Digest, size: u64, file: &File, sent: Sent) -> Result<bool> {
        if self.blob_size(digest).await?.is_some() {
            return Ok(false);
        }
        let mut failures = 0;
        loop {
            match self.upload_once(digest, size, file, &sent).await {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Internal => {
                    failures += 1;
                    if failures >= ATTEMPTS {
                        return Err(error);
                    }
                    tracing::debug!(%digest, error = error.full(), "an upload begins again");
                    tokio::time::sleep((FIRST_PAUSE * 2u32.pow(failures)).min(MAX_PAUSE)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Begins an upload, streams the file in one request, or in several where that is too large, and closes it with the
    /// digest.
    async fn upload_once(&self, digest: &Digest, size: u64, file: &File, sent: &Sent) -> Result<()> {
        let doing = format!("upload the blob {digest} to {}", self.name());
        let response = self.send(&self.call(Method::POST, "blobs/uploads/", "pull,push")).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.failure(response, &doing).await);
        }
        let mut location = self.location(&response)?;
        // One PATCH that is not repeated by itself: a body that broke off is asked about, not sent blindly.
        let mut offset = 0;
        let mut failures = 0;
        while offset < size {
            let chunk = self.chunk();
            let end = chunk.map_or(size, |chunk| size.min(offset + chunk));
            let make = || body_from(file, offset, end, sent);
            let mut call = Call::new(Method::PATCH, location.clone(), self.scope("pull,push"));
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let range = HeaderValue::from_str(&format!("{offset}-{}", end - 1));
            call.headers.insert(
                CONTENT_RANGE,
                range.map_err(|e| Error::wrap(ErrorKind::Internal, "make a range", e))?,
            );
            call.body = &make;
            let error = match self.client.send_authorised(&self.registry, &self.credentials, &call).await {
                Ok((response, _)) if response.status() == StatusCode::ACCEPTED => {
                    location = self.location(&response)?;
                    offset = end;
                    continue;
                }
                Ok((response, _)) if is_too_large(&response) && self.shrink(chunk, response.headers()) => {
                    continue;
                }
                Ok((response, _)) => self.failure(response, &doing).await,
                Err(error) => error,
            };
            failures += 1;
            if failures >= ATTEMPTS || error.kind() != ErrorKind::Internal {
                return Err(error);
            }
            let status =
                self.send(&Call::new(Method::GET, location.clone(), self.scope("pull,push"))).await?;
            if status.status() != StatusCode::NO_CONTENT {
                return Err(error);
            }
            offset = upload_offset(status.headers()).filter(|o| *o <= size).unwrap_or(0);
            location = self.location(&status)?;
        }
        self.close_upload(&location, digest, &doing).await
    }

    /// Uploads a blob that is made while it is sent, and returns its digest. When the transfer breaks it is made anew:
    /// it has to be the same each time.
    ///
    /// # Errors
    /// As for all requests; those of making it.
    pub async fn upload_made(&self, made: &(dyn Fn() -> Made + Sync)) -> Result<(Digest, u64)> {
        let mut failures = 0;
        loop {
            match self.upload_made_once(made).await {
                Err(error) if error.kind() == ErrorKind::Internal => {
                    failures += 1;
                    if failures >= ATTEMPTS {
                        return Err(error);
                    }
                    tracing::debug!(error = error.full(), "an upload begins again");
                    tokio::time::sleep((FIRST_PAUSE * 2u32.pow(failures)).min(MAX_PAUSE)).await;
                }
                result => return result,
            }
        }
    }

    /// The same piece by piece.
    async fn upload_made_in_chunks(
        &self,
        made: Made,
        location: String,
        doing: &str,
    ) -> Result<(Digest, u64)> {
        let Made { mut pieces, digest } = made;
        let (mut location, mut offset, mut held) = (location, 0u64, BytesMut::new());
        let mut ended = false;
        loop {
            let chunk = self.chunk();
            let wanted = usize::try_from(chunk.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            while !ended && held.len() < wanted {
                match pieces.recv().await {
                    Some(Ok(piece)) => held.extend_from_slice(&piece),
                    Some(Err(e)) => return Err(Error::wrap(ErrorKind::Internal, doing, e)),
                    None => ended = true,
                }
            }
            if held.is_empty() {
                break;
            }
            let part = Bytes::copy_from_slice(&held[..held.len().min(wanted)]);
            let make = || bytes_body(&part);
            let mut call = Call::new(Method::PATCH, location.clone(), self.scope("pull,push"));
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let range = HeaderValue::from_str(&format!("{offset}-{}", offset + part.len() as u64 - 1));
            let range = range.map_err(|e| Error::wrap(ErrorKind::Internal, "make a range", e))?;
            call.headers.insert(CONTENT_RANGE, range);
            call.body = &make;
            let (response, _) = self.client.send_authorised(&self.registry, &self.credentials, &call).await?;
            if response.status() == StatusCode::ACCEPTED {
                location = self.location(&response)?;
                offset += part.len() as u64;
                drop(held.split_to(part.len()));
            } else if !(is_too_large(&response) && self.shrink(chunk, response.headers())) {
                return Err(self.failure(response, doing).await);
            }
        }
        let broken = |_| Error::internal(format!("{doing}: it could not be made to its end"));
        let (digest, size) = digest.await.map_err(broken)?;
        self.close_upload(&location, &digest, doing).await?;
        Ok((digest, size))
    }

    async fn upload_made_once(&self, made: &(dyn Fn() -> Made + Sync)) -> Result<(Digest, u64)> {
        let doing = format!("upload a layer to {}", self.name());
        let response = self.send(&self.call(Method::POST, "blobs/uploads/", "pull,push")).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.failure(response, &doing).await);
        }
        if self.chunk().is_some() {
            let location = self.location(&response)?;
            return self.upload_made_in_chunks(made(), location, &doing).await;
        }
        let end = Mutex::new(None);
        let make = || {
            let Made { pieces, digest } = made();
            *end.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
            let stream = futures_util::stream::unfold(pieces, |mut pieces| async {
                pieces.recv().await.map(|piece| (piece.map(Frame::data), pieces))
            });
            Ok((StreamBody::new(stream).boxed_unsync(), None))
        };
        let mut call = Call::new(Method::PATCH, self.location(&response)?, self.scope("pull,push"));
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.body = &make;
        let sent = self.client.send_authorised(&self.registry, &self.credentials, &call).await;
        let end = end.into_inner().unwrap_or_else(PoisonError::into_inner);
        let response = match sent {
            Ok((response, _)) if response.status() == StatusCode::ACCEPTED => response,
            Ok((response, _)) if is_too_large(&response) && self.shrink(None, response.headers()) => {
                return Err(Error::internal(format!("{doing}: it has to go in pieces")));
            }
            Ok((response, _)) => return Err(self.failure(response, &doing).await),
            Err(error) => return Err(error),
        };
        let broken = || Error::internal(format!("{doing}: it could not be made to its end"));
        let (digest, size) = end.ok_or_else(broken)?.await.map_err(|_| broken())?;
        self.close_upload(&self.location(&response)?, &digest, &doing).await?;
        Ok((digest, size))
    }

    async fn close_upload(&self, location: &str, digest: &Digest, doing: &str) -> Result<()> {
        let separator = if location.contains('?') { '&' } else { '?' };
        let target = format!("{location}{separator}digest={}", escape(digest.as_str()));
        let response = self.send(&Call::new(Method::PUT, target, self.scope("pull,push"))).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(self.failure(response, doing).await),
        }
    }

    /// Uploads bytes in memory, unless the repository has them.
    pub async fn upload_bytes(&self, content: &Bytes) -> Result<Digest> {
        let digest = Digest::sha256(content);
        if self.blob_size(&digest).await?.is_some() {
            return Ok(digest);
        }
        let doing = format!("upload the blob {digest} to {}", self.name());
        let response = self.send(&self.call(Method::POST, "blobs/uploads/", "pull,push")).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.failure(response, &doing).await);
        }
        let location = self.location(&response)?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let target = format!("{location}{separator}digest={}", escape(digest.as_str()));
        let make = || bytes_body(content);
        let mut call = Call::new(Method::PUT, target, self.scope("pull,push"));
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.body = &make;
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(digest),
            _ => Err(self.failure(response, &doing).await),
        }
    }

    /// Where an upload goes on. A path stays one, so that its scheme is found as for every other call.
    fn location(&self, response: &Response<Incoming>) -> Result<String> {
        let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        let location = location
            .ok_or_else(|| Error::internal(format!("{} began an upload without a place", self.name())))?;
        if location.starts_with('/') {
            return Ok(location.to_owned());
        }
        // Registries behind a proxy name themselves by the wrong scheme: our own way to them is known to work.
        match location.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
            Some((host, path)) if host == host_of(&self.registry) => Ok(format!("/{path}")),
            _ => Ok(absolute(&format!("https://{}", host_of(&self.registry)), location)),
        }
    }
}

fn is_too_large(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::PAYLOAD_TOO_LARGE
}

fn body_from(file: &File, offset: u64, end: u64, sent: &Sent) -> Result<(RequestBody, Option<u64>)> {
    let unreadable = |e| Error::wrap(ErrorKind::Internal, "read the blob to upload", e);
    // A descriptor of its own; the position is shared, so one upload of a file runs at a time.
    let mut file = file.try_clone().map_err(unreadable)?;
    file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
    let part = tokio::fs::File::from_std(file).take(end - offset);
    let stream = tokio_util::io::ReaderStream::with_capacity(part, CHUNK);
    let sent = Arc::clone(sent);
    let stream = stream.inspect_ok(move |part| sent(part.len() as u64)).map_ok(Frame::data);
    Ok((StreamBody::new(stream).boxed_unsync(), Some(end - offset)))
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `Range: 0-99` of an upload: it goes on at 100.
fn upload_offset(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let (_, last) = text.strip_prefix("bytes=").unwrap_or(text).split_once('-')?;
    last.parse::<u64>().ok()?.checked_add(1)
}
