//! The files of a log: the one in use, and rotated ones, plain or compressed, as a monitor leaves them.

use flate2::read::GzDecoder;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How often the files are listed anew because one was rotated meanwhile; a rotation is rare beside it.
const ATTEMPTS: usize = 100;
const BUFFER: usize = 64 * 1024;

/// Which file of a log it is, also when it was compressed since: inode and time of the last change of what was written
/// to. The time of a file in use changes; its number is not given out again while it is held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    number: u64,
    changed_ns: i128,
}

impl Identity {
    fn of(found: &Metadata) -> Self {
        let changed_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        Self { number: found.ino(), changed_ns }
    }

    /// From the comment that a monitor writes.
    fn parse(comment: &[u8]) -> Option<Self> {
        let (number, changed) = std::str::from_utf8(comment).ok()?.split_once(' ')?;
        Some(Self { number: number.parse().ok()?, changed_ns: changed.parse().ok()? })
    }
}

/// One open file.
struct Source {
    identity: Identity,
    /// Of a plain file, whose identity may change.
    file: Option<File>,
    input: Box<dyn BufRead + Send>,
}

impl Source {
    fn identity(&self) -> io::Result<Identity> {
        match &self.file {
            Some(file) => Ok(Identity::of(&file.metadata()?)),
            None => Ok(self.identity),
        }
    }
}

/// Where reading stands: oldest file first, then the one in use, then those that replace it.
pub(super) struct Lines {
    base: PathBuf,
    /// Files yet to be read, the newest first.
    waiting: Vec<Source>,
    current: Option<Source>,
    /// The file in use was rotated away: what is read of it now is its last.
    last_round: bool,
    partial: Vec<u8>,
    /// Files that were dropped before they were read.
    pub(super) missed: bool,
}

impl Lines {
    pub(super) fn open(base: PathBuf) -> io::Result<Self> {
        let waiting = open_all(&base)?;
        let partial = Vec::new();
        Ok(Self { base, waiting, current: None, last_round: false, partial, missed: false })
    }

    /// The next whole line with its end; `None` at the end of what is there now.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(source) = &mut self.current else {
                self.current = self.waiting.pop();
                self.partial.clear();
                match self.current {
                    Some(_) => continue,
                    None => self.waiting = open_all(&self.base)?,
                }
                if self.waiting.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            source.input.read_until(b'\n', &mut self.partial)?;
            if self.partial.ends_with(b"\n") {
                return Ok(Some(std::mem::take(&mut self.partial)));
            }
            let identity = source.identity()?;
            if !self.waiting.is_empty() || self.last_round {
                if std::mem::take(&mut self.last_round) {
                    self.waiting = self.newer_than(identity)?;
                }
                self.current = None;
            } else if number_of(&self.base)?.is_some_and(|now| now != identity.number) {
                // It may have been written to between the read and the rotation.
                self.last_round = true;
            } else {
                return Ok(None);
            }
        }
    }

    fn newer_than(&mut self, identity: Identity) -> io::Result<Vec<Source>> {
        let mut all = open_all(&self.base)?;
        match all.iter().position(|source| source.identity == identity) {
            Some(at) => all.truncate(at),
            None => self.missed = true,
        }
        Ok(all)
    }
}

fn number_of(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// All files, the newest first. A rotation in between shifts the names: then they are listed again.
fn open_all(base: &Path) -> io::Result<Vec<Source>> {
    let mut found: Vec<Source> = Vec::new();
    for _ in 0..ATTEMPTS {
        found.clear();
        let before = number_of(base)?;
        for n in 0..=highest(base)? {
            if let Some(source) = open_one(base, n)?
                && found.iter().all(|other| other.identity != source.identity)
            {
                found.push(source);
            }
        }
        if number_of(base)? == before {
            break;
        }
    }
    Ok(found)
}

/// The highest number of a rotated file; 0 without one.
fn highest(base: &Path) -> io::Result<u32> {
    let (Some(directory), Some(name)) = (base.parent(), base.file_name().and_then(|n| n.to_str())) else {
        return Ok(0);
    };
    let mut highest = 0;
    for entry in std::fs::read_dir(directory)? {
        let file = entry?.file_name();
        let rest = file.to_str().and_then(|f| f.strip_prefix(name)).and_then(|f| f.strip_prefix('.'));
        let number = rest.and_then(|r| r.strip_suffix(".gz").unwrap_or(r).parse().ok());
        highest = highest.max(number.unwrap_or(0));
    }
    Ok(highest)
}

fn open_one(base: &Path, n: u32) -> io::Result<Option<Source>> {
    let plain = if n == 0 { base.to_owned() } else { base.with_added_extension(n.to_string()) };
    match File::open(&plain) {
        Ok(file) => {
            let identity = Identity::of(&file.metadata()?);
            let input = Box::new(BufReader::with_capacity(BUFFER, file.try_clone()?));
            return Ok(Some(Source { identity, file: Some(file), input }));
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Err(_) => {}
    }
    match File::open(plain.with_added_extension("gz")) {
        Ok(file) => {
            let own = Identity::of(&file.metadata()?);
            let decoder = GzDecoder::new(file);
            let comment = decoder.header().and_then(|header| header.comment());
            let identity = comment.and_then(Identity::parse).unwrap_or(own);
            let input = Box::new(BufReader::with_capacity(BUFFER, decoder));
            Ok(Some(Source { identity, file: None, input }))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn rotate(base: &Path, zip: bool) {
        for n in (0..9).rev() {
            let name = |n: u32, end: &str| {
                let plain = if n == 0 { base.to_owned() } else { base.with_added_extension(n.to_string()) };
                PathBuf::from(format!("{}{end}", plain.display()))
            };
            for end in ["", ".gz"] {
                if name(n, end).exists() {
                    std::fs::rename(name(n, end), name(n + 1, end)).unwrap();
                }
            }
        }
        let first = base.with_added_extension("1");
        if zip {
            let Identity { number, changed_ns } = Identity::of(&std::fs::metadata(&first).unwrap());
            let out = File::create(first.with_added_extension("gz")).unwrap();
            let level = flate2::Compression::fast();
            let mut encoder =
                flate2::GzBuilder::new().comment(format!("{number} {changed_ns}")).write(out, level);
            encoder.write_all(&std::fs::read(&first).unwrap()).unwrap();
            encoder.finish().unwrap();
            std::fs::remove_file(&first).unwrap();
        }
    }

    fn add(base: &Path, text: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(base).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn all(lines: &mut Lines) -> String {
        let mut text = String::new();
        while let Some(line) = lines.next().unwrap() {
            text += std::str::from_utf8(&line).unwrap();
        }
        text.replace('\n', " ")
    }

    #[test]
    fn every_line_once_whatever_is_rotated() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("x.log");
        add(&base, "a\nb\n");
        rotate(&base, true);
        add(&base, "c\n");
        rotate(&base, false);
        add(&base, "d\ne\nunfini");
        let mut lines = Lines::open(base.clone()).unwrap();
        assert_eq!(all(&mut lines), "a b c d e ");
        add(&base, "shed\n");
        rotate(&base, true);
        add(&base, "f\n");
        rotate(&base, true);
        add(&base, "g\n");
        rotate(&base, false);
        assert_eq!(all(&mut lines), "unfinished ", "there is no file in use yet");
        add(&base, "h\n");
        assert_eq!(all(&mut lines), "f g h ");
        assert!(!lines.missed);
        assert_eq!(all(&mut Lines::open(base).unwrap()), "a b c d e unfinished f g h ");
    }

    #[test]
    fn dropped_files_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("x.log");
        add(&base, "a\n");
        let mut lines = Lines::open(base.clone()).unwrap();
        assert_eq!(all(&mut lines), "a ");
        std::fs::remove_file(&base).unwrap();
        // The old number may be given out again at once: another file holds it.
        add(&directory.path().join("holder"), "");
        add(&base, "z\n");
        assert_eq!((all(&mut lines).as_str(), lines.missed), ("z ", true));
    }
}
