//! Blobs as files: `blobs/<algorithm>/<hex>`, written in `ingest/`.

use crate::disk::{failed, link_or_copy, located, make_dir, sync_dir};
use ring::digest::{Context, SHA256};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use wharf_failpoint::failpoint;
use wharf_model::blobs::{Blobs, Ingest, mismatch};
use wharf_model::{Error, Result};
use wharf_oci::digest::Digest;

/// Bytes read at once when a resumed or a SHA-512 ingest is hashed.
const CHUNK: usize = 1 << 18;

/// The `Blobs` seam on a directory.
pub struct FileBlobs {
    blobs: PathBuf,
    ingests: PathBuf,
    /// Blobs of another store, which are linked rather than kept twice.
    beside: Option<PathBuf>,
}

impl FileBlobs {
    /// Opens the store below `root`, made if it is not there.
    pub fn open(root: &Path) -> Result<Self> {
        let (blobs, ingests) = (root.join("blobs"), root.join("ingest"));
        for dir in [blobs.join("sha256"), blobs.join("sha512"), ingests.clone()] {
            make_dir(&dir)?;
        }
        Ok(Self { blobs, ingests, beside: None })
    }

    /// The same store beside another on the same file system: a blob that the other has gets a second name, and no
    /// second copy. Each store removes its own names only.
    pub fn beside(mut self, other: &Path) -> Self {
        self.beside = Some(other.join("blobs"));
        self
    }

    /// Removes ingests that nobody writes: what broken transfers and crashes left. Those of a `resumed` kind (the first
    /// word of the name) only when they were last written longer ago than `age`.
    pub fn sweep(&self, resumed: &str, age: Duration) -> Result<()> {
        let unreadable = |e| failed("list", &self.ingests, e);
        for entry in std::fs::read_dir(&self.ingests).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let Ok(file) = File::open(&path) else { continue };
            let modified =
                file.metadata().and_then(|m| m.modified()).map_err(|e| failed("stat", &path, e))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let old = !name.starts_with(&format!("{resumed}-"))
                || SystemTime::now().duration_since(modified).is_ok_and(|d| d >= age);
            if old && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.algorithm()).join(digest.hex())
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", path, e)),
        _ => Ok(()),
    }
}

impl Blobs for FileBlobs {
    fn ingest(&self, name: &str) -> Result<Box<dyn Ingest>> {
        // A name may hold anything; a file's name may not.
        let kind: String = name.chars().take_while(char::is_ascii_alphabetic).take(16).collect();
        let path = self.ingests.join(format!("{kind}-{}", Digest::sha256(name.as_bytes()).hex()));
        loop {
            let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
            let file = file.map_err(|e| failed("open", &path, e))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(Error::conflict(format!(
                        "the ingest {name:?} is being written by another transfer"
                    )));
                }
                Err(e) => return Err(failed("lock", &path, e)),
            }
            // The last writer may have moved or removed the file between our open and our lock.
            let held = file.metadata().map_err(|e| failed("stat", &path, e))?.ino();
            if std::fs::symlink_metadata(&path).is_ok_and(|m| m.ino() == held) {
                let mut ingest = FileIngest {
                    file,
                    path,
                    blobs: self.blobs.clone(),
                    beside: self.beside.clone(),
                    hash: Context::new(&SHA256),
                    offset: 0,
                    keep: false,
                };
                ingest.catch_up()?;
                return Ok(Box::new(ingest));
            }
        }
    }

    fn open(&self, digest: &Digest) -> Result<File> {
        let path = self.path(digest);
        File::open(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("no blob {digest}")),
            _ => failed("open", &path, e),
        })
    }

    fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("stat", &path, e)),
        }
    }

    fn adopt(&self, digest: &Digest, file: &File) -> Result<()> {
        static ATTEMPT: AtomicU64 = AtomicU64::new(0);
        let attempt = ATTEMPT.fetch_add(1, Ordering::Relaxed);
        // What a crash leaves, `sweep` removes.
        let part = self.ingests.join(format!("adopt-{attempt}-{}", digest.hex()));
        remove_file(&part)?;
        link_or_copy(file, &part)?;
        File::open(&part).and_then(|part| part.sync_all()).map_err(|e| failed("sync", &part, e))?;
        let target = self.path(digest);
        let named = std::fs::rename(&part, &target).map_err(|e| failed("rename to", &target, e));
        // A rename to another name of the same file does nothing.
        remove_file(&part)?;
        named?;
        target.parent().map_or(Ok(()), sync_dir)
    }

    fn remove(&self, digest: &Digest) -> Result<()> {
        remove_file(&self.path(digest))
    }

    fn list(&self) -> Result<Vec<(Digest, u64)>> {
        let mut found = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let dir = self.blobs.join(algorithm);
            let unreadable = |e| failed("list", &dir, e);
            for entry in std::fs::read_dir(&dir).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let name = entry.file_name();
                // Anything else is not ours, and not touched.
                if let Ok(digest) = format!("{algorithm}:{}", name.to_string_lossy()).parse() {
                    found.push((
                        digest,
                        entry.metadata().map_err(|e| failed("stat", &entry.path(), e))?.len(),
                    ));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

struct FileIngest {
    file: File,
    path: PathBuf,
    blobs: PathBuf,
    beside: Option<PathBuf>,
    hash: Context,
    offset: u64,
    keep: bool,
}

impl FileIngest {
    /// Hashes what an earlier attempt left, and stands at its end.
    fn catch_up(&mut self) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match self.file.read(&mut buffer).map_err(|e| failed("read", &self.path, e))? {
                0 => return Ok(()),
                n => {
                    self.hash.update(&buffer[..n]);
                    self.offset += n as u64;
                }
            }
        }
    }

    fn digest(&mut self, algorithm: Option<&str>) -> Result<Digest> {
        if algorithm != Some("sha512") {
            return Ok(Digest::from_sha256(self.hash.clone().finish().as_ref()));
        }
        self.file.rewind().map_err(|e| failed("rewind", &self.path, e))?;
        Digest::of_stream(&self.file, &Digest::sha512(b"")).map_err(|e| failed("read", &self.path, e))
    }
}

impl FileIngest {
    /// Gives the other store's file a name here, where that store has the same and is on the same disk. The name of
    /// what was written is never one of that file: who resumes an ingest writes to it.
    fn adopt(&self, digest: &Digest, target: &Path) -> bool {
        let Some(beside) = &self.beside else { return false };
        let there = beside.join(digest.algorithm()).join(digest.hex());
        if !std::fs::metadata(&there).is_ok_and(|m| m.is_file() && m.len() == self.offset) {
            return false;
        }
        let link = self.path.with_extension("link");
        // Another disk, too many names, gone meanwhile: what was written is as good.
        let linked = std::fs::hard_link(&there, &link).and_then(|()| std::fs::rename(&link, target));
        // Also after a success: rename(2) leaves both names of one file.
        let _ = std::fs::remove_file(&link);
        linked.is_ok()
    }
}

impl Write for FileIngest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes).map_err(|e| located("write", &self.path, e))?;
        self.hash.update(&bytes[..n]);
        self.offset += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Ingest for FileIngest {
    fn offset(&self) -> u64 {
        self.offset
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|e| failed("truncate", &self.path, e))?;
        self.file.seek(SeekFrom::Start(0)).map_err(|e| failed("rewind", &self.path, e))?;
        self.hash = Context::new(&SHA256);
        self.offset = 0;
        Ok(())
    }

    fn reader(&self) -> Result<File> {
        File::open(&self.path).map_err(|e| failed("open", &self.path, e))
    }

    fn keep(mut self: Box<Self>) -> Result<()> {
        self.keep = true;
        Ok(())
    }

    fn commit(mut self: Box<Self>, expected: Option<&Digest>) -> Result<Digest> {
        let digest = self.digest(expected.map(Digest::algorithm))?;
        if let Some(expected) = expected
            && *expected != digest
        {
            return Err(mismatch(expected, &digest));
        }
        let dir = self.blobs.join(digest.algorithm());
        let target = dir.join(digest.hex());
        failpoint!("blob.whole");
        if !self.adopt(&digest, &target) {
            self.file.sync_all().map_err(|e| failed("sync", &self.path, e))?;
            failpoint!("blob.synced");
            std::fs::rename(&self.path, &target).map_err(|e| failed("rename to", &target, e))?;
            self.keep = true;
        }
        failpoint!("blob.named");
        sync_dir(&dir)?;
        Ok(digest)
    }
}

impl Drop for FileIngest {
    fn drop(&mut self) {
        if !self.keep {
            // Left behind by a failure here, it is what `sweep` removes.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Temporary(
        FileBlobs,
        #[expect(dead_code, reason = "removes the directory when dropped")] tempfile::TempDir,
    );

    impl Blobs for Temporary {
        fn ingest(&self, name: &str) -> Result<Box<dyn Ingest>> {
            self.0.ingest(name)
        }
        fn open(&self, digest: &Digest) -> Result<File> {
            self.0.open(digest)
        }
        fn size(&self, digest: &Digest) -> Result<Option<u64>> {
            self.0.size(digest)
        }
        fn adopt(&self, digest: &Digest, file: &File) -> Result<()> {
            self.0.adopt(digest, file)
        }
        fn remove(&self, digest: &Digest) -> Result<()> {
            self.0.remove(digest)
        }
        fn list(&self) -> Result<Vec<(Digest, u64)>> {
            self.0.list()
        }
    }

    fn temporary() -> Temporary {
        let dir = tempfile::tempdir().unwrap();
        Temporary(FileBlobs::open(dir.path()).unwrap(), dir)
    }

    #[test]
    fn conforms() {
        wharf_model::blobs::conformance::suite(temporary);
    }

    #[test]
    fn what_the_store_beside_has_is_linked() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let first = FileBlobs::open(&a).unwrap();
        let second = FileBlobs::open(&b).unwrap().beside(&a);
        let digest = first.put(b"same").unwrap();
        assert_eq!(second.put(b"same").unwrap(), digest);
        second.put(b"other").unwrap();
        let ino = |blobs: &FileBlobs| blobs.open(&digest).unwrap().metadata().unwrap().ino();
        assert_eq!(ino(&first), ino(&second));
        assert_eq!(std::fs::read_dir(b.join("ingest")).unwrap().count(), 0);
        first.remove(&digest).unwrap();
        assert_eq!(second.size(&digest).unwrap(), Some(4));
    }

    #[test]
    fn a_sweep_takes_what_nobody_writes() {
        let blobs = temporary();
        let mut left = blobs.ingest("left").unwrap();
        left.write_all(b"abc").unwrap();
        left.keep().unwrap();
        let mut busy = blobs.ingest("busy").unwrap();
        busy.write_all(b"x").unwrap();
        blobs.0.sweep("left", Duration::from_secs(3600)).unwrap();
        assert_eq!(blobs.ingest("left").unwrap().offset(), 3);
        blobs.0.sweep("other", Duration::from_secs(3600)).unwrap();
        assert_eq!(blobs.ingest("left").unwrap().offset(), 0);
        assert_eq!(busy.commit(None).unwrap(), Digest::sha256(b"x"));
    }
}
