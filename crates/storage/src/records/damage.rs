//! Damaged records: found before anything is changed, and mended when somebody asks for it.
//!
//! A copy is kept from each start of the engine. Mending puts the damaged files aside and takes what can be read of them; when that is
//! not all, the rest comes from the copy. Running containers bring
//! their records themselves (`crates/engine/src/containers/kept.rs`).

use super::SCHEMA_VERSION;
use crate::disk::failed;
use rusqlite::{Connection, OpenFlags, params};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wharf_model::{Error, ErrorKind, Result};

/// How damage is mended.
pub(super) const MEND: &str = " (nothing was changed, and running containers go on; start `wharf daemon --mend-records`: it keeps \
     what can be read and takes the rest from the copy of the last start)";

/// A row of either table: kind, key, content.
type Row = (String, String, Vec<u8>);

const TABLES: [(&str, &str); 2] = [
    ("SELECT kind, id, body FROM document", "INSERT OR IGNORE INTO document VALUES (?1, ?2, ?3)"),
    (
        "SELECT kind, name, CAST(id AS BLOB) FROM name",
        "INSERT OR IGNORE INTO name VALUES (?1, ?2, CAST(?3 AS TEXT))",
    ),
];

pub(super) fn copy_of(path: &Path) -> PathBuf {
    path.with_added_extension("copy")
}

pub(super) fn damaged(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::internal(format!("the records in {} are damaged: {why}{MEND}", path.display()))
}

/// Refuses an empty file where there were records, which SQLite takes for a new one.
pub(super) fn check_presence(path: &Path) -> Result<()> {
    let is_empty = std::fs::metadata(path).map_or(true, |m| m.len() == 0);
    let is_logged = std::fs::metadata(super::log::of(path)).is_ok_and(|m| m.len() > 0);
    if is_empty && !is_logged && copy_of(path).exists() {
        return Err(damaged(path, "they are gone"));
    }
    Ok(())
}

/// Reads all pages.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<()> {
    let answer = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match answer {
        Ok(answer) if answer == "ok" => Ok(()),
        // On one line, as the log has it.
        Ok(answer) => Err(damaged(path, answer.replace('\n', " "))),
        Err(e) => Err(damaged(path, e)),
    }
}

/// Keeps a copy of good records. That it cannot be kept on a full disk is no reason not to start.
pub(super) fn keep_copy(connection: &Connection, path: &Path) {
    let copy = copy_of(path);
    let part = copy.with_added_extension("part");
    let kept = std::fs::remove_file(&part)
        .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        // As private as the records themselves; SQLite fills an empty file.
        .and_then(|()| File::options().write(true).create_new(true).mode(0o600).open(&part))
        .map_err(|e| e.to_string())
        .and_then(|_| {
            let made = connection.execute("VACUUM INTO ?1", params![part.to_string_lossy()]);
            made.map_err(|e| e.to_string())
        })
        .and_then(|_| std::fs::rename(&part, &copy).map_err(|e| e.to_string()));
    if let Err(e) = kept {
        tracing::warn!("keep a copy of the records in {}: {e}", copy.display());
        let _ = std::fs::remove_file(&part);
    }
}

/// Makes new records of damaged ones. Returns where those were put.
pub(super) fn mend(path: &Path, make: impl FnOnce(&Path) -> Result<Connection>) -> Result<PathBuf> {
    let aside = put_aside(path)?;
    let new = make(path)?;
    let (old, copy) = (open(&aside), open(&copy_of(path)));
    for (select, insert) in TABLES {
        let (mut rows, whole) = old.as_ref().map_or((Vec::new(), false), |c| readable(c, select));
        let found = rows.len();
        if !whole {
            // Of what is in both, the first counts: the newer state.
            rows.extend(copy.as_ref().map_or(Vec::new(), |c| readable(c, select).0));
        }
        tracing::warn!("records mended: {found} read, {} from the copy", rows.len() - found);
        for (kind, key, content) in rows {
            new.execute(insert, params![kind, key, content])
                .map_err(|e| Error::wrap(ErrorKind::Internal, format!("write {}", path.display()), e))?;
        }
    }
    Ok(aside)
}

fn put_aside(path: &Path) -> Result<PathBuf> {
    let number = (1..).find(|n| !path.with_added_extension(format!("damaged-{n}")).exists()).unwrap_or(1);
    let aside = path.with_added_extension(format!("damaged-{number}"));
    for suffix in ["", "-wal", "-shm"] {
        let named = |p: &Path| {
            let mut name = p.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        match std::fs::rename(named(path), named(&aside)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("put aside", &named(path), e));
            }
            _ => {}
        }
    }
    Ok(aside)
}

fn open(path: &Path) -> Option<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).ok()?;
    (version == SCHEMA_VERSION).then_some(connection)
}

/// What can be read of a table, and whether that is all of it.
fn readable(connection: &Connection, select: &str) -> (Vec<Row>, bool) {
    let mut rows = Vec::new();
    let Ok(mut statement) = connection.prepare(select) else { return (rows, false) };
    let Ok(found) = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))) else {
        return (rows, false);
    };
    let mut whole = true;
    for row in found {
        match row {
            Ok(row) if is_sound(&row) => rows.push(row),
            Ok(_) => whole = false,
            Err(_) => return (rows, false),
        }
    }
    (rows, whole)
}

/// Documents are JSON, other contents text.
fn is_sound((_, _, content): &Row) -> bool {
    let is_document = content.first() == Some(&b'{');
    if is_document {
        serde_json::from_slice::<serde_json::Value>(content).is_ok()
    } else {
        std::str::from_utf8(content).is_ok()
    }
}
