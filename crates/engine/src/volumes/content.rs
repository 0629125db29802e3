//! The content of volumes: clone, export, import.

use super::options::{Source, source_of};
use super::record::{Pending, VolumeRecord};
use super::{VolumeService, check_name};
use crate::clock::now_ns;
use crate::random;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use wharf_model::records::Durability;
use wharf_model::volumes::Ownership;
use wharf_model::{ContainerId, Error, Result};

/// A volume whose content is read or written: it is mounted if its options say so, and nobody removes or renames it.
struct Open<'a> {
    service: &'a VolumeService,
    name: String,
    holder: ContainerId,
    path: PathBuf,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.service.let_go(&self.name, &self.holder) {
            tracing::warn!("{}", e.full());
        }
        self.service.settle(self.holder.as_str());
    }
}

impl VolumeService {
    fn open(&self, name: &str) -> Result<Open<'_>> {
        let holder = ContainerId::from_bytes(random::bytes()?);
        {
            let mut claims = self.claims();
            self.inspect(name)?;
            claims.add(name, holder.as_str());
        }
        let mut open = Open { service: self, name: name.to_owned(), holder, path: PathBuf::new() };
        self.hold(name, &open.holder)?;
        open.path = self.source(name)?;
        Ok(open)
    }

    /// Writes a volume's content as a tar. Who writes to the volume meanwhile is not waited for.
    ///
    /// # Errors
    /// `NotFound` without such a volume.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<()> {
        let open = self.open(name)?;
        self.store.export(&open.path, out)
    }

    /// Unpacks a tar into a volume, over what is there. A volume that is not there is made; it is not there either when
    /// the archive turns out to be broken.
    ///
    /// # Errors
    /// `Invalid` for a broken or hostile archive.
    pub fn import(&self, name: &str, tar: &mut dyn Read) -> Result<()> {
        let fresh = self.get(name)?.is_none();
        if !fresh {
            let open = self.open(name)?;
            return self.store.import(&open.path, tar);
        }
        let record = VolumeRecord::new(name, BTreeMap::new(), BTreeMap::new());
        self.make(record, &Ownership::default(), |path| self.store.import(&path, tar)).map(drop)
    }

    /// Makes a volume with the content of another, its labels, and what its options say about the owner. A device
    /// among the options is left out: the clone has its content, not the device itself.
    ///
    /// # Errors
    /// `Conflict` when there is a volume of that name.
    pub fn clone_volume(&self, source: &str, name: &str) -> Result<VolumeRecord> {
        check_name("clone", name)?;
        let open = self.open(source)?;
        let mut record = self.inspect(source)?;
        let own = matches!(source_of(&record.options)?, Source::Own(_));
        record.options = if own { record.options } else { BTreeMap::new() };
        let record = VolumeRecord::new(name, record.labels, record.options);
        self.make(record, &Ownership::default(), |_| self.store.copy(&open.path, name))
    }

    /// Makes a volume with content. Nobody sees it before it is whole; a crash leaves nothing of it.
    fn make(
        &self,
        mut record: VolumeRecord,
        ownership: &Ownership,
        fill: impl FnOnce(PathBuf) -> Result<()>,
    ) -> Result<VolumeRecord> {
        let name = record.name.clone();
        check_name("create", &name)?;
        {
            let _claims = self.claims();
            if self.find(&name)?.is_some() {
                return Err(Error::conflict(format!("a volume with the name {name} exists already")));
            }
            record.pending = Some(Pending::Make);
            self.put(&record, Durability::Process)?;
        }
        record.pending = None;
        record.created_ns = now_ns();
        let made = self
            .store
            .create(&name, ownership)
            .and_then(fill)
            .and_then(|()| self.put(&record, Durability::Power));
        if let Err(e) = made {
            // The failure is what matters; what stays of it, the next engine process removes.
            if let Err(left) = self.erase(&name) {
                tracing::warn!("{}", left.full());
            }
            return Err(e);
        }
        self.publish("create", &name, &[]);
        Ok(record)
    }
}
