//! Who is about to use a volume, before a container's record says so.

use std::collections::HashMap;

/// Holders by the volume's name. Whoever decides that nobody uses a volume has the table locked meanwhile.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<String, Vec<String>>);

impl Claims {
    pub(super) fn add(&mut self, name: &str, holder: &str) {
        self.0.entry(name.to_owned()).or_default().push(holder.to_owned());
    }

    /// Takes all that a holder has, or one of its claims.
    pub(super) fn settle(&mut self, holder: &str) {
        self.0.retain(|_, holders| {
            holders.retain(|h| h != holder);
            !holders.is_empty()
        });
    }

    pub(super) fn holders(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}
