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
pub(super) const MAX_READ: usize = 128 << 10;

/// The bytes of a file from `start` up to, not with, `end`. With `parts` the connection sends them itself.
pub(super) fn body(file: File, start: u64, end: u64, parts: Option<Parts>) -> Body {
    let file = Arc::new(file);
    match parts {
        Some(parts) => sent(file, start, end, parts),
        None => passed(file, start, end),
    }
}

fn length(at: u64, end: u64, most: usize) -> usize {
    usize::try_from(end - at).unwrap_or(usize::MAX).min(most)
}

/// The bytes as parts that the connection sends. While one is on its way the disk is asked for the next.
fn sent(file: Arc<File>, start: u64, end: u64, parts: Parts) -> Body {
    let ready = move |at: u64| {
        let (file, length) = (Arc::clone(&file), length(at, end, MAX_PART));
        (length, tokio::task::spawn_blocking(move || warm(&file, at, length).map(|()| file)))
    };
    let first = (start < end).then(|| ready(start));
    let stream = try_unfold((start, first), move |(at, warming)| {
        let (ready, parts) = (ready.clone(), parts.clone());
        async move {
            let Some((length, warming)) = warming else { return Ok(None) };
            let file = warming.await.map_err(std::io::Error::other)??;
            let bytes = parts.note(&file, at, length)?;
            let next = at + length as u64;
            let following = (next < end).then(|| ready(next));
            Ok::<_, std::io::Error>(Some((Frame::data(bytes), (next, following))))
        }
    });
    StreamBody::new(stream).boxed_unsync()
}

/// The bytes themselves.
fn passed(file: Arc<File>, start: u64, end: u64) -> Body {
    let stream = try_unfold(start, move |at| {
        let file = Arc::clone(&file);
        async move {
            let length = length(at, end, MAX_READ);
            if length == 0 {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || read(&file, at, length));
            let bytes = read.await.map_err(std::io::Error::other)??;
            Ok::<_, std::io::Error>(Some((Frame::data(bytes), at + length as u64)))
        }
    });
    StreamBody::new(stream).boxed_unsync()
}

/// Waits here for the disk, so that the thread that serves connections need not.
fn warm(file: &File, at: u64, length: usize) -> Result<()> {
    use rustix::fs::{Advice, fadvise};
    let asked = std::num::NonZeroU64::new(length as u64);
    // Advice that is not taken is no fault.
    let _ = fadvise(file, at, asked, Advice::WillNeed);
    // The last page is there when those before it are.
    file.read_at(&mut [0], at + length as u64 - 1).map(drop)
}

pub(super) fn read(file: &File, at: u64, length: usize) -> Result<Bytes> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.into())
}
