//! What is written to a disk before it is looked at: layers, logs, packs.

use std::io::Write;
use std::sync::Arc;
use wharf_model::snapshots::Snapshots;
use wharf_oci::digest::{DiffId, Digest};
use wharf_storage::records::SqliteRecords;
use wharf_storage::snapshots::DiskSnapshots;
use wharf_storage::snapshots::layout::Layout;

thread_local! {
    static STORE: (DiskSnapshots, tempfile::TempDir) = {
        let directory = tempfile::tempdir().expect("make a directory");
        let records = SqliteRecords::open(&directory.path().join("state.db")).expect("open records");
        let snapshots = {
            let root = directory.path().join("s");
            DiskSnapshots::open(&root, Arc::new(records), Layout::Unpacked, Arc::default()).expect("open")
        };
        (snapshots, directory)
    };
    static LOG: tempfile::TempDir = tempfile::tempdir().expect("make a directory");
}

/// Nothing but the store is touched, whatever a layer names.
pub(crate) fn layer(data: &[u8]) {
    STORE.with(|(store, directory)| {
        let top = || {
            let mut names: Vec<_> = std::fs::read_dir(directory.path())
                .expect("list")
                .map(|e| e.expect("list").file_name())
                .collect();
            names.retain(|name| !name.to_string_lossy().starts_with("state.db"));
            names
        };
        let diff = DiffId(Digest::sha256(data));
        if let Ok(layer) = store.unpack(None, &diff, &mut &data[..]) {
            store.remove_layer(&layer.chain_id).expect("a layer can be removed");
        }
        assert_eq!(top(), ["s"], "something was made outside");
    });
}

pub(crate) fn log(data: &[u8]) {
    LOG.with(|directory| {
        let path = directory.path().join("x-json.log");
        // Half of it is the file that was rotated before.
        let (old, new) = data.split_at(data.len() / 2);
        for (path, content) in [(path.with_added_extension("1"), old), (path.clone(), new)] {
            std::fs::File::create(path).and_then(|mut f| f.write_all(content)).expect("write a log");
        }
        wharf_engine::logs::fuzzing::read(path);
    });
}

/// A Git server's pack, and the files in it.
pub(crate) fn pack(data: &[u8]) {
    wharf_git::fuzzing::pack(data);
}
