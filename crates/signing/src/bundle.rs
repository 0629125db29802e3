//! Sigstore bundles: what cosign 3 stores. A DSSE envelope around an in-toto statement about the image's digest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a statement says that is an image's signature.
pub(crate) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENT: &str = "application/vnd.in-toto+json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<Value>,
    x509_certificate_chain: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Value>>,
}

/// What a bundle holds.
#[derive(Debug)]
pub(crate) struct Content {
    /// The bytes that are signed.
    pub(crate) message: Vec<u8>,
    pub(crate) signatures: Vec<Vec<u8>>,
    /// The digests that it is about, `sha256:…`, with their annotations.
    pub(crate) subjects: Vec<(String, BTreeMap<String, Value>)>,
    pub(crate) keyless: bool,
}

/// Reads a bundle; what is no image's signature is refused with the reason.
pub(crate) fn read(json: &[u8]) -> Result<Content, String> {
    let bundle: Bundle = serde_json::from_slice(json).map_err(|e| format!("a bundle cannot be read: {e}"))?;
    let keyless = bundle.verification_material.certificate.is_some()
        || bundle.verification_material.x509_certificate_chain.is_some();
    let envelope = bundle.dsse_envelope.ok_or("a bundle has no statement: it signs a file, not an image")?;
    if envelope.payload_type != STATEMENT {
        return Err(format!("a bundle holds {:?}, which is no statement", envelope.payload_type));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|e| format!("a bundle cannot be read: {e}"));
    let payload = decode(&envelope.payload)?;
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|e| format!("a bundle's statement cannot be read: {e}"))?;
    if statement.predicate_type != SIGN {
        return Err(format!("a bundle is an attestation ({}), no signature", statement.predicate_type));
    }
    let signatures = envelope.signatures.iter().map(|s| decode(&s.sig)).collect::<Result<_, _>>()?;
    let subjects = statement.subject.into_iter().flat_map(|subject| {
        let annotations = subject.annotations.unwrap_or_default();
        subject.digest.into_iter().map(move |(kind, hex)| (format!("{kind}:{hex}"), annotations.clone()))
    });
    // DSSE's pre-authentication encoding.
    let head = format!("DSSEv1 {} {STATEMENT} {} ", STATEMENT.len(), payload.len());
    Ok(Content {
        message: [head.as_bytes(), &payload].concat(),
        signatures,
        subjects: subjects.collect(),
        keyless,
    })
}
