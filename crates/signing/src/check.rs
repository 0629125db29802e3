//! Whether what was found beside an image is a signature of it by a key that counts.

use crate::bundle;
use crate::format::{Payload, TYPE};
use crate::key::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wharf_oci::digest::Digest;

/// Something beside an image that may be its signature.
#[derive(Debug, Clone)]
pub enum Found {
    /// A layer of the image of signatures.
    Simple {
        /// The bytes that are signed.
        payload: Vec<u8>,
        /// The signature, in base64.
        signature: String,
        /// Whether a certificate is with it in place of a key.
        keyless: bool,
    },
    /// A sigstore bundle, JSON.
    Bundle(Vec<u8>),
}

/// What is demanded of signatures.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// The image that they are to be about.
    pub digest: &'a Digest,
    /// The name that it was asked for by, to be shown.
    pub name: &'a str,
    /// The keys that count.
    pub keys: &'a [PublicKey],
    /// So many different ones of them have to have signed.
    pub threshold: usize,
    /// Annotations that a signature has to have.
    pub annotations: &'a BTreeMap<String, String>,
    /// The repository that the signature has to name, where that matters.
    pub repository: Option<Named<'a>>,
}

/// A repository, as whoever demands a signature knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// With its registry: `registry.example/team/app`.
    Whole(&'a str),
    /// By its path alone: a registry does not know what names it is reached by.
    Path(&'a str),
}

impl Named<'_> {
    /// Whether a name, with or without a tag or digest, is one in the repository.
    fn has(self, name: &str) -> bool {
        name.parse::<wharf_oci::reference::Reference>().is_ok_and(|name| match self {
            Self::Whole(repository) => name.repository() == repository,
            Self::Path(path) => name.path() == path,
        })
    }
}

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(name) | Self::Path(name) => f.write_str(name),
        }
    }
}

/// A signature that counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// What was signed, as `cosign verify` prints it.
    pub payload: Value,
    /// The place of the key among those of the demand.
    pub key: usize,
}

/// Why no signature counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// There is none.
    #[error("no signatures found")]
    None,
    /// There are some, and none does; or not enough of them.
    #[error("no matching signatures: {}", .0.join("; "))]
    NoMatch(Vec<String>),
}

/// The signatures that count.
pub fn verify(found: &[Found], demand: &Demand<'_>) -> Result<Vec<Verified>, Unverified> {
    if found.is_empty() {
        return Err(Unverified::None);
    }
    let mut verified = Vec::new();
    let mut reasons = Vec::new();
    for one in found {
        match judge(one, demand) {
            Ok(signature) => verified.push(signature),
            Err(reason) if !reasons.contains(&reason) => reasons.push(reason),
            Err(_) => {}
        }
    }
    let keys: BTreeSet<usize> = verified.iter().map(|signature| signature.key).collect();
    if keys.len() >= demand.threshold.max(1) {
        return Ok(verified);
    }
    if demand.threshold > 1 {
        reasons.push(format!("{} of {} keys have signed", keys.len(), demand.threshold));
    }
    Err(Unverified::NoMatch(reasons))
}

fn judge(found: &Found, demand: &Demand<'_>) -> Result<Verified, String> {
    match found {
        Found::Simple { payload, signature, keyless } => simple(payload, signature, *keyless, demand),
        Found::Bundle(json) => bundled(json, demand),
    }
}

/// The key that signed. What the signature says counts only after that.
fn signer(
    message: &[u8],
    signatures: &[Vec<u8>],
    keyless: bool,
    demand: &Demand<'_>,
) -> Result<usize, String> {
    let by = |key: &PublicKey| signatures.iter().any(|signature| key.verifies(message, signature));
    demand.keys.iter().position(by).ok_or_else(|| match keyless {
        true => {
            "a keyless signature (a certificate of Fulcio, an entry in Rekor): it can be verified only with \
                 these services, and Wharf verifies with keys, offline"
                .to_owned()
        }
        false => "a signature is of none of the keys".to_owned(),
    })
}

fn simple(payload: &[u8], signature: &str, keyless: bool, demand: &Demand<'_>) -> Result<Verified, String> {
    let signature =
        STANDARD.decode(signature.trim()).map_err(|_| "a signature is not in base64".to_owned())?;
    let key = signer(payload, &[signature], keyless, demand)?;
    let value: Value =
        serde_json::from_slice(payload).map_err(|e| format!("a signed payload cannot be read: {e}"))?;
    let parsed: Payload =
        serde_json::from_slice(payload).map_err(|e| format!("a signed payload cannot be read: {e}"))?;
    if parsed.critical.kind != TYPE {
        return Err(format!("a signed payload is a {:?}, no image's signature", parsed.critical.kind));
    }
    let about = &parsed.critical.image.docker_manifest_digest;
    if *about != demand.digest.as_str() {
        return Err(format!("a signature is about another image, {about}"));
    }
    annotated(&parsed.optional.unwrap_or_default(), demand)?;
    if let Some(repository) = demand.repository {
        let named = &parsed.critical.identity.docker_reference;
        if !repository.has(named) {
            return Err(format!("a signature is for {named:?}, not for {repository}"));
        }
    }
    Ok(Verified { payload: value, key })
}

fn annotated(there: &BTreeMap<String, Value>, demand: &Demand<'_>) -> Result<(), String> {
    for (key, wanted) in demand.annotations {
        let value = match there.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => return Err(format!("a signature has no annotation {key:?}")),
        };
        if value != *wanted {
            return Err(format!("a signature has the annotation {key}={value}, not {wanted}"));
        }
    }
    Ok(())
}

fn bundled(json: &[u8], demand: &Demand<'_>) -> Result<Verified, String> {
    let content = bundle::read(json)?;
    let key = signer(&content.message, &content.signatures, content.keyless, demand)?;
    let about = content.subjects.iter().find(|(digest, _)| digest == demand.digest.as_str());
    let (digest, annotations) = about.ok_or("a bundle is about another image")?;
    annotated(annotations, demand)?;
    if let Some(repository) = demand.repository {
        return Err(format!("a bundle names no repository, and {repository} is demanded"));
    }
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": demand.name},
            "image": {"docker-manifest-digest": digest},
            "type": bundle::SIGN,
        },
        "optional": annotations,
    });
    Ok(Verified { payload, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::sign;
    use crate::key::{PrivateKey, generate};

    fn pair() -> (PrivateKey, PublicKey) {
        let made = generate(b"").unwrap();
        let key = PrivateKey::from_pem(&made.private, || Ok(Vec::new())).unwrap();
        (key, PublicKey::from_pem(&made.public, "k").unwrap())
    }

    fn found(key: &PrivateKey, digest: &Digest, annotations: &BTreeMap<String, String>) -> Found {
        let signed = sign(key, "r.example/team/app", digest, annotations).unwrap();
        Found::Simple { payload: signed.payload, signature: signed.signature, keyless: false }
    }

    fn why(result: Result<Vec<Verified>, Unverified>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn digest_key_annotations_and_name() {
        let (digest, other) = (Digest::sha256(b"image"), Digest::sha256(b"other"));
        let ((mine, my_public), (_, their_public)) = (pair(), pair());
        let annotations = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        let signatures = [found(&mine, &digest, &annotations)];
        let none = BTreeMap::new();
        let demand = |digest, keys, annotations, repository| Demand {
            digest,
            name: "r.example/team/app:1",
            keys,
            threshold: 1,
            annotations,
            repository,
        };
        let (my, their) = (std::slice::from_ref(&my_public), std::slice::from_ref(&their_public));
        let good =
            verify(&signatures, &demand(&digest, my, &annotations, Some(Named::Whole("r.example/team/app"))))
                .unwrap();
        assert_eq!(good[0].payload["critical"]["image"]["docker-manifest-digest"], digest.as_str());
        assert!(why(verify(&[], &demand(&digest, my, &none, None))).contains("no signatures found"));
        assert!(why(verify(&signatures, &demand(&other, my, &none, None))).contains("another image"));
        assert!(why(verify(&signatures, &demand(&digest, their, &none, None))).contains("none of the keys"));
        assert!(
            why(verify(&signatures, &demand(&digest, my, &none, Some(Named::Whole("r.example/other")))))
                .contains("for \"r.example/team/app\"")
        );
        let at = |named| verify(&signatures, &demand(&digest, my, &none, Some(named)));
        assert!(at(Named::Path("team/app")).is_ok(), "a registry knows its repositories by their paths");
        assert!(at(Named::Whole("team/app")).is_err() && at(Named::Path("app")).is_err());
        let test = BTreeMap::from([("env".to_owned(), "test".to_owned())]);
        assert!(why(verify(&signatures, &demand(&digest, my, &test, None))).contains("env=prod, not test"));
        let Found::Simple { payload, signature, .. } = &signatures[0] else { unreachable!() };
        let keyless =
            [Found::Simple { payload: payload.clone(), signature: signature.clone(), keyless: true }];
        assert!(why(verify(&keyless, &demand(&digest, their, &none, None))).contains("Fulcio"));
        let mut changed = payload.clone();
        changed[20] ^= 1;
        let changed = [Found::Simple { payload: changed, signature: signature.clone(), keyless: false }];
        assert!(why(verify(&changed, &demand(&digest, my, &none, None))).contains("none of the keys"));
    }

    #[test]
    fn several_keys_may_have_to_sign() {
        let digest = Digest::sha256(b"image");
        let ((one, one_public), (two, two_public)) = (pair(), pair());
        let (keys, none) = ([one_public, two_public], BTreeMap::new());
        let demand = Demand {
            digest: &digest,
            name: "x",
            keys: &keys,
            threshold: 2,
            annotations: &none,
            repository: None,
        };
        let by_one = found(&one, &digest, &none);
        assert!(why(verify(&[by_one.clone(), by_one.clone()], &demand)).contains("1 of 2"));
        assert_eq!(verify(&[by_one, found(&two, &digest, &none)], &demand).unwrap().len(), 2);
    }

    #[test]
    fn bundles() {
        let digest = Digest::sha256(b"image");
        let (key, public) = pair();
        let make = |about: &Digest, predicate: &str, material: Value| {
            let statement = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": predicate,
                "subject": [{"digest": {"sha256": about.hex()}, "annotations": {"env": "prod"}}], "predicate": {}});
            let payload = statement.to_string();
            let kind = "application/vnd.in-toto+json";
            let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
            let signature = STANDARD.encode(key.sign(message.as_bytes()).unwrap());
            let bundle = json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": material,
                "dsseEnvelope": {"payload": STANDARD.encode(payload), "payloadType": kind,
                                 "signatures": [{"sig": signature}]}});
            [Found::Bundle(bundle.to_string().into_bytes())]
        };
        let (keys, none) = ([public], BTreeMap::new());
        let demand = Demand {
            digest: &digest,
            name: "x",
            keys: &keys,
            threshold: 1,
            annotations: &none,
            repository: None,
        };
        let hint = || json!({"publicKey": {"hint": "x"}});
        let good = verify(&make(&digest, bundle::SIGN, hint()), &demand).unwrap();
        assert_eq!(good[0].payload["optional"]["env"], "prod");
        let other = Digest::sha256(b"other");
        assert!(why(verify(&make(&other, bundle::SIGN, hint()), &demand)).contains("another image"));
        let attested = make(&digest, "https://slsa.dev/provenance/v1", hint());
        assert!(why(verify(&attested, &demand)).contains("attestation"));
        let (_, stranger) = pair();
        let keys = [stranger];
        let demand = Demand { keys: &keys, ..demand };
        let keyless = make(&digest, bundle::SIGN, json!({"certificate": {"rawBytes": "AA=="}}));
        assert!(why(verify(&keyless, &demand)).contains("Rekor"));
        assert!(why(verify(&[Found::Bundle(b"{".to_vec())], &demand)).contains("cannot be read"));
    }
}
