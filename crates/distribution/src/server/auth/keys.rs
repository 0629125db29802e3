//! Public keys that tokens are verified with: PEM keys, PEM certificates, or a JSON Web Key Set (RFC 7517).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use std::path::Path;
use wharf_model::{Error, ErrorKind, Result};
use wharf_signing::der;

/// A key and what it verifies.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Its name in a key set.
    id: Option<String>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    P256(Vec<u8>),
    P384(Vec<u8>),
    Edwards(Vec<u8>),
    /// As PKCS#1 has it.
    Rsa(Vec<u8>),
    RsaParts(Vec<u8>, Vec<u8>),
}

#[derive(serde::Deserialize)]
struct KeySet {
    keys: Vec<WebKey>,
}

#[derive(serde::Deserialize)]
struct WebKey {
    kty: String,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Key {
    /// A P-256 point, uncompressed.
    pub(super) fn p256(id: String, point: Vec<u8>) -> Self {
        Self { id: Some(id), kind: Kind::P256(point) }
    }

    /// Whether the signature of a token is this key's, under the algorithm that the token names. An algorithm that
    /// is not the key's is refused: a public key is no shared secret.
    pub(super) fn verifies(
        &self,
        algorithm: &str,
        id: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> bool {
        if let (Some(own), Some(id)) = (&self.id, id)
            && own != id
        {
            return false;
        }
        let verified = match (algorithm, &self.kind) {
            ("ES256", Kind::P256(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            ("ES384", Kind::P384(point)) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature)
            }
            ("EdDSA", Kind::Edwards(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(signed, signature)
            }
            ("RS256", Kind::Rsa(key)) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(signed, signature)
            }
            ("RS256", Kind::RsaParts(n, e)) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }

    fn from_info(info: &[u8]) -> Option<Self> {
        let (algorithm, bits) = der::public_key(info)?;
        let bits = bits.to_vec();
        let kind = match &algorithm[..] {
            der::EC_P256 => Kind::P256(bits),
            der::EC_P384 => Kind::P384(bits),
            der::RSA => Kind::Rsa(bits),
            der::EDWARDS => Kind::Edwards(bits),
            _ => return None,
        };
        Some(Self { id: None, kind })
    }

    fn from_web(key: WebKey) -> Option<Self> {
        let part = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let point = || Some([&[4][..], &part(&key.x)?, &part(&key.y)?].concat());
        let kind = match (key.kty.as_str(), key.crv.as_deref()) {
            ("EC", Some("P-256")) => Kind::P256(point()?),
            ("EC", Some("P-384")) => Kind::P384(point()?),
            ("OKP", Some("Ed25519")) => Kind::Edwards(part(&key.x)?),
            ("RSA", _) => Kind::RsaParts(part(&key.n)?, part(&key.e)?),
            _ => return None,
        };
        Some(Self { id: key.kid, kind })
    }
}

/// Reads the keys of a file. Keys of kinds that are not known are passed over; that none is left is an error.
pub(super) fn read(path: &Path) -> Result<Vec<Key>> {
    let doing = || format!("read the token server's keys {}", path.display());
    let content = std::fs::read(path).map_err(|e| Error::wrap(ErrorKind::Invalid, doing(), e))?;
    let keys: Vec<Key> = match content.trim_ascii_start().first() {
        Some(b'{') => {
            let set: KeySet =
                serde_json::from_slice(&content).map_err(|e| Error::wrap(ErrorKind::Invalid, doing(), e))?;
            set.keys.into_iter().filter_map(Key::from_web).collect()
        }
        _ => <(SectionKind, Vec<u8>)>::pem_slice_iter(&content)
            .filter_map(std::result::Result::ok)
            .filter_map(|(kind, bytes)| match kind {
                SectionKind::PublicKey => Key::from_info(&bytes),
                SectionKind::Certificate => Key::from_info(der::certificate_key(&bytes)?),
                _ => None,
            })
            .collect(),
    };
    if keys.is_empty() {
        return Err(Error::invalid(format!(
            "{}: there is no key in it that is known: a public key or certificate in PEM or a JSON Web Key Set is \
             expected, of RSA, P-256, P-384 or Ed25519",
            doing()
        )));
    }
    Ok(keys)
}
