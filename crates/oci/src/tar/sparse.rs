//! Maps of sparse files: GNU's old format in the header, pax 0.0 and 0.1 in records, 1.0 before the content.

use super::Segment;
use super::header::{Block, number};
use super::pax::{Records, decimal};

/// Stretches a sparse file may have: what 1 MiB of pax records can name.
pub(super) const MAX_SEGMENTS: usize = 1 << 16;

/// How a sparse file's map is found.
pub(super) enum Form {
    /// It is not sparse.
    Dense,
    /// The map was in the records.
    Listed(Vec<Segment>),
    /// The map is at the start of the content.
    Leading,
}

/// Reads what the records say about sparseness.
pub(super) fn form(records: &Records) -> Result<Form, &'static str> {
    if records.get("GNU.sparse.major") == Some(b"1") && records.get("GNU.sparse.minor") == Some(b"0") {
        return Ok(Form::Leading);
    }
    if let Some(map) = records.get("GNU.sparse.map") {
        return pairs(map.split(|b| *b == b',')).map(Form::Listed);
    }
    if records.get("GNU.sparse.size").is_some() {
        let values = records
            .iter()
            .filter(|(k, _)| matches!(*k, b"GNU.sparse.offset" | b"GNU.sparse.numbytes"))
            .map(|(_, v)| v);
        return pairs(values).map(Form::Listed);
    }
    Ok(Form::Dense)
}

fn pairs<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Segment>, &'static str> {
    let mut map = Vec::new();
    while let Some(offset) = values.next() {
        let length = values.next().ok_or("a sparse map is incomplete")?;
        let number = |text| decimal(text).ok_or("a sparse map has something that is no number");
        map.push(Segment { offset: number(offset)?, length: number(length)? });
        if map.len() > MAX_SEGMENTS {
            return Err("a sparse map is too long");
        }
    }
    Ok(map)
}

/// The map of GNU's old format: up to four segments in the header, 21 in each block that follows.
pub(super) fn old_segments(bytes: &[u8], map: &mut Vec<Segment>) -> Result<(), &'static str> {
    for pair in bytes.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        let field = |f| number(f).and_then(|n| u64::try_from(n).ok()).ok_or("a sparse map is malformed");
        map.push(Segment { offset: field(&pair[..12])?, length: field(&pair[12..])? });
    }
    if map.len() > MAX_SEGMENTS { Err("a sparse map is too long") } else { Ok(()) }
}

/// The real size of GNU's old format.
pub(super) fn old_size(block: &Block) -> Option<u64> {
    number(block.gnu_real_size()).and_then(|n| u64::try_from(n).ok())
}

/// Whether a map is in order, without overlap, inside the file, and names just what the archive holds.
pub(super) fn check(map: &[Segment], size: u64, stored: u64) -> Result<(), &'static str> {
    let (mut end, mut total) = (0u64, 0u64);
    for segment in map {
        let next = segment.offset.checked_add(segment.length).ok_or("a sparse map overflows")?;
        if segment.offset < end || next > size {
            return Err("a sparse map overlaps or goes past the end of the file");
        }
        end = next;
        total += segment.length;
    }
    if total == stored { Ok(()) } else { Err("a sparse map does not name what the archive holds") }
}
