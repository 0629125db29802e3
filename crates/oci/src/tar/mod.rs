//! The tar format as image layers use it: read anything that GNU tar, bsdtar, Go and Python write, write
//! one canonical form (OCI image specification, layer.md; POSIX pax; GNU tar's manual, "Tar Internals").
//!
//! Reading is strict about sizes and never trusts the archive with memory: every header that is kept whole
//! has a named bound.

mod header;
mod pax;
mod read;
mod sparse;
mod write;

pub use read::Reader;
pub use write::Writer;

/// Bytes of a block: headers are one, content is padded to a multiple.
pub const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A stretch of a sparse file that is in the archive; the rest reads as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file, bytes.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// A moment: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// One entry's header, all extensions applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as written: any bytes but 0.
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When it was changed.
    pub mtime: Timestamp,
    /// Bytes of the file, holes included; 0 for anything but files.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the content goes, when the file is sparse.
    pub sparse: Option<Vec<Segment>>,
}

impl Entry {
    /// An entry of a kind and a name, all else zero.
    pub fn new(kind: Kind, path: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            link: Vec::new(),
            kind,
            mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            size: 0,
            device: (0, 0),
            xattrs: Vec::new(),
            sparse: None,
        }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// Why an archive could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream below failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The archive ends in the middle of something.
    #[error("the archive is cut off at byte {at}")]
    Truncated {
        /// Position in the archive.
        at: u64,
    },
    /// A block that should be a header is none.
    #[error("not a tar header at byte {at}: {why}")]
    Header {
        /// Position in the archive.
        at: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An entry of a kind that no file system has.
    #[error("entry {path:?} has the unsupported type {kind:?}")]
    Kind {
        /// The entry.
        path: String,
        /// Its type byte.
        kind: char,
    },
    /// An extension that is malformed or over its bound.
    #[error("bad extended header before byte {at}: {why}")]
    Extension {
        /// Position in the archive.
        at: u64,
        /// What is wrong with it.
        why: &'static str,
    },
}

#[cfg(test)]
mod tests;
