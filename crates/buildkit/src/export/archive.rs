//! An archive to the client: an image's, or of the files in it.

use super::writer::ToClient;
use super::{Export, Said, names};
use crate::error::status;
use http::{HeaderName, HeaderValue};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use wharf_engine::transfer;
use wharf_grpc::proto::session::{BytesMessage, FILE_SEND};
use wharf_grpc::{HeaderMap, Status};
use wharf_model::snapshots::Tree;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::reference::Reference;
use wharf_oci::tar::Writer;

impl Export<'_> {
    /// `docker` and `oci`: one archive that is both.
    pub(super) async fn archive(&self, kind: &str) -> Result<Said, Status> {
        let what = if kind == "oci" { "OCI" } else { "docker" };
        let names = names(self.attrs)?;
        let mut metadata = self.metadata();
        if !names.is_empty()
            && let Ok(value) = HeaderValue::try_from(super::listed(&names))
        {
            metadata.insert(HeaderName::from_static("exporter-md-image.name"), value);
        }
        let (images, image, named) = (
            self.kit.builder.images.clone(),
            Arc::clone(&self.image),
            names.iter().cloned().map(Reference::or_latest).collect(),
        );
        let write = move |out: &mut ToClient| images.save_as(&image, named, out);
        self.send(format!("exporting to {what} image format"), "sending tarball", metadata, write).await?;
        Ok(self.said(&names))
    }

    /// `tar`: the files.
    pub(super) async fn tar(&self) -> Result<Said, Status> {
        let (snapshots, chain) = (Arc::clone(&self.kit.builder.snapshots), self.image.chain());
        let write = move |out: &mut ToClient| match chain {
            Some(chain) => snapshots.read_tar(Tree::Layer(&chain), Path::new("/"), None, out),
            None => {
                let written = Writer::new(out).finish().map(drop);
                written.map_err(|e| Error::wrap(ErrorKind::Internal, "write an empty archive", e))
            }
        };
        self.send("exporting to client tarball".to_owned(), "sending tarball", self.metadata(), write)
            .await?;
        Ok(Said::new())
    }

    async fn send(
        &self,
        said: String,
        part: &str,
        metadata: HeaderMap,
        write: impl FnOnce(&mut ToClient) -> Result<()> + Send + 'static,
    ) -> Result<(), Status> {
        let step = self.build.progress.step(said);
        let part = step.part(part);
        let (requests, mut messages) = self.caller.stream(FILE_SEND, metadata)?;
        let writing = transfer::run(move || {
            let mut out = ToClient::new(requests);
            write(&mut out)?;
            out.flush().map_err(|e| Error::wrap(ErrorKind::Internal, "send the archive", e))
        });
        let taking = async {
            while messages.next::<BytesMessage>().await?.is_some() {}
            Ok(())
        };
        let (written, taken): (_, Result<(), Status>) = tokio::join!(writing, taking);
        // What the client says of a broken transfer says more than that it broke.
        let result = taken.and_then(|()| written.and_then(|written| written).map_err(|e| status(&e)));
        if result.is_ok() {
            part.done();
        }
        step.ended(result)
    }
}
