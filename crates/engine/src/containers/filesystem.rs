//! A container's files: changes, export, identity look-ups.

use super::spec::user::Identity;
use super::{Containers, archive, blocking, start};
use std::io::Write;
use wharf_model::Result;
use wharf_model::container::ContainerRecord;
use wharf_model::snapshots::{PathChange, Tree};

impl Containers {
    /// The paths that differ from the image.
    pub async fn changes(&self, record: &ContainerRecord) -> Result<Vec<PathChange>> {
        let (snapshots, id) = (self.shared.snapshots.clone(), record.id.clone());
        blocking(move || snapshots.changes(id.as_str())).await
    }

    /// Bytes that the container itself holds on disk.
    pub async fn size(&self, record: &ContainerRecord) -> Result<u64> {
        let (snapshots, id) = (self.shared.snapshots.clone(), record.id.clone());
        blocking(move || snapshots.size(id.as_str())).await
    }

    /// Writes the whole root file system as a tar. Blocks.
    pub fn export(&self, record: &ContainerRecord, out: &mut dyn Write) -> Result<()> {
        self.shared.snapshots.read_tar(
            Tree::Snapshot(record.id.as_str()),
            std::path::Path::new("/"),
            None,
            out,
        )
    }

    /// Who a container's processes run as, by the files it has now.
    pub(crate) async fn identity(&self, record: ContainerRecord) -> Result<Identity> {
        let own = Self { shared: self.shared.clone(), registry: self.registry.clone() };
        blocking(move || {
            let live = own.live_root(&record)?;
            start::identity_of(&own.shared, &record, archive::tree(&record, live.as_ref()))
        })
        .await
    }
}
