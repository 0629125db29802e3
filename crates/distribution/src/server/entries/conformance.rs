//! What every implementation of `Entries` does. Panics say what does not hold.

use super::{Entries, Folder};
use wharf_oci::digest::Digest;

/// Runs every case on a fresh store.
pub(in crate::server) fn suite(entries: &dyn Entries) {
    let subject = Digest::sha256(b"subject");
    let folders = [
        Folder::Catalog,
        Folder::Blobs("a/b"),
        Folder::Manifests("a/b"),
        Folder::Tags("a/b"),
        Folder::Referrers("a/b", &subject),
    ];
    for folder in folders {
        assert_eq!(entries.get(folder, "x").unwrap(), None);
        assert!(!entries.has(folder, "x").unwrap() && !entries.remove(folder, "x").unwrap());
        entries.renew(folder, "x").unwrap();
        assert!(entries.page(folder, None, 10).unwrap().is_empty());
        for name in ["c", "x", "a-1", "a.1", "b"] {
            entries.put(folder, name, "one").unwrap();
        }
        entries.put(folder, "x", "two").unwrap();
        assert_eq!(entries.get(folder, "x").unwrap().as_deref(), Some("two"));
        assert!(entries.age(folder, "x").unwrap().unwrap().as_secs() < 60);
        assert_eq!(entries.page(folder, None, 3).unwrap(), ["a-1", "a.1", "b"]);
        assert_eq!(entries.page(folder, Some("b"), 3).unwrap(), ["c", "x"]);
        assert_eq!(entries.page(folder, Some("bb"), 1).unwrap(), ["c"], "`after` need not be there");
        assert!(entries.page(folder, None, 0).unwrap().is_empty());
        assert!(entries.remove(folder, "x").unwrap());
        assert_eq!(entries.get(folder, "x").unwrap(), None);
        let mut all = Vec::new();
        let visited = entries.each(folder, &mut |name| {
            all.push(name.to_owned());
            Ok(())
        });
        visited.unwrap();
        assert_eq!(all, ["a-1", "a.1", "b", "c"]);
    }
    entries.put(Folder::Catalog, "a/b", "").unwrap();
    assert_eq!(
        entries.page(Folder::Catalog, Some("a.1"), 1).unwrap(),
        ["a/b"],
        "in order of the names themselves"
    );
    entries.put(Folder::Blobs("a"), "x", "").unwrap();
    let mut repositories = Vec::new();
    let visited = entries.repositories(&mut |name| {
        repositories.push(name.to_owned());
        Ok(())
    });
    visited.unwrap();
    repositories.sort();
    assert_eq!(repositories, ["a", "a/b"]);
    entries.remove(Folder::Blobs("a"), "x").unwrap();
    entries.tidy("a").unwrap();
    entries.tidy("none").unwrap();
    assert_eq!(
        entries.page(Folder::Blobs("a/b"), None, 1).unwrap().len(),
        1,
        "another repository below it stays"
    );
}
