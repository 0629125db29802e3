//! How layers are kept: as tars that the kernel mounts, or unpacked.

use crate::disk::{failed, make_dir, remove_tree};
use crate::erofs::{self, Device, Root, Tree};
use crate::snapshots::{inside, merged};
use rustix::fs::OFlags;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use wharf_model::Result;
use wharf_oci::tar::{Entry, Kind, Reader, Writer};
use wharf_sys::erofs::{Backing, Mounts};

/// What becomes of a new layer. Those that are there stay as they are: a store may have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Its tar is kept, and mounted through an index.
    Mounted(Backing),
    /// Its files are extracted into a directory.
    Unpacked,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mounted(Backing::File) => "erofs",
            Self::Mounted(Backing::Loop) => "erofs-loop",
            Self::Unpacked => "unpacked",
        })
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Mounted(Backing::File), Self::Mounted(Backing::Loop), Self::Unpacked];
        all.into_iter().find(|layout| layout.to_string() == text).ok_or_else(|| {
            format!("unknown layout of layers {text:?}: erofs, erofs-loop and unpacked are known")
        })
    }
}

/// A layout with why the ones before it are not possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The first that works.
    pub layout: Layout,
    /// What failed of the others, for people.
    pub refused: Vec<String>,
}

/// Tries what the kernel and the file system of `root` can: a file of a tar is read through an overlay of its index.
///
/// # Errors
/// Of the disk.
pub fn probe(root: &Path) -> Result<Probed> {
    let scratch = root.join("probe");
    let mut refused = Vec::new();
    for backing in [Backing::File, Backing::Loop] {
        remove_tree(&scratch)?;
        make_dir(&scratch)?;
        let tried = try_backing(&scratch, backing);
        remove_tree(&scratch)?;
        match tried {
            Ok(()) => return Ok(Probed { layout: Layout::Mounted(backing), refused }),
            Err(e) => refused.push(format!("{}: {e}", Layout::Mounted(backing))),
        }
    }
    Ok(Probed { layout: Layout::Unpacked, refused })
}

const NAME: &str = "probe";
const CONTENT: &[u8] = b"content";

fn try_backing(scratch: &Path, backing: Backing) -> io::Result<()> {
    let image = make_image(scratch, backing)?;
    let below = scratch.join("below");
    std::fs::create_dir(&below)?;
    let means = merged::Means { scratch: &scratch.join("points"), mounts: &Mounts::default() };
    let root = merged::view(&[image, below], &means)?;
    let file = inside::open(&root, NAME.as_bytes(), OFlags::RDONLY)?;
    let mut content = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(file), &mut content)?;
    if content != CONTENT {
        return Err(io::Error::other("a file read through an index has another content"));
    }
    Ok(())
}

fn make_image(scratch: &Path, backing: Backing) -> io::Result<PathBuf> {
    let mut writer = Writer::new(Vec::new());
    writer.file(&Entry::new(Kind::File, NAME), CONTENT).map_err(io::Error::other)?;
    let tar = writer.finish().map_err(io::Error::other)?;
    std::fs::write(scratch.join("tar"), &tar)?;
    let layer = erofs::scan(&mut Reader::new(&tar[..]), Root::default(), 0, erofs::Content::There);
    let tree: Tree = layer.map_err(io::Error::other)?.tree;
    let devices = [Device { tag: "tar".to_owned(), size: tar.len() as u64 }];
    let image = scratch.join("index").with_extension(backing.extension());
    std::fs::write(&image, erofs::write(&tree, &devices, false)?)?;
    Ok(image)
}

/// The start of the machine that the indexes were made in, as a text.
pub(super) fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    std::fs::read_to_string(path).map_err(|e| failed("read", path, e))
}
