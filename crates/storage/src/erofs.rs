//! EROFS indexes: images that name every file of one or more layers, and point into the layers' tars for their content.
//!
//! A layer's tar has each file's content in one piece that begins at a multiple of 512 bytes, so one *chunk* of EROFS
//! describes it, and the kernel reads files right from the tar. What is in no such piece, sparse files, lies in a second
//! file beside the tar. Both are *extra devices* of the image; their tags are their paths, relative to the image's own.
//!
//! ```text
//! tar ──scan──▶ Tree ──merge──▶ Tree ──write──▶ index
//! ```
//!
//! On-disk format: Linux, fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst.

mod compare;
mod merge;
mod scan;
mod tree;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use compare::Compared;
pub(crate) use merge::merge;
pub(crate) use scan::{Content, TarFile, scan};
pub(crate) use tree::{MAX_INODES, Root, Tree};
pub(crate) use write::{Device, write};

/// Bytes of a block: a tar's, so that blocks of the tar are blocks of a device.
pub(crate) const BLOCK: u64 = 512;
