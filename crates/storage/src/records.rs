//! Records in SQLite: one connection, one writer, write-ahead log.
//!
//! A batch is one transaction. `Durability::Process` costs a write to the log (about 10 µs), `Power` also a
//! sync of it (about 0.5 ms); a synced batch takes all earlier ones with it, as the log is one file.

mod damage;
mod log;
mod reserve;

use crate::disk::{FULL, failed};
use damage::MEND;
use reserve::Reserve;
use rusqlite::{Connection, OptionalExtension, params};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wharf_failpoint::failpoint;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::{Error, ErrorKind, Result};

/// Who else may have the file open is a person with the `sqlite3` program; a daemon waits this long for them.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The layout below; raised when it changes.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE document (kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    CREATE TABLE name (kind TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
";

/// The `Records` seam on one SQLite file.
pub struct SqliteRecords(Mutex<Writer>);

struct Writer {
    connection: Connection,
    /// The file.
    path: PathBuf,
    reserve: Reserve,
    /// What `PRAGMA synchronous` is set to.
    durability: Durability,
}

/// What containers' environments say is nobody else's; SQLite gives its further files the mode of the first.
fn keep_private(path: &Path) -> Result<()> {
    let options = || std::fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(path);
    options().map_err(|e| failed("open", path, e))?;
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        match std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("set the mode of", path, e));
            }
            _ => {}
        }
    }
    Ok(())
}

impl SqliteRecords {
    /// Opens the file, made if it is not there. The data root's lock keeps other daemons away.
    ///
    /// # Errors
    /// `Internal` when they are damaged or gone, with how to mend that; nothing is changed then.
    pub fn open(path: &Path) -> Result<Self> {
        damage::check_presence(path)?;
        if log::is_cut(path) {
            tracing::warn!(
                "the last changes in {} were damaged: what was done last may be missing",
                path.display()
            );
        }
        let records = Self::open_any(path)?;
        {
            let writer = records.writer();
            damage::check(&writer.connection, path)?;
            // What is in the file itself no damage of the log reaches.
            writer
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .map_err(unreadable)?;
            damage::keep_copy(&writer.connection, path);
        }
        Ok(records)
    }

    /// Makes new records of what can be read of damaged ones, and of the copy of the last start. The damaged ones are
    /// kept beside them; returns where. Nothing happens to good ones.
    pub fn mend(path: &Path) -> Result<Option<PathBuf>> {
        match Self::open(path) {
            Ok(_) => return Ok(None),
            Err(e) if !e.full().contains(MEND) => return Err(e),
            Err(e) => tracing::warn!("{}", e.full()),
        }
        let make = |path: &Path| -> Result<Connection> {
            Self::open_any(path)?;
            Connection::open(path).map_err(unreadable)
        };
        damage::mend(path, make).map(Some)
    }

    fn open_any(path: &Path) -> Result<Self> {
        let broken = |e: rusqlite::Error| {
            let text = format!("open the records in {}", path.display());
            explained(Error::wrap(ErrorKind::Internal, text, e), path)
        };
        keep_private(path)?;
        let connection = Connection::open(path).map_err(broken)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(broken)?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(broken)?;
        if mode != "wal" {
            return Err(Error::unsupported(format!(
                "the file system of {} cannot keep SQLite's write-ahead log: put the data root on a local one",
                path.display()
            )));
        }
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(broken)?;
        connection.set_prepared_statement_cache_capacity(16);
        let records = Self(Mutex::new(Writer {
            connection,
            path: path.to_owned(),
            reserve: Reserve::of(path),
            durability: Durability::Process,
        }));
        records.migrate(path).map_err(|e| e.unwrap_or_else(broken))?;
        Ok(records)
    }

    fn migrate(&self, path: &Path) -> std::result::Result<(), MigrateError> {
        let mut writer = self.writer();
        let transaction = writer.connection.transaction()?;
        let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            SCHEMA_VERSION => {}
            0 => {
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            }
            other => {
                return Err(MigrateError::Newer(Error::unsupported(format!(
                    "the records in {} have the layout {other}, this version of Wharf knows {SCHEMA_VERSION}: \
                     use the version that wrote them",
                    path.display()
                ))));
            }
        }
        Ok(transaction.commit()?)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic in between rolled the transaction back; the connection is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum MigrateError {
    Sqlite(rusqlite::Error),
    Newer(Error),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl MigrateError {
    fn unwrap_or_else(self, wrap: impl FnOnce(rusqlite::Error) -> Error) -> Error {
        match self {
            Self::Sqlite(error) => wrap(error),
            Self::Newer(error) => error,
        }
    }
}

fn unwritable(error: rusqlite::Error) -> Error {
    Error::wrap(ErrorKind::Internal, "write the records", error)
}

fn unreadable(error: rusqlite::Error) -> Error {
    Error::wrap(ErrorKind::Internal, "read the records", error)
}

impl Writer {
    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        if self.durability != durability {
            let mode = match durability {
                Durability::Process => "NORMAL",
                Durability::Power => "FULL",
            };
            self.connection.pragma_update(None, "synchronous", mode).map_err(unwritable)?;
            self.durability = durability;
        }
        Ok(())
    }
}

fn apply(connection: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::Put { kind, id, body } => {
            let sql = "INSERT INTO document VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET body = ?3";
            let mut put = connection.prepare_cached(sql).map_err(unwritable)?;
            put.execute(params![kind.as_str(), id, body]).map_err(unwritable)?;
        }
        Change::Delete { kind, id } => {
            let sql = "DELETE FROM document WHERE kind = ?1 AND id = ?2";
            let mut delete = connection.prepare_cached(sql).map_err(unwritable)?;
            delete.execute(params![kind.as_str(), id]).map_err(unwritable)?;
        }
        Change::Release { kind, name } => {
            let sql = "DELETE FROM name WHERE kind = ?1 AND name = ?2";
            let mut release = connection.prepare_cached(sql).map_err(unwritable)?;
            release.execute(params![kind.as_str(), name]).map_err(unwritable)?;
        }
        Change::Claim { kind, name, id } => {
            let sql = "INSERT INTO name VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
            let mut claim = connection.prepare_cached(sql).map_err(unwritable)?;
            if claim.execute(params![kind.as_str(), name, id]).map_err(unwritable)? == 0 {
                let holder = holder(connection, *kind, name)?.unwrap_or_default();
                if holder != *id {
                    return Err(Error::conflict(format!("the name {name:?} is already in use by {holder}")));
                }
            }
        }
    }
    Ok(())
}

fn holder(connection: &Connection, kind: RecordKind, name: &str) -> Result<Option<String>> {
    let sql = "SELECT id FROM name WHERE kind = ?1 AND name = ?2";
    let mut select = connection.prepare_cached(sql).map_err(unreadable)?;
    select.query_row(params![kind.as_str(), name], |row| row.get(0)).optional().map_err(unreadable)
}

/// One batch in one transaction.
fn write(connection: &Connection, batch: &[Change]) -> Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut s| s.execute([])).map_err(unwritable)?;
    let result = batch.iter().try_for_each(|change| apply(connection, change)).and_then(|()| {
        failpoint!("records.applied");
        connection.prepare_cached("COMMIT").and_then(|mut s| s.execute([])).map_err(unwritable)
    });
    match result {
        Ok(_) => Ok(()),
        Err(error) if connection.is_autocommit() => Err(error),
        Err(error) => match connection.execute_batch("ROLLBACK") {
            Ok(()) => Err(error),
            Err(rollback) => {
                let text = format!("undo a failed batch ({})", error.full());
                Err(Error::wrap(ErrorKind::Internal, text, rollback))
            }
        },
    }
}

fn code(error: &Error) -> Option<rusqlite::ErrorCode> {
    let source = std::error::Error::source(error)?.downcast_ref::<rusqlite::Error>()?;
    source.sqlite_error_code()
}

fn is_full(error: &Error) -> bool {
    // Without inodes the write-ahead log cannot be made, which SQLite calls otherwise.
    matches!(code(error), Some(rusqlite::ErrorCode::DiskFull | rusqlite::ErrorCode::CannotOpen))
}

/// Whether a batch makes nothing new.
fn may_use_reserve(connection: &Connection, batch: &[Change]) -> Result<bool> {
    let sql = "SELECT 1 FROM document WHERE kind = ?1 AND id = ?2";
    let mut select = connection.prepare_cached(sql).map_err(unreadable)?;
    for change in batch {
        match change {
            Change::Delete { .. } | Change::Release { .. } => {}
            Change::Claim { .. } => return Ok(false),
            Change::Put { kind, id, .. } => {
                if !select.exists(params![kind.as_str(), id]).map_err(unreadable)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// What went wrong with which file, and how to mend it.
fn explained(error: Error, path: &Path) -> Error {
    use rusqlite::ErrorCode as Code;
    let mend = match code(&error) {
        Some(Code::DiskFull | Code::CannotOpen) => FULL,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            " (another program holds them: end it, such as a `sqlite3` with an open transaction)"
        }
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => MEND,
        _ => return error,
    };
    Error::wrap(error.kind(), format!("use {}{mend}", path.display()), error)
}

impl Records for SqliteRecords {
    fn commit(&self, batch: Vec<Change>, durability: Durability) -> Result<()> {
        let mut writer = self.writer();
        let set = writer.set_durability(durability);
        let Err(error) = set.and_then(|()| write(&writer.connection, &batch)) else {
            writer.reserve.keep();
            return Ok(());
        };
        // Who removes something, or ends it, must not be kept from it by a full disk.
        let result =
            if is_full(&error) && may_use_reserve(&writer.connection, &batch)? && writer.reserve.give_up() {
                write(&writer.connection, &batch)
            } else {
                Err(error)
            };
        result.map_err(|e| explained(e, &writer.path))
    }

    fn get(&self, kind: RecordKind, id: &str) -> Result<Option<Vec<u8>>> {
        let writer = self.writer();
        let sql = "SELECT body FROM document WHERE kind = ?1 AND id = ?2";
        let mut select = writer.connection.prepare_cached(sql).map_err(unreadable)?;
        let found = select.query_row(params![kind.as_str(), id], |row| row.get(0)).optional();
        found.map_err(|e| explained(unreadable(e), &writer.path))
    }

    fn list(&self, kind: RecordKind) -> Result<Vec<(String, Vec<u8>)>> {
        let writer = self.writer();
        let sql = "SELECT id, body FROM document WHERE kind = ?1 ORDER BY id";
        let mut select = writer.connection.prepare_cached(sql).map_err(unreadable)?;
        let rows =
            select.query_map([kind.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).map_err(unreadable)?;
        rows.collect::<rusqlite::Result<_>>().map_err(|e| explained(unreadable(e), &writer.path))
    }

    fn holder(&self, kind: RecordKind, name: &str) -> Result<Option<String>> {
        holder(&self.writer().connection, kind, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records in a directory that goes with them.
    struct Temporary(SqliteRecords, tempfile::TempDir);

    fn temporary() -> Temporary {
        let dir = tempfile::tempdir().unwrap();
        Temporary(SqliteRecords::open(&dir.path().join("state.db")).unwrap(), dir)
    }

    impl Records for Temporary {
        fn commit(&self, batch: Vec<Change>, durability: Durability) -> Result<()> {
            self.0.commit(batch, durability)
        }
        fn get(&self, kind: RecordKind, id: &str) -> Result<Option<Vec<u8>>> {
            self.0.get(kind, id)
        }
        fn list(&self, kind: RecordKind) -> Result<Vec<(String, Vec<u8>)>> {
            self.0.list(kind)
        }
        fn holder(&self, kind: RecordKind, name: &str) -> Result<Option<String>> {
            self.0.holder(kind, name)
        }
    }

    #[test]
    fn conforms() {
        wharf_model::records::conformance::suite(temporary);
    }

    #[test]
    fn records_outlive_the_process() {
        let records = temporary();
        let put = Change::Put { kind: RecordKind::Image, id: "a".into(), body: b"x".to_vec() };
        records.commit(vec![put], Durability::Process).unwrap();
        let path = records.1.path().join("state.db");
        // Another connection sees what is in the log, as a process after a crash does.
        let again = SqliteRecords::open(&path).unwrap();
        assert_eq!(again.get(RecordKind::Image, "a").unwrap().unwrap(), b"x");
    }

    #[test]
    fn a_newer_layout_is_left_alone() {
        let records = temporary();
        let path = records.1.path().join("state.db");
        records.0.writer().connection.pragma_update(None, "user_version", 99).unwrap();
        let error = SqliteRecords::open(&path).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    #[ignore = "prints times; run by hand"]
    fn commit_times() {
        let records = temporary();
        for durability in [Durability::Process, Durability::Power] {
            let start = std::time::Instant::now();
            for n in 0..1000 {
                let put = Change::Put { kind: RecordKind::Image, id: format!("{n}"), body: vec![b'x'; 2000] };
                records.commit(vec![put], durability).unwrap();
            }
            println!("{durability:?}: {:?} a commit", start.elapsed() / 1000);
        }
    }
}
