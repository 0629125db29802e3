//! What one side writes the other reads, and malformed archives are errors.

use super::*;
use std::io::Read;

fn sample() -> Vec<(Entry, Vec<u8>)> {
    let long = "d/".repeat(80) + "file";
    vec![
        (Entry::new(Kind::Directory, "dir/"), vec![]),
        (
            Entry { mode: 0o4755, uid: 1000, gid: 3_000_000, ..Entry::new(Kind::File, "dir/a") },
            b"hello".to_vec(),
        ),
        (Entry::new(Kind::File, long), vec![7; 513]),
        (Entry::new(Kind::File, vec![b'x'; 300]), vec![]),
        (Entry { link: vec![b'l'; 200], ..Entry::new(Kind::Symlink, b"\xff\xfe".to_vec()) }, vec![]),
        (Entry { link: b"dir/a".to_vec(), ..Entry::new(Kind::HardLink, "dir/b") }, vec![]),
        (Entry { device: (8, 1), ..Entry::new(Kind::Block, "sda1") }, vec![]),
        (
            Entry {
                xattrs: vec![(b"user.x".to_vec(), b"1\n2=\n\0".to_vec())],
                mtime: Timestamp { seconds: -2, nanos: 250_000_000 },
                ..Entry::new(Kind::File, "xattr")
            },
            b"x".to_vec(),
        ),
        (
            Entry { mtime: Timestamp { seconds: 1_700_000_000, nanos: 1 }, ..Entry::new(Kind::Fifo, "pipe") },
            vec![],
        ),
    ]
}

fn archive(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in entries {
        if entry.kind == Kind::File {
            writer.file(entry, content).unwrap();
        } else {
            writer.header(entry).unwrap();
        }
    }
    writer.finish().unwrap()
}

#[test]
fn what_is_written_is_read() {
    let entries = sample();
    let bytes = archive(&entries);
    let mut reader = Reader::new(&bytes[..]);
    for (entry, content) in &entries {
        let read = reader.next_entry().unwrap().unwrap();
        assert_eq!(read, Entry { size: content.len() as u64, ..entry.clone() });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).unwrap();
        assert_eq!(&back, content);
    }
    assert!(reader.next_entry().unwrap().is_none());
    reader.drain().unwrap();
    assert_eq!(reader.position(), bytes.len() as u64);
}

#[test]
fn content_may_be_passed_over() {
    let bytes = archive(&sample());
    let mut reader = Reader::new(&bytes[..]);
    let mut count = 0;
    while reader.next_entry().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, sample().len());
}

#[test]
fn every_cut_is_an_error_or_a_clean_end() {
    let bytes = archive(&sample());
    for cut in 0..bytes.len() - 1024 {
        let mut reader = Reader::new(&bytes[..cut]);
        loop {
            match reader.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) => {
                    assert_eq!(cut % BLOCK, 0);
                    break;
                }
                Err(_) => break,
            }
        }
    }
}

#[test]
fn flipped_header_bits_are_noticed() {
    let bytes = archive(&sample());
    // What follows the zero that ends the checksum means nothing.
    for at in (0..512).filter(|at| *at != 155) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x41;
        assert!(Reader::new(&bad[..]).next_entry().is_err(), "byte {at}");
    }
}

#[test]
fn a_huge_extension_is_refused_without_memory() {
    let mut writer = Writer::new(Vec::new());
    writer.header(&Entry { size: 1 << 32, ..Entry::new(Kind::File, "name") }).unwrap();
    let mut bytes = writer.finish().unwrap();
    bytes[156] = b'L';
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|b| u32::from(*b)).sum();
    bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert!(matches!(Reader::new(&bytes[..]).next_entry(), Err(TarError::Extension { .. })));
}

#[test]
fn numbers() {
    use super::header::number;
    assert_eq!(number(b"0000644\0"), Some(0o644));
    assert_eq!(number(b"   644 \0"), Some(0o644));
    assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
    assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
    assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
    assert_eq!(number(b"\xff\0\0\0\0\0\0\0\0\0\0\0"), None);
    assert_eq!(number(b"8\0"), None);
}
