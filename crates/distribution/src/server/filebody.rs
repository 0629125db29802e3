//! A part of a file as the body of an answer.

use super::reply::Body;
use super::wire::{MAX_PART, Parts};
use bytes::Bytes;
use futures_util::stream::try_unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes read at once where they have to pass through memory, as TLS needs it.
const MAX_READ: usize = 128 << 10;

/// The bytes of a file from `start` up to, not with, `end`. With `parts` the connection sends them itself.
pub(super) fn body(file: File, start: u64, end: u64, parts: Option<Parts>) -> Body {
    let file = Arc::new(file);
    let step = if parts.is_some() { MAX_PART } else { MAX_READ };
    let stream = try_unfold(start, move |at| {
        let (file, parts) = (Arc::clone(&file), parts.clone());
        async move {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(step);
            if length == 0 {
                return Ok(None);
            }
            let next = at + length as u64;
            let bytes = match parts {
                Some(parts) => {
                    let warmed = Arc::clone(&file);
                    blocking(move || warm(&warmed, at, length)).await?;
                    parts.note(&file, at, length)?
                }
                None => blocking(move || read(&file, at, length)).await?,
            };
            Ok(Some((Frame::data(bytes), next)))
        }
    });
    StreamBody::new(stream).boxed_unsync()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Waits here for the disk, so that the thread that serves connections need not.
fn warm(file: &File, at: u64, length: usize) -> Result<()> {
    use rustix::fs::{Advice, fadvise};
    // Also what comes after it, while this part is on its way.
    let ahead = std::num::NonZeroU64::new(2 * MAX_PART as u64);
    // Advice that is not taken is no fault.
    let _ = fadvise(file, at, ahead, Advice::WillNeed);
    // The last page is there when those before it are.
    file.read_at(&mut [0], at + length as u64 - 1).map(drop)
}

fn read(file: &File, at: u64, length: usize) -> Result<Bytes> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.into())
}
