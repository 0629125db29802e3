//! Whether what is kept of a layer is what was stored, and putting right what is not.
//!
//! A tar is mended in place, piece by piece where it differs: its other names (equal layers, the blob) are mended with
//! it, and containers that have it mounted read the right bytes of what they have not read yet. What the kernel has in
//! memory of the damaged ones stays with their mount; containers that start later get a new one.

use super::tars::{SIDE, SYNCED, TAR, TarRecord, remove_file, sync};
use super::{DiskSnapshots, LayerRecord, make_tree, no_layer};
use crate::disk::failed;
use crate::erofs::{self, Compared, Content, TarFile};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::PoisonError;
use wharf_model::snapshots::Condition;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, Digest, Hasher};

/// Bytes that are compared at once.
const CHUNK: usize = 1 << 18;

impl DiskSnapshots {
    fn layer_record(&self, chain: &ChainId) -> Result<LayerRecord> {
        self.state().layers.get(chain).cloned().ok_or_else(|| no_layer(chain))
    }

    pub(super) fn open_tar(&self, chain: &ChainId) -> Result<Option<File>> {
        let record = self.layer_record(chain)?;
        if record.tar.is_none() {
            return Ok(None);
        }
        let path = self.tree(record.tree).join(TAR);
        File::open(&path).map(Some).map_err(|e| failed("open", &path, e))
    }

    pub(super) fn check_layer(&self, chain: &ChainId) -> Result<Condition> {
        let record = self.layer_record(chain)?;
        let Some(tar) = record.tar else {
            return Ok(match self.files(record.tree).is_dir() {
                true => Condition::Unverifiable,
                false => Condition::Content("its files are gone".to_owned()),
            });
        };
        let tree = self.tree(record.tree);
        if let Some(damage) = damage_of(&tree.join(TAR), &record.diff_id.0) {
            return Ok(Condition::Content(format!("its tar {damage}")));
        }
        if tar.side > 0 && !is_side_whole(&tree, tar)? {
            return Ok(Condition::Derived("the content of its sparse files is damaged".to_owned()));
        }
        if !self.is_index_whole(chain, &record)? {
            return Ok(Condition::Derived("its index is damaged".to_owned()));
        }
        Ok(Condition::Sound)
    }

    /// Whether the index that begins with this layer has the bytes that it would be made with now.
    fn is_index_whole(&self, chain: &ChainId, record: &LayerRecord) -> Result<bool> {
        let Some((path, piece)) = self.piece_of(chain, record)? else { return Ok(true) };
        let Ok(there) = std::fs::read(&path) else { return Ok(false) };
        // Damage further down is that layer's.
        Ok(self.image_of(&piece).map_or(true, |made| made.is_none_or(|made| made == there)))
    }

    pub(super) fn mend_layer(&self, chain: &ChainId, tar: Option<&mut dyn Read>) -> Result<()> {
        let record = self.layer_record(chain)?;
        // Nobody makes an index of what is being mended.
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let tree = self.tree(record.tree);
        match (record.tar, tar) {
            (None, None) => return Ok(()),
            (None, Some(tar)) => return self.unpack_again(&record, tar),
            (Some(_), None) => {}
            (Some(_), Some(tar)) => {
                if !tree.is_dir() {
                    make_tree(&tree, &[])?;
                }
                remove_file(&tree.join(SYNCED))?;
                rewrite(&tree.join(TAR), tar, &record.diff_id.0)?;
            }
        }
        if let Some(known) = record.tar.filter(|tar| tar.side > 0) {
            mend_side(&tree, known)?;
        }
        sync(&tree)?;
        if let Some((_, piece)) = self.piece_of(chain, &record)? {
            self.build(&piece)?;
        }
        self.forget_mounts_of(record.tree)
    }

    /// Who comes next mounts anew what shows this tree.
    fn forget_mounts_of(&self, tree: u64) -> Result<()> {
        let layers = self.state().layers.clone();
        for (chain, record) in &layers {
            if let Some((path, piece)) = self.piece_of(chain, record)?
                && piece.shows(tree)
            {
                self.mounts.forget(&path);
            }
        }
        Ok(())
    }

    /// Unpacks a layer whose files are gone.
    fn unpack_again(&self, record: &LayerRecord, tar: &mut dyn Read) -> Result<()> {
        let (tree, files) = (self.tree(record.tree), self.files(record.tree));
        if files.is_dir() {
            return Err(Error::unsupported(
                "the files of an unpacked layer cannot be told from what was stored: remove its images and pull them again",
            ));
        }
        if !tree.is_dir() {
            make_tree(&tree, &[])?;
        }
        std::fs::create_dir(&files).map_err(|e| failed("make directory", &files, e))?;
        let below = self.root_below(&self.state(), record.parent.as_ref())?;
        self.look_like(below, record.tree)?;
        self.write_layer(record.tree, &record.diff_id, tar).map(drop)
    }
}

/// What is wrong with a file that should have a digest.
fn damage_of(path: &Path, digest: &Digest) -> Option<String> {
    match File::open(path).and_then(|file| Digest::of_stream(file, digest)) {
        Ok(real) if real == *digest => None,
        Ok(real) => Some(format!("has the digest {real}")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Some("is gone".to_owned()),
        Err(e) => Some(format!("cannot be read: {e}")),
    }
}

/// Whether the content of sparse files is what the tar has.
fn is_side_whole(tree: &Path, tar: TarRecord) -> Result<bool> {
    // Gone or unreadable is not whole.
    let Ok(file) = File::open(tree.join(SIDE)) else { return Ok(false) };
    if !file.metadata().is_ok_and(|m| m.len() == tar.side) {
        return Ok(false);
    }
    let mut compared = Compared::new(&file, false);
    compare(tree, tar, &mut compared)?;
    Ok(compared.is_same())
}

/// Writes the content of sparse files anew where it is not what the tar has.
fn mend_side(tree: &Path, tar: TarRecord) -> Result<()> {
    let path = tree.join(SIDE);
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|e| failed("open", &path, e))?;
    compare(tree, tar, &mut Compared::new(&file, true))?;
    file.set_len(tar.side).and_then(|()| file.sync_all()).map_err(|e| failed("mend", &path, e))
}

fn compare(tree: &Path, tar: TarRecord, compared: &mut Compared<'_>) -> Result<()> {
    let mut reader = TarFile::open(&tree.join(TAR))?;
    erofs::scan(&mut reader, tar.root, 0, Content::Compared(compared)).map(drop)
}

/// Reads until the buffer is full or the stream ends.
fn fill(stream: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match stream.read(&mut buffer[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

/// Makes a file have what the stream gives, and writes only where it differs.
fn rewrite(path: &Path, stream: &mut dyn Read, digest: &Digest) -> Result<()> {
    let written = |e| failed("mend", path, e);
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(written)?;
    let mut hash = Hasher::like(digest);
    let (mut want, mut have) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    loop {
        let n = fill(stream, &mut want).map_err(|e| Error::wrap(ErrorKind::Internal, "read the layer", e))?;
        if n == 0 {
            break;
        }
        hash.update(&want[..n]);
        if file.read_exact_at(&mut have[..n], at).is_err() || have[..n] != want[..n] {
            file.write_all_at(&want[..n], at).map_err(written)?;
        }
        at += n as u64;
    }
    file.set_len(at).and_then(|()| file.sync_all()).map_err(written)?;
    let real = hash.finish();
    if real == *digest { Ok(()) } else { Err(wharf_model::blobs::mismatch(digest, &real)) }
}
