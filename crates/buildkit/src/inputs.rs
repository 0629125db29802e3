//! The result of one build as an input of another: what stands for the image on its way through the client.

use wharf_engine::images::Image;
use wharf_grpc::proto::ops::{Definition, Input, Op, OpMetadata, SourceOp};
use wharf_grpc::{Message, Status};
use wharf_oci::digest::Digest;

/// Stands before an image's id.
const SCHEME: &str = "docker-image://wharf.local/built@";

/// A graph of one source: the image.
pub(crate) fn definition_of(image: &Image) -> Definition {
    let source = SourceOp { identifier: format!("{SCHEME}{}", image.id), ..SourceOp::default() };
    let source = Op { source: Some(source), ..Op::default() }.encode_to_vec();
    let digest = |bytes: &[u8]| Digest::sha256(bytes).to_string();
    let input = Input { digest: digest(&source), index: 0 };
    let end = Op { inputs: vec![input], ..Op::default() }.encode_to_vec();
    let metadata = [&source, &end].map(|op| (digest(op), OpMetadata {})).into();
    Definition { def: vec![source, end], metadata }
}

/// The image's id, out of what a client made of that.
pub(crate) fn image_of(definition: &Definition) -> Result<String, Status> {
    let id = definition.def.iter().find_map(|bytes| {
        let op = Op::decode(&bytes[..]).ok()?;
        let id: Digest = op.source?.identifier.strip_prefix(SCHEME)?.parse().ok()?;
        Some(id.to_string())
    });
    id.ok_or_else(|| {
        Status::unimplemented("inputs that are LLB are not supported: results of other builds are")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_graphs_are_refused() {
        let source = SourceOp { identifier: "docker-image://alpine".to_owned(), ..SourceOp::default() };
        let op = Op { source: Some(source), ..Op::default() };
        let foreign = Definition { def: vec![op.encode_to_vec(), b"\xff".to_vec()], ..Definition::default() };
        assert!(image_of(&foreign).unwrap_err().message.contains("LLB"));
        let id = Digest::sha256(b"x");
        let source = SourceOp { identifier: format!("{SCHEME}{id}"), ..SourceOp::default() };
        let op = Op { source: Some(source), ..Op::default() };
        let ours = Definition { def: vec![op.encode_to_vec()], ..Definition::default() };
        assert_eq!(image_of(&ours).unwrap(), id.to_string());
    }
}
