//! Giving images names.

use super::{Image, Images};
use std::sync::Arc;
use wharf_model::{Error, Result};
use wharf_oci::reference::Reference;

impl Images {
    /// Gives an image another name; the image that had it loses it.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<Arc<Image>> {
        if target.digest().is_some() {
            return Err(Error::invalid("refusing to create a tag with a digest reference"));
        }
        let image = self.resolve(source)?;
        let target = target.clone().or_latest();
        let mut table = self.table();
        // As it is now: meanwhile it may have been removed, or be kept in another form.
        let image = table.now(&image)?;
        let tagged = Image { tagged_ns: now_ns(), ..(*image).clone() };
        // Who loses the name was used under it until now.
        self.uses.note(&image.id);
        table.names.get(&target).into_iter().for_each(|id| self.uses.note(id));
        table.put(&*self.records, tagged, &[target])
    }
}

pub(super) fn now_ns() -> i64 {
    i64::try_from(crate::clock::now_ns()).unwrap_or(i64::MAX)
}
