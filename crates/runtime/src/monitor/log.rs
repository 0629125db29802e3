//! The container's log in Docker's json-file format: one JSON object a line.

use crate::protocol::LogFile;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::SystemTime;

/// A longer line is written in pieces without a newline at the end, as Docker does.
const LINE_LIMIT: usize = 16 * 1024;

/// An open log.
pub(crate) struct Log {
    spec: LogFile,
    file: File,
    size: u64,
    /// Unfinished lines of stdout and stderr.
    partial: [Vec<u8>; 2],
    /// The first failure, until it is told; output goes on to clients.
    failure: Option<String>,
    told: bool,
    /// Compresses the file that was rotated last.
    compressing: Option<JoinHandle<io::Result<()>>>,
}

impl Log {
    pub(crate) fn open(spec: LogFile) -> io::Result<Self> {
        let file = open(&spec.path)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", spec.path.display())))?;
        let size = file.metadata()?.len();
        Ok(Self {
            spec,
            file,
            size,
            partial: [Vec::new(), Vec::new()],
            failure: None,
            told: false,
            compressing: None,
        })
    }

    /// Adds output of stream 1 or 2.
    pub(crate) fn write(&mut self, stream: u8, mut bytes: &[u8]) {
        let time = Timestamp::now();
        let partial = &mut self.partial[usize::from(stream == 2)];
        let mut out = Vec::with_capacity(bytes.len() + 128);
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            partial.extend_from_slice(&bytes[..=end]);
            bytes = &bytes[end + 1..];
            entries(&mut out, stream, partial, &time, &self.spec.attributes);
            partial.clear();
        }
        partial.extend_from_slice(bytes);
        while partial.len() >= LINE_LIMIT {
            let rest = partial.split_off(LINE_LIMIT);
            entry(&mut out, stream, partial, &time, &self.spec.attributes);
            *partial = rest;
        }
        self.append(&out);
    }

    /// Writes unfinished lines.
    pub(crate) fn finish(&mut self) {
        let mut out = Vec::new();
        for (index, partial) in self.partial.iter_mut().enumerate() {
            if !partial.is_empty() {
                entry(&mut out, index as u8 + 1, partial, &Timestamp::now(), &self.spec.attributes);
                partial.clear();
            }
        }
        self.append(&out);
        if let Err(e) = self.compressed() {
            self.fail(&e);
        }
    }

    /// The first failure, once.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        let failure = self.failure.take()?;
        (!std::mem::replace(&mut self.told, true)).then_some(failure)
    }

    fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Err(e) = self.try_append(bytes) {
            self.fail(&e);
        }
    }

    fn fail(&mut self, e: &io::Error) {
        self.failure.get_or_insert(format!("write the log {}: {e}", self.spec.path.display()));
    }

    /// Writes whole entries, in as many files as their size asks for: what is read at once may be more than one holds.
    fn try_append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let fitting = fitting(bytes, self.room());
            if fitting == 0 {
                self.rotate()?;
                continue;
            }
            if let Err(e) = self.file.write_all(&bytes[..fitting]) {
                // Half an entry would spoil the one that comes when there is space again.
                self.file.set_len(self.size)?;
                return Err(e);
            }
            self.size += fitting as u64;
            bytes = &bytes[fitting..];
        }
        Ok(())
    }

    /// Bytes that the file in use still takes; an empty one takes an entry of any length.
    fn room(&self) -> Room {
        match self.spec.max_size {
            0 => Room::Unlimited,
            max => Room::Bytes { left: max.saturating_sub(self.size), empty: self.size == 0 },
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        // What cannot be compressed stays as it is, and is read as well.
        let compressed = self.compressed();
        let name = |n: u32| match n {
            0 => self.spec.path.clone(),
            n => self.spec.path.with_added_extension(n.to_string()),
        };
        let zipped = |n: u32| name(n).with_added_extension("gz");
        let last = self.spec.max_files.max(1) - 1;
        // First what may fail for want of space: then nothing has moved.
        let next = name(0).with_added_extension("new");
        let file = open(&next)?;
        gone(std::fs::remove_file(name(last)))?;
        gone(std::fs::remove_file(zipped(last)))?;
        for n in (1..=last).rev() {
            gone(std::fs::rename(name(n - 1), name(n)))?;
            gone(std::fs::rename(zipped(n - 1), zipped(n)))?;
        }
        std::fs::rename(&next, name(0))?;
        self.file = file;
        self.size = 0;
        if self.spec.compress && last > 0 {
            let thread = std::thread::Builder::new().stack_size(COMPRESSOR_STACK);
            let rotated = name(1);
            self.compressing = Some(thread.spawn(move || compress(&rotated))?);
        }
        compressed
    }

    /// Waits for the last compression.
    fn compressed(&mut self) -> io::Result<()> {
        let Some(thread) = self.compressing.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the compression failed")))
    }
}

/// What a file still takes.
enum Room {
    Unlimited,
    Bytes { left: u64, empty: bool },
}

/// The length of the entries at the start of `bytes` that go into `room`.
fn fitting(bytes: &[u8], room: Room) -> usize {
    let Room::Bytes { left, empty } = room else { return bytes.len() };
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    if bytes.len() <= left {
        return bytes.len();
    }
    match bytes[..left].iter().rposition(|b| *b == b'\n') {
        Some(end) => end + 1,
        None if empty => bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| end + 1),
        None => 0,
    }
}

/// What is not there needs nothing.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Bytes of stack of the thread that compresses; what it works with is on the heap.
const COMPRESSOR_STACK: usize = 256 * 1024;

/// Puts `path.gz` in the place of `path`. Its comment tells inode and time of change of the file it was made of: a
/// reader in the middle of the log finds by them how far it is. A crash leaves the one or both; the plain one counts.
fn compress(path: &Path) -> io::Result<()> {
    let mut plain = File::open(path)?;
    let found = plain.metadata()?;
    let changed_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
    let identity = format!("{} {changed_ns}", found.ino());
    let zipped = path.with_added_extension("gz");
    let scratch = zipped.with_added_extension("tmp");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&scratch)?;
    let mut encoder = flate2::GzBuilder::new().comment(identity).write(file, flate2::Compression::fast());
    io::copy(&mut plain, &mut encoder)?;
    encoder.finish()?;
    std::fs::rename(&scratch, &zipped)?;
    std::fs::remove_file(path)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// A whole line, in pieces where it is too long.
fn entries(out: &mut Vec<u8>, stream: u8, line: &[u8], time: &Timestamp, attributes: &str) {
    for piece in line.chunks(LINE_LIMIT) {
        entry(out, stream, piece, time, attributes);
    }
}

fn entry(out: &mut Vec<u8>, stream: u8, text: &[u8], time: &Timestamp, attributes: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, &String::from_utf8_lossy(text));
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(if stream == 2 { b"stderr" } else { b"stdout" });
    if !attributes.is_empty() {
        out.extend_from_slice(b"\",\"attrs\":");
        out.extend_from_slice(attributes.as_bytes());
        out.extend_from_slice(b",\"time\":\"");
    } else {
        out.extend_from_slice(b"\",\"time\":\"");
    }
    out.extend_from_slice(time.0.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

fn escape(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// RFC 3339 with nanoseconds, UTC.
struct Timestamp(String);

impl Timestamp {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(rfc3339(since.as_secs(), since.subsec_nanos()))
    }
}

/// The time as RFC 3339 writes it.
pub(crate) fn now_rfc3339() -> String {
    Timestamp::now().0
}

/// Seconds since the epoch as a date (the civil-from-days algorithm for the proleptic Gregorian calendar).
fn rfc3339(seconds: u64, nanos: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_in(directory: &Path, max_size: u64, max_files: u32) -> Log {
        let path = directory.join("x-json.log");
        let spec = LogFile { path, max_size, max_files, compress: false, attributes: String::new() };
        Log::open(spec).unwrap()
    }

    #[test]
    fn rotated_files_are_compressed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let attributes = "{\"a\":\"b\"}".to_owned();
        let spec = LogFile { path: path.clone(), max_size: 300, max_files: 3, compress: true, attributes };
        let mut log = Log::open(spec).unwrap();
        for n in 0..20 {
            log.write(1, format!("line {n}\n").as_bytes());
        }
        log.finish();
        assert!(log.take_failure().is_none());
        let mut names: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["x.log", "x.log.1.gz", "x.log.2.gz"]);
        let newest = File::open(directory.path().join("x.log.1.gz")).unwrap();
        let text = io::read_to_string(flate2::read::GzDecoder::new(newest)).unwrap();
        assert!(text.lines().all(|l| l.contains("\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\"")), "{text}");
        let now = std::fs::read_to_string(&path).unwrap();
        let number =
            |text: &str| text.lines().last().unwrap().split(['\\', ' ']).nth(1).unwrap().parse::<u32>();
        assert_eq!(number(&text).unwrap() + now.lines().count() as u32, 19, "nothing is lost");
    }

    #[test]
    fn lines_are_kept_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log_in(directory.path(), 0, 1);
        log.write(1, b"hel");
        log.write(2, b"\"oops\"\n");
        log.write(1, b"lo\nrest");
        log.finish();
        let text = std::fs::read_to_string(directory.path().join("x-json.log")).unwrap();
        let entries: Vec<serde_json::Value> =
            text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let logs: Vec<_> =
            entries.iter().map(|e| (e["stream"].as_str().unwrap(), e["log"].as_str().unwrap())).collect();
        assert_eq!(logs, [("stderr", "\"oops\"\n"), ("stdout", "hello\n"), ("stdout", "rest")]);
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log_in(directory.path(), 0, 1);
        log.write(1, &vec![b'x'; LINE_LIMIT * 2 + 5]);
        log.write(1, b"\n");
        let text = std::fs::read_to_string(directory.path().join("x-json.log")).unwrap();
        let lengths: Vec<usize> = text
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["log"].as_str().unwrap().len())
            .collect();
        assert_eq!(lengths, [LINE_LIMIT, LINE_LIMIT, 6]);
    }

    #[test]
    fn rotation_keeps_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log_in(directory.path(), 200, 2);
        for n in 0..10 {
            log.write(1, format!("line {n}\n").as_bytes());
        }
        let names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let newest = std::fs::read_to_string(directory.path().join("x-json.log")).unwrap();
        assert!(newest.contains("line 9"));
    }

    #[test]
    fn no_file_is_larger_than_asked_however_much_comes_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log_in(directory.path(), 500, 100);
        let lines: String = (0..200).map(|n| format!("line {n}\n")).collect();
        log.write(1, lines.as_bytes());
        log.write(1, format!("{}\n", "x".repeat(600)).as_bytes());
        log.write(1, b"last\n");
        let name = |n: u32| format!("x-json.log{}", if n == 0 { String::new() } else { format!(".{n}") });
        let mut text = String::new();
        for n in (0..100).rev() {
            let Ok(part) = std::fs::read_to_string(directory.path().join(name(n))) else { continue };
            assert!(part.len() <= 500 || part.lines().count() == 1, "{}", part.len());
            text += &part;
        }
        assert_eq!(text.lines().count(), 202);
        assert!((0..200).all(|n| text.contains(&format!("line {n}\\n"))) && text.contains("last"));
    }

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_827_696, 5), "2000-02-29T12:34:56.000000005Z");
        assert_eq!(rfc3339(4_102_444_799, 999_999_999), "2099-12-31T23:59:59.999999999Z");
    }
}
