//! The `Snapshots` seam: file trees made of layers.
//!
//! *Layer*: a committed, immutable change set, named by its chain id (OCI image specification, "Layer
//! ChainID"). *Snapshot*: a writable tree on top of a chain of layers, named by a key of the caller (a
//! container id, a build step). Lifecycle: `unpack` makes a layer from a tar; `prepare` makes a snapshot;
//! `root` tells how to mount it; `commit` turns its changes into a layer; `remove` ends it.
//!
//! ```text
//! tar ──unpack──▶ layer ──prepare──▶ snapshot ──commit──▶ layer
//!                                       └──remove──▶ gone
//! ```
//!
//! The snapshot side never mounts for a container: it returns a [`RootMount`], a plain value that the
//! runtime makes inside the container's own mount namespace, so that no crash can leak it.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
pub mod skeleton;

use crate::error::Result;
use crate::idmap::IdMap;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use wharf_oci::digest::{ChainId, DiffId};

/// How the root file system of a container is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum RootMount {
    /// An overlay: `lower` from the top down, changes go to `upper`. What is no directory is an EROFS image to be mounted.
    Overlay {
        /// Directories and images of file systems, read-only, topmost first. Never empty.
        lower: Vec<PathBuf>,
        /// The writable directory.
        upper: PathBuf,
        /// Overlay's scratch directory, on the same file system as `upper`.
        work: PathBuf,
    },
    /// A plain directory, bind-mounted.
    Bind {
        /// The directory.
        path: PathBuf,
    },
}

/// What a layer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Names it with all the layers below it.
    pub chain_id: ChainId,
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The layer below.
    pub parent: Option<ChainId>,
    /// Bytes of file content in it.
    pub size: u64,
    /// Bytes of the tar it is kept as, which blobs and layers of the same digest share; `None` when it is unpacked.
    pub tar: Option<u64>,
    /// Bytes that are kept for it besides.
    pub own: u64,
}

/// What happened to a path, as `docker diff` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChangeKind {
    /// Content or attributes differ (0 on the wire).
    Modified,
    /// Not in the layers below (1).
    Added,
    /// Hidden by a whiteout (2).
    Deleted,
}

/// What a look at all that is kept of a layer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is what was stored.
    Sound,
    /// Its files are there; nothing tells whether they are what was stored.
    Unverifiable,
    /// What was made of its content is damaged, and can be made again; the text says what.
    Derived(String),
    /// Its content is damaged or gone.
    Content(String),
}

/// One changed path of a snapshot, absolute within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChange {
    /// What happened.
    pub kind: ChangeKind,
    /// Where, starting with `/`.
    pub path: PathBuf,
}

/// A whole file tree: what a container of it would see.
#[derive(Debug, Clone, Copy)]
pub enum Tree<'a> {
    /// A snapshot with the layers below it.
    Snapshot(&'a str),
    /// A layer with the layers below it.
    Layer(&'a ChainId),
    /// The root directory of a running container, with all that is mounted in it.
    Live(Live<'a>),
}

/// A running container's files as they are seen from the host.
#[derive(Debug, Clone, Copy)]
pub struct Live<'a> {
    /// The root directory.
    pub root: BorrowedFd<'a>,
    /// How its ids stand to the host's, when it is in a user namespace.
    pub ids: Option<&'a IdMap>,
}

/// What is at a path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// File type and permission bits, as `stat` has them.
    pub mode: u32,
    /// Bytes of content.
    pub size: u64,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Seconds since 1970 when it was changed.
    pub mtime: i64,
    /// The target, when it is a symbolic link.
    pub link: Option<PathBuf>,
}

impl PathStat {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

/// How files are put into a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Owner and group for all, instead of those in the archive.
    pub owner: Option<(u32, u32)>,
    /// Permission bits for all, instead of those in the archive; not for symbolic links.
    pub mode: Option<u32>,
    /// Refuse, as `Conflict`, to put a file where a directory is, and the other way round.
    pub keep_kinds: bool,
}

/// A layer's tar that a store has taken and verified, and that waits for its place in a chain. Dropping it forgets it.
pub struct Received {
    diff_id: DiffId,
    number: u64,
    forget: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Received {
    /// Known to its store by `number`; `forget` is called when it is dropped.
    pub fn new(diff_id: DiffId, number: u64, forget: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { diff_id, number, forget: Some(Box::new(forget)) }
    }

    /// The digest of its tar.
    pub fn diff_id(&self) -> &DiffId {
        &self.diff_id
    }

    /// What its store knows it by.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(forget) = self.forget.take() {
            forget();
        }
    }
}

/// Layers and snapshots.
///
/// Errors: `NotFound` for an absent layer or snapshot; `Conflict` for a key that exists, or a layer that
/// still has children or snapshots; `Invalid` for an archive that is malformed, hostile or of another digest
/// than promised (the message names the entry); `Internal` for the disk's failures.
/// A failed or killed operation leaves nothing visible; what it left on disk, `recover` removes.
pub trait Snapshots: Send + Sync {
    /// Makes a layer from an uncompressed tar with OCI whiteouts (OCI image specification, `layer.md`).
    /// Reads to the end of the stream; content of another digest than `diff_id` makes no layer.
    /// An entry of the root (`./`) leaves the root as it is. A layer that is already there is returned without reading.
    fn unpack(&self, parent: Option<&ChainId>, diff_id: &DiffId, tar: &mut dyn Read) -> Result<Layer>;
    /// Takes a layer's tar before it is known what it will lie on, so that several can be taken side by side. The stream is
    /// read to its end and verified also when the tar is there already. `None`, with nothing read, from a store that takes layers only in their place.
    /// Errors are those of `unpack`.
    fn receive(&self, _diff_id: &DiffId, _tar: &mut dyn Read) -> Result<Option<Received>> {
        Ok(None)
    }
    /// The same for a tar that is kept as a file that never changes, and that is known to have this digest.
    fn adopt(&self, _diff_id: &DiffId, _tar: &File) -> Result<Option<Received>> {
        Ok(None)
    }
    /// Whether `receive` takes anything.
    fn receives(&self) -> bool {
        false
    }
    /// Makes a layer of what was received.
    fn place(&self, _parent: Option<&ChainId>, _received: &Received) -> Result<Layer> {
        Err(crate::error::Error::unsupported("layers are only taken in their place"))
    }
    /// Says that a committed layer's tar is kept as this file, which never changes. A store may use it instead of the
    /// layer's own files, if nothing stands on the layer yet.
    fn settle(&self, _chain: &ChainId, _tar: &File) -> Result<()> {
        Ok(())
    }
    /// Does now what would else be done when the first snapshot is made on an image's topmost layer.
    fn ready(&self, _chain: &ChainId) -> Result<()> {
        Ok(())
    }
    /// The file that is a layer's tar, which never changes; `None` of one that is kept otherwise.
    fn tar(&self, _chain: &ChainId) -> Result<Option<File>> {
        Ok(None)
    }
    /// Reads all that is kept of a layer. What the disk refuses to read is damaged, no error.
    fn check(&self, _chain: &ChainId) -> Result<Condition> {
        Ok(Condition::Unverifiable)
    }
    /// Puts right what is damaged, also under containers that stand on the layer. `tar` is the layer's content, verified
    /// before; without it only what can be made of the content is made again.
    fn mend(&self, _chain: &ChainId, _tar: Option<&mut dyn Read>) -> Result<()> {
        Err(crate::error::Error::unsupported("this store cannot mend layers"))
    }
    /// The layer of a chain id.
    fn layer(&self, chain: &ChainId) -> Result<Option<Layer>>;
    /// Every layer.
    fn layers(&self) -> Result<Vec<Layer>>;
    /// Removes a layer that nothing stands on.
    fn remove_layer(&self, chain: &ChainId) -> Result<()>;

    /// Makes a writable snapshot over a layer, or over nothing.
    fn prepare(&self, key: &str, parent: Option<&ChainId>) -> Result<RootMount>;
    /// How to mount an existing snapshot.
    fn root(&self, key: &str) -> Result<RootMount>;
    /// How to mount the bare layer tree read-only for looking at (no snapshot needed), topmost first; see
    /// [`RootMount::Overlay`].
    fn view(&self, chain: &ChainId) -> Result<Vec<PathBuf>>;
    /// Bytes the snapshot itself holds on disk.
    fn size(&self, key: &str) -> Result<u64>;
    /// The paths that differ from the layers below, sorted.
    fn changes(&self, key: &str) -> Result<Vec<PathChange>>;
    /// Writes the snapshot's changes as an uncompressed OCI layer tar. The same content gives the same
    /// bytes.
    fn export(&self, key: &str, out: &mut dyn Write) -> Result<()>;
    /// Turns a snapshot into a layer without copying its files; the key is gone afterwards. `tar` is given
    /// the layer's uncompressed tar as it is hashed.
    fn commit(&self, key: &str, tar: &mut dyn Write) -> Result<Layer>;
    /// Removes a snapshot; nothing happens if it is absent.
    fn remove(&self, key: &str) -> Result<()>;
    /// What is at a path of a tree; the path's last component is not followed when `follow` is not set.
    /// Links are resolved within the tree. `None` when nothing is there.
    fn stat(&self, tree: Tree<'_>, path: &Path, follow: bool) -> Result<Option<PathStat>>;
    /// The content of a regular file of a tree, at most `limit` bytes of it; links are resolved within the tree.
    /// `None` when no regular file is there.
    fn read_file(&self, tree: Tree<'_>, path: &Path, limit: u64) -> Result<Option<Vec<u8>>>;
    /// Writes what is at `path` of a tree as a tar whose names begin with `path`'s last component, or with
    /// nothing for the root. Links on the way are resolved within the tree; a link at its end is archived as
    /// a link, unless the path ends with `/` or `/.`, which only a directory has. With `called` names begin with that instead. `NotFound` when nothing is there.
    fn read_tar(&self, tree: Tree<'_>, path: &Path, called: Option<&str>, out: &mut dyn Write) -> Result<()>;
    /// Puts the entries of a tar (plain files, no whiteouts) below the directory `at` of a snapshot, which is
    /// made with its parents if it is not there. Nothing outside the tree is ever touched. The snapshot must
    /// not be mounted by anyone else.
    fn write_tar(&self, key: &str, at: &Path, tar: &mut dyn Read, options: WriteOptions) -> Result<()>;
    /// Removes an empty file or an empty directory of a snapshot that is not mounted: what was made to mount something
    /// on, and that no layer below has. False when nothing, or something else, is there.
    fn remove_stub(&self, key: &str, path: &Path) -> Result<bool>;
    /// `write_tar` below the root directory of a running container, whose processes may change anything meanwhile.
    fn write_live(&self, live: Live<'_>, at: &Path, tar: &mut dyn Read, options: WriteOptions) -> Result<()>;
    /// Copies the content of the directory `path` of a tree into the empty directory `target` of the host,
    /// with all attributes, and the directory's own. Nothing happens if `path` is not a directory.
    fn populate(&self, tree: Tree<'_>, path: &Path, target: &Path) -> Result<()>;
    /// Every snapshot's key.
    fn keys(&self) -> Result<Vec<String>>;
    /// Undoes what a crash left half done. Called once, before anything else.
    fn recover(&self) -> Result<()>;
}
