//! Downloads of blobs: resumed, from mirrors, from other addresses.

use super::Repository;
use super::answer::piece;
use super::blobs::content_length;
use super::{ATTEMPTS, FIRST_PAUSE, MAX_PAUSE};
use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::mpsc;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::manifest::Descriptor;

/// An attempt that brought this much counts as a success: only a registry that sends next to nothing is given up.
const WORTHWHILE: u64 = 1 << 20;

/// Where a download stands.
struct Way<'a> {
    digest: &'a Digest,
    size: u64,
    offset: u64,
    /// Whether the registry is asked for what is missing only; one that answers another part is asked for all.
    by_range: bool,
    out: &'a mpsc::Sender<Bytes>,
}

impl<'a> Way<'a> {
    fn new(blob: &'a Descriptor, offset: u64, out: &'a mpsc::Sender<Bytes>) -> Self {
        Self { digest: &blob.digest, size: blob.size, offset, by_range: true, out }
    }

    fn is_done(&self) -> bool {
        self.offset >= self.size || self.out.is_closed()
    }

    /// Takes a piece after those before it. `false` when nobody wants it any more.
    async fn take(&mut self, data: Bytes, skip: &mut u64) -> Result<bool> {
        let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(data.len());
        *skip -= skipped as u64;
        let data = data.slice(skipped..);
        if self.offset + data.len() as u64 > self.size {
            return Err(Error::invalid(format!(
                "the registry sent more for blob {} than the {} bytes promised",
                self.digest, self.size
            )));
        }
        self.offset += data.len() as u64;
        Ok(data.is_empty() || self.out.send(data).await.is_ok())
    }
}

impl Repository {
    /// Downloads a blob from byte `start` on into a channel, from mirrors that have it or else from the registry. A
    /// transfer that breaks goes on where it stopped; more bytes than `size` are refused. The receiver verifies the
    /// digest. Ends without error when the receiver is gone.
    pub async fn download(&self, blob: &Descriptor, start: u64, out: &mpsc::Sender<Bytes>) -> Result<()> {
        let mut way = Way::new(blob, start, out);
        for mirror in self.mirrors() {
            match mirror.download_once(&mut way).await {
                Ok(()) => return Ok(()),
                Err(error) => mirror.disappoints(&error),
            }
            way.by_range = true;
        }
        self.download_rest(blob, &mut way).await
    }

    /// The same from the registry alone, whatever its mirrors have. A layer that registries need not hold is taken from
    /// the addresses its descriptor names when this one does not.
    pub async fn download_upstream(
        &self,
        blob: &Descriptor,
        start: u64,
        out: &mpsc::Sender<Bytes>,
    ) -> Result<()> {
        self.download_rest(blob, &mut Way::new(blob, start, out)).await
    }

    async fn download_rest(&self, blob: &Descriptor, way: &mut Way<'_>) -> Result<()> {
        match self.download_own(way).await {
            Err(error) if error.kind() == ErrorKind::NotFound && blob.is_foreign() => {
                self.download_foreign(blob, way, error).await
            }
            result => result,
        }
    }

    async fn download_own(&self, way: &mut Way<'_>) -> Result<()> {
        let mut failures = 0;
        while !way.is_done() {
            let before = way.offset;
            let error = match self.download_once(way).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Internal => error,
                Err(error) => return Err(error),
            };
            failures = if way.offset - before >= WORTHWHILE { 1 } else { failures + 1 };
            if failures >= ATTEMPTS {
                return Err(error);
            }
            tracing::debug!(digest = %way.digest, way.offset, error = error.full(), "a download goes on");
            tokio::time::sleep((FIRST_PAUSE * 2u32.pow(failures)).min(MAX_PAUSE)).await;
        }
        Ok(())
    }

    /// One request's worth. Without error all is there, or nobody wants it any more.
    async fn download_once(&self, way: &mut Way<'_>) -> Result<()> {
        if way.is_done() {
            return Ok(());
        }
        let (digest, size) = (way.digest, way.size);
        let mut call = self.call(Method::GET, &format!("blobs/{digest}"), "pull");
        if way.offset > 0 && way.by_range {
            let range = HeaderValue::from_str(&format!("bytes={}-", way.offset));
            call.headers
                .insert(RANGE, range.map_err(|e| Error::wrap(ErrorKind::Internal, "make a range", e))?);
        }
        let response = self.send(&call).await?;
        // A registry that does not know ranges sends all of it again.
        let start = match response.status() {
            StatusCode::OK => Some(0),
            StatusCode::PARTIAL_CONTENT => {
                range_start(response.headers()).filter(|start| *start <= way.offset)
            }
            StatusCode::RANGE_NOT_SATISFIABLE if way.by_range => None,
            _ => {
                return Err(self
                    .failure(response, &format!("get the blob {digest} of {}", self.name()))
                    .await);
            }
        };
        let Some(start) = start else {
            way.by_range = false;
            return Err(Error::internal(format!(
                "the registry sent another part of blob {digest} than was asked for"
            )));
        };
        if let Some(length) = content_length(response.headers()).filter(|length| start + length != size) {
            return Err(Error::invalid(format!(
                "the registry says that blob {digest} has {} bytes, the manifest {size}",
                start + length
            )));
        }
        let mut skip = way.offset - start;
        let mut body = response.into_body();
        let doing = format!("read the blob {digest}");
        while let Some(data) = piece(&mut body, self.client.silence, &doing).await? {
            if !way.take(data, &mut skip).await? {
                return Ok(());
            }
        }
        if way.is_done() {
            return Ok(());
        }
        Err(Error::internal(format!("the registry ended blob {digest} at byte {} of {size}", way.offset)))
    }

    async fn download_foreign(&self, blob: &Descriptor, way: &mut Way<'_>, absent: Error) -> Result<()> {
        let mut problem = absent;
        for url in &blob.urls {
            match self.download_from(url, way).await {
                Ok(()) => return Ok(()),
                Err(error) => problem = Error::wrap(error.kind(), format!("get a layer from {url}"), error),
            }
        }
        Err(problem)
    }

    async fn download_from(&self, url: &str, way: &mut Way<'_>) -> Result<()> {
        let document = self.client.fetch(url).await?;
        let mut pieces = std::pin::pin!(document.into_stream());
        let mut skip = way.offset;
        while let Some(data) = pieces.next().await {
            let data = data.map_err(|e| Error::wrap(ErrorKind::Internal, "read it", e))?;
            if !way.take(data, &mut skip).await? {
                return Ok(());
            }
        }
        if way.is_done() { Ok(()) } else { Err(Error::internal("it ended early")) }
    }
}

fn range_start(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}
