//! A directory of the user's program as a build context.

use crate::caller::Caller;
use crate::error::{failure, status};
use http::{HeaderName, HeaderValue};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use wharf_build::Context;
use wharf_build::context::{Gather, Place};
use wharf_engine::transfer;
use wharf_grpc::fsutil::{FileKind, Piece, parse_mode, receive};
use wharf_grpc::proto::files::Stat;
use wharf_grpc::proto::session::FILE_SYNC;
use wharf_grpc::{HeaderMap, Status};
use wharf_model::{Error, Result};
use wharf_oci::tar::{Entry, Kind, Timestamp};

/// Pieces on their way to the disk: 2 MiB of fsutil's 32 KiB.
const AHEAD: usize = 64;

/// What of a directory is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// The name that the client gave it.
    pub(crate) name: String,
    /// What is left out, in the words of `.dockerignore`.
    pub(crate) exclude: Vec<String>,
    /// Only these, and what links of that name lead to; everything when empty.
    pub(crate) follow: Vec<String>,
}

impl Wanted {
    fn metadata(&self) -> Result<HeaderMap, Status> {
        let mut headers = HeaderMap::new();
        for (name, values) in [
            ("dir-name", std::slice::from_ref(&self.name)),
            ("exclude-patterns", &self.exclude),
            ("followpaths", &self.follow),
        ] {
            let is_encoded = !values.iter().all(|value| value.is_ascii());
            for value in values {
                let value = if is_encoded { escaped(value) } else { value.clone() };
                let value = HeaderValue::try_from(value)
                    .map_err(|_| Status::invalid(format!("{name}: there is a control character in it")))?;
                headers.append(HeaderName::from_static(name), value);
            }
            if is_encoded {
                let name = format!("{name}-encoded");
                let name = HeaderName::try_from(name).map_err(|e| Status::invalid(e.to_string()))?;
                headers.insert(name, HeaderValue::from_static("1"));
            }
        }
        Ok(headers)
    }
}

/// As Go escapes a query: everything but letters, digits and `-_.~`.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Receives it, but for the content of files that `base` has; `progress` hears of the bytes so far. Returns how many there were.
pub(crate) async fn directory(
    caller: &Arc<Caller>,
    wanted: &Wanted,
    base: Option<Arc<Context>>,
    scratch: PathBuf,
    mut progress: impl FnMut(u64) + Send + 'static,
) -> Result<(Context, u64), Status> {
    let (requests, messages) = caller.stream(FILE_SYNC, wanted.metadata()?)?;
    let (sender, pieces) = mpsc::channel(AHEAD);
    let known = base.clone();
    let keeping = transfer::run(move || keep(pieces, base, &scratch, &mut progress));
    let is_wanted = |stat: &Stat| {
        let has = |base: &Arc<Context>| matches!(entry(stat.clone()), Ok(Some(entry)) if base.has(&entry));
        !known.as_ref().is_some_and(has)
    };
    let (received, kept) = tokio::join!(receive(requests, messages, sender, is_wanted), keeping);
    // What could not be kept broke the receiving off, too.
    let kept = kept.and_then(|kept| kept).map_err(|e| status(&e));
    match (received, kept) {
        (Ok(()), kept) => kept,
        (Err(_), Err(why)) => Err(why),
        (Err(why), Ok(_)) => Err(status(&failure(&format!("load the directory {:?}", wanted.name), why))),
    }
}

fn keep(
    mut pieces: mpsc::Receiver<Piece>,
    base: Option<Arc<Context>>,
    scratch: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(Context, u64)> {
    let mut gather = match base {
        Some(base) => Gather::after(base),
        None => Gather::new(scratch)?,
    };
    let mut places: HashMap<u32, Place> = HashMap::new();
    let mut bytes = 0;
    let unknown = || Error::invalid("content came of a file that was left out");
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::File(id, stat) => {
                bytes += stat.path.len() as u64;
                if let Some(entry) = entry(stat)? {
                    places.insert(id, gather.add(entry)?);
                }
            }
            Piece::Data(id, data) => {
                bytes += data.len() as u64;
                gather.write(places.get_mut(&id).ok_or_else(unknown)?, &data)?;
            }
            Piece::End(id) => gather.close(&places.remove(&id).ok_or_else(unknown)?),
        }
        progress(bytes);
    }
    Ok((gather.finish(), bytes))
}

/// `None` for what no image has: sockets, and what is nothing in particular.
pub(crate) fn entry(stat: Stat) -> Result<Option<Entry>> {
    let (kind, mode) = parse_mode(stat.mode);
    let kind = match kind {
        FileKind::File if stat.linkname.is_empty() => Kind::File,
        FileKind::File => Kind::HardLink,
        FileKind::Directory => Kind::Directory,
        FileKind::Symlink => Kind::Symlink,
        FileKind::Fifo => Kind::Fifo,
        FileKind::CharDevice => Kind::Char,
        FileKind::BlockDevice => Kind::Block,
        FileKind::Socket | FileKind::Irregular => return Ok(None),
    };
    let number = |number: i64| u32::try_from(number);
    let refused = |_| Error::invalid(format!("refuse the context's entry {:?}: a number in it", stat.path));
    let size = if kind == Kind::File { u64::try_from(stat.size).map_err(refused)? } else { 0 };
    Ok(Some(Entry {
        mode,
        link: stat.linkname.into_bytes(),
        size,
        mtime: Timestamp {
            seconds: stat.modified_ns.div_euclid(1_000_000_000),
            nanos: u32::try_from(stat.modified_ns.rem_euclid(1_000_000_000)).unwrap_or_default(),
        },
        device: (number(stat.device_major).map_err(refused)?, number(stat.device_minor).map_err(refused)?),
        xattrs: stat.xattrs.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect(),
        ..Entry::new(kind, stat.path.as_bytes())
    }))
}

#[cfg(test)]
mod tests;
