//! SQLite's write-ahead log, looked at before SQLite does: it ends at the first entry that is damaged and says nothing.
//!
//! The format is section 4 of <https://www.sqlite.org/fileformat2.html>.

use std::path::{Path, PathBuf};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The first word; its last bit says in which order of bytes sums are computed.
const MAGIC: u32 = 0x377f_0682;
/// An entry of an earlier round has a salt that is smaller by the rounds since.
const MAX_ROUNDS: u32 = 1 << 20;

/// The log of some records.
pub(super) fn of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Whether entries behind the last whole one were written in this round, or are none at all. A power cut may leave that,
/// too.
pub(super) fn is_cut(path: &Path) -> bool {
    // One that cannot be read, SQLite says so of.
    std::fs::read(of(path)).is_ok_and(|log| holds_damage(&log))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn holds_damage(log: &[u8]) -> bool {
    if log.is_empty() {
        return false;
    }
    let magic = word(log, 0);
    if log.len() < HEADER || magic & !1 != MAGIC {
        return true;
    }
    let big = magic & 1 == 1;
    let salts = (word(log, 16), word(log, 20));
    let mut sum = summed(&log[..24], (0, 0), big);
    if sum != (word(log, 24), word(log, 28)) {
        return true;
    }
    let size = FRAME_HEADER + (word(log, 8) as usize).clamp(512, 65536);
    let mut whole = true;
    for frame in log[HEADER..].chunks_exact(size) {
        let its = (word(frame, 8), word(frame, 12));
        sum = summed(&frame[FRAME_HEADER..], summed(&frame[..8], sum, big), big);
        whole &= its == salts && sum == (word(frame, 16), word(frame, 20));
        if !whole && (its == salts || salts.0.wrapping_sub(its.0) > MAX_ROUNDS) {
            return true;
        }
    }
    false
}

fn summed(bytes: &[u8], (mut a, mut b): (u32, u32), big: bool) -> (u32, u32) {
    let number = |at: &[u8]| {
        let bytes = at.try_into().unwrap_or_default();
        if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(number(&pair[..4])).wrapping_add(b);
        b = b.wrapping_add(number(&pair[4..])).wrapping_add(a);
    }
    (a, b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::SqliteRecords;
    use wharf_model::records::{Change, Durability, RecordKind, Records};

    #[test]
    fn damage_is_told_from_a_good_log_and_from_one_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let records = SqliteRecords::open(&path).unwrap();
        let put = |n: usize| {
            let put = Change::Put { kind: RecordKind::Image, id: format!("{n}"), body: vec![b'x'; 3000] };
            records.commit(vec![put], Durability::Process).unwrap();
        };
        (0..20).for_each(put);
        let log = std::fs::read(of(&path)).unwrap();
        assert!(log.len() > 10 * 4096 && !holds_damage(&log));
        for at in [0, 20, HEADER + 9, HEADER + 100, HEADER + 3 * (FRAME_HEADER + 4096) + 50] {
            let mut damaged = log.clone();
            damaged[at] ^= 0x40;
            assert!(holds_damage(&damaged), "at {at}");
        }
        let mut garbage = log.clone();
        garbage[HEADER + FRAME_HEADER + 4096..].fill(0xa5);
        assert!(holds_damage(&garbage));
        // A half-written entry at the end is none; and the log begins anew in the same file after a checkpoint.
        assert!(!holds_damage(&log[..log.len() - 100]));
        records.writer().connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())).unwrap();
        put(30);
        assert!(!holds_damage(&std::fs::read(of(&path)).unwrap()));
    }
}
