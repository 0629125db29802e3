//! The files of an image into a directory of the client.

use super::{Export, Said};
use crate::error::status;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use wharf_build::Context;
use wharf_engine::transfer;
use wharf_grpc::Status;
use wharf_grpc::fsutil::{FileKind, Tree, go_mode, listen, send_tree};
use wharf_grpc::proto::files::{Packet, PacketType, Stat};
use wharf_grpc::proto::session::FILE_SEND;
use wharf_model::snapshots::{self, Snapshots};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::ChainId;
use wharf_oci::tar::{Entry, Kind};

impl Export<'_> {
    /// `local`.
    pub(super) async fn files(&self) -> Result<Said, Status> {
        let step = self.build.progress.step("exporting to client directory");
        let part = step.part("copying files");
        let copied = self.copy().await;
        if copied.is_ok() {
            part.done();
        }
        step.ended(copied).map(|()| Said::new())
    }

    async fn copy(&self) -> Result<(), Status> {
        let (requests, mut messages) = self.caller.stream(FILE_SEND, self.metadata())?;
        let (wanted, asked) = mpsc::unbounded_channel();
        let (store, chain) = (Arc::clone(&self.kit.builder.snapshots), self.image.chain());
        let scratch = self.kit.builder.scratch.clone();
        let sender = requests.clone();
        let sending = transfer::run(move || {
            let files = Files::of(&*store, chain.as_ref(), &scratch).map_err(|e| status(&e))?;
            send_tree(&files, &sender, asked)
        });
        let hearing = listen(&mut messages, wanted);
        let (sent, heard) = tokio::join!(sending, hearing);
        sent.map_err(|e| status(&e))??;
        heard?;
        requests.send(&Packet { kind: PacketType::Fin.into(), ..Packet::default() }).await;
        drop(requests);
        while messages.next::<Packet>().await?.is_some() {}
        Ok(())
    }
}

/// The files of an image, in the order of a walk through directories.
struct Files {
    content: Context,
    /// Each with the entry that has its content.
    list: Vec<(Stat, Entry, u64)>,
}

impl Files {
    fn of(store: &dyn Snapshots, chain: Option<&ChainId>, scratch: &Path) -> Result<Self> {
        let content = match chain {
            Some(chain) => tree(store, chain, scratch)?,
            None => Context::of_image(&[0; 1024][..], scratch)?,
        };
        let mut all: Vec<(&str, &Entry, u64)> = content.files().collect();
        all.sort_by(|(one, ..), (other, ..)| one.split('/').cmp(other.split('/')));
        let by_path: HashMap<&str, (&Entry, u64)> =
            all.iter().map(|(path, entry, at)| (*path, (*entry, *at))).collect();
        // Of a file's several names the first in this order has the content.
        let mut first: HashMap<String, &str> = HashMap::new();
        let mut list = Vec::with_capacity(all.len());
        for (path, entry, at) in &all {
            let target = match entry.kind {
                Kind::HardLink => {
                    String::from_utf8_lossy(&entry.link).trim_start_matches(['.', '/']).to_owned()
                }
                _ => (*path).to_owned(),
            };
            let (real, at) = match entry.kind {
                Kind::HardLink => by_path.get(target.as_str()).copied().unwrap_or((*entry, *at)),
                _ => (*entry, *at),
            };
            let named = match real.kind {
                Kind::File => *first.entry(target).or_insert(path),
                _ => path,
            };
            list.push((stat(path, real, named), real.clone(), at));
        }
        Ok(Self { content, list })
    }
}

fn tree(store: &dyn Snapshots, chain: &ChainId, scratch: &Path) -> Result<Context> {
    let failed = |e| Error::wrap(ErrorKind::Internal, "make a pipe", e);
    let (output, mut input) = std::io::pipe().map_err(failed)?;
    let (context, read) = std::thread::scope(|scope| {
        let reading = scope
            .spawn(move || store.read_tar(snapshots::Tree::Layer(chain), Path::new("/"), None, &mut input));
        (Context::of_image(output, scratch), reading.join())
    });
    read.map_err(|_| Error::internal("reading an image's files broke off"))??;
    context
}

fn stat(path: &str, entry: &Entry, named: &str) -> Stat {
    let kind = match entry.kind {
        Kind::File | Kind::HardLink => FileKind::File,
        Kind::Symlink => FileKind::Symlink,
        Kind::Directory => FileKind::Directory,
        Kind::Char => FileKind::CharDevice,
        Kind::Block => FileKind::BlockDevice,
        Kind::Fifo => FileKind::Fifo,
    };
    let linkname = match entry.kind {
        Kind::Symlink => String::from_utf8_lossy(&entry.link).into_owned(),
        _ if named == path => String::new(),
        _ => named.to_owned(),
    };
    let xattr =
        |(name, value): &(Vec<u8>, Vec<u8>)| (String::from_utf8_lossy(name).into_owned(), value.clone());
    Stat {
        path: path.to_owned(),
        mode: go_mode(kind, entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size.cast_signed(),
        modified_ns: entry.mtime.seconds.saturating_mul(1_000_000_000) + i64::from(entry.mtime.nanos),
        linkname,
        device_major: entry.device.0.into(),
        device_minor: entry.device.1.into(),
        xattrs: entry.xattrs.iter().map(xattr).collect(),
    }
}

impl Tree for Files {
    fn files(&self) -> Vec<Stat> {
        self.list.iter().map(|(stat, ..)| stat.clone()).collect()
    }

    fn open(&self, at: usize) -> std::io::Result<Box<dyn Read + '_>> {
        let (_, entry, place) = &self.list[at];
        Ok(Box::new(self.content.open(entry, *place).map_err(std::io::Error::other)?))
    }
}
