//! Layers from blobs.

use super::compress::unwrap_ahead;
use super::lease::Lease;
use super::{Images, blocking, io, transfer};
use std::io::Read;
use std::sync::Arc;
use wharf_model::blobs::mismatch;
use wharf_model::snapshots::Layer;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, DiffId, Digest};

impl Images {
    /// Unpacks one layer on its parent, unless it is there. `open` gives the blob's bytes, wrapped or not; they are only
    /// believed to be that layer's when that `is_known`.
    pub(super) async fn unpack(
        &self,
        lease: &Arc<Lease>,
        parent: Option<&ChainId>,
        diff_id: &DiffId,
        open: impl FnOnce() -> Result<Box<dyn Read + Send>> + Send + 'static,
        is_known: bool,
    ) -> Result<Layer> {
        let chain = ChainId::extend(parent, diff_id);
        lease.hold(&chain.0);
        let _flight = self.layer_flights.join(&chain.0).await;
        let snapshots = Arc::clone(&self.snapshots);
        let (parent, diff_id) = (parent.cloned(), diff_id.clone());
        let working = lease.at_work().await;
        transfer(move || {
            let _working = working;
            let there = snapshots.layer(&chain)?;
            if let (Some(layer), true) = (&there, is_known) {
                return Ok(layer.clone());
            }
            let mut tar = unwrap_ahead(open()?).map_err(io("read a layer"))?;
            match there {
                None => snapshots.unpack(parent.as_ref(), &diff_id, &mut tar),
                Some(layer) => verified(tar, &diff_id).map(|()| layer),
            }
        })
        .await
    }

    /// Makes layers of blobs that are all there.
    pub(super) async fn unpack_blobs(&self, lease: &Arc<Lease>, layers: &[super::ImageLayer]) -> Result<u64> {
        let mut size = 0;
        let mut parent: Option<ChainId> = None;
        for layer in layers {
            let unpacked = self.unpack_blob(lease, parent.as_ref(), layer).await?;
            size += unpacked.size;
            parent = Some(unpacked.chain_id);
        }
        if let Some(chain) = parent {
            let snapshots = Arc::clone(&self.snapshots);
            blocking(move || snapshots.ready(&chain)).await?;
        }
        Ok(size)
    }

    async fn unpack_blob(
        &self,
        lease: &Arc<Lease>,
        parent: Option<&ChainId>,
        layer: &super::ImageLayer,
    ) -> Result<Layer> {
        let chain = ChainId::extend(parent, &layer.diff_id);
        let is_file = layer.blob.digest == layer.diff_id.0 && self.snapshots.receives();
        if is_file && self.snapshots.layer(&chain)?.is_none() {
            lease.hold(&chain.0);
            let received = self.receive_blob(lease, layer).await?;
            let _flight = self.layer_flights.join(&chain.0).await;
            let (snapshots, parent) = (Arc::clone(&self.snapshots), parent.cloned());
            return blocking(move || snapshots.place(parent.as_ref(), &received)).await;
        }
        let (blobs, digest) = (Arc::clone(&self.blobs), layer.blob.digest.clone());
        let is_known = self.is_known(layer);
        let open = move || Ok(Box::new(blobs.open(&digest)?) as Box<dyn Read + Send>);
        self.unpack(lease, parent, &layer.diff_id, open, is_known).await
    }
}

/// Reads a layer's content to its end: it has to have this digest.
pub(super) fn verified(tar: impl Read, diff_id: &DiffId) -> Result<()> {
    let digest =
        Digest::of_stream(tar, &diff_id.0).map_err(|e| Error::wrap(ErrorKind::Invalid, "read a layer", e))?;
    if digest == diff_id.0 { Ok(()) } else { Err(mismatch(&diff_id.0, &digest)) }
}

/// The layers a configuration names have to be as many as there are blobs for them.
pub(super) fn check_count(diff_ids: usize, blobs: usize) -> Result<()> {
    if diff_ids == blobs {
        return Ok(());
    }
    Err(Error::invalid(format!("the image's configuration names {diff_ids} layers, its manifest {blobs}")))
}
