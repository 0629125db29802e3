//! Keys: public ones in PEM, private ones as cosign keeps them or in plain PKCS#8.

use crate::{der, pem, sealed};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA256_ASN1, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use std::path::Path;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;

/// What cosign calls its encrypted keys, now and before its version 2.
const SEALED: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
const PLAIN: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";
/// Bytes of a file with a key: thirty times a large one.
const MAX_FILE: u64 = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Edwards,
    Rsa,
}

impl Kind {
    fn identifiers(self) -> &'static [u8] {
        match self {
            Self::P256 => der::EC_P256,
            Self::P384 => der::EC_P384,
            Self::Edwards => der::EDWARDS,
            Self::Rsa => der::RSA,
        }
    }
}

/// A key that signatures are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    bits: Vec<u8>,
    /// What people know it by: its file.
    name: String,
}

impl PublicKey {
    /// Reads a file in PEM with one public key: ECDSA on P-256 or P-384, Ed25519, or RSA.
    ///
    /// # Errors
    /// `Invalid`, naming the file.
    pub fn read(path: &Path) -> Result<Self> {
        let doing = || format!("read the public key {}", path.display());
        let text = read(path).map_err(|e| Error::wrap(ErrorKind::Invalid, doing(), e))?;
        Self::from_pem(&text, &path.display().to_string())
            .map_err(|e| Error::wrap(ErrorKind::Invalid, doing(), e))
    }

    /// Parses PEM; `name` is what the key is called in messages.
    pub fn from_pem(text: &str, name: &str) -> Result<Self> {
        let sections = pem::sections(text);
        let found: Vec<&Vec<u8>> = sections.iter().filter(|(l, _)| l == PUBLIC).map(|(_, c)| c).collect();
        let [info] = found[..] else {
            let private = sections.iter().any(|(label, _)| label.contains("PRIVATE"));
            return Err(Error::invalid(match (found.len(), private) {
                (0, true) => "this is a private key: the public one is expected, cosign.pub",
                (0, false) => "there is no public key in it: PEM is expected, -----BEGIN PUBLIC KEY-----",
                _ => "there is more than one key in it: a file each is expected",
            }));
        };
        let known = der::public_key(info).and_then(|(algorithm, bits)| {
            let kinds = [Kind::P256, Kind::P384, Kind::Edwards, Kind::Rsa];
            let kind = kinds.into_iter().find(|kind| kind.identifiers() == algorithm)?;
            Some(Self { kind, bits: bits.to_vec(), name: name.to_owned() })
        });
        known.ok_or_else(|| {
            Error::unsupported(
                "its kind of key is not known: ECDSA on P-256 or P-384, Ed25519 or RSA is expected",
            )
        })
    }

    /// Whether a signature of some bytes is this key's. As cosign does, the hash is SHA-256 whatever the curve.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = &self.bits;
        let verified = match self.kind {
            Kind::P256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, signature),
            Kind::P384 => UnparsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, key).verify(message, signature),
            Kind::Edwards => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Kind::Rsa => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature),
        };
        verified.is_ok()
    }

    /// Its file, or what else it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key as a file has it.
    pub fn to_pem(&self) -> String {
        pem::write(PUBLIC, &der::public_key_info(self.kind.identifiers(), &self.bits))
    }

    /// The digest of the key, by which people can compare it.
    pub fn fingerprint(&self) -> Digest {
        Digest::sha256(&der::public_key_info(self.kind.identifiers(), &self.bits))
    }
}

/// A key that signs.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    P256(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public).finish()
    }
}

/// Two files: the private key, encrypted, and the public one.
#[derive(Debug)]
pub struct Generated {
    /// Content of `cosign.key`.
    pub private: String,
    /// Content of `cosign.pub`.
    pub public: String,
}

/// Makes a pair of keys, ECDSA on P-256 as cosign does. An empty password encrypts, too, and protects nothing.
pub fn generate(password: &[u8]) -> Result<Generated> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
        .map_err(|_| Error::internal("the key could not be made: the kernel gave no random bytes"))?;
    let key = PrivateKey::from_pkcs8(document.as_ref())?;
    let private = pem::write(SEALED[0], &sealed::seal(document.as_ref(), password)?);
    Ok(Generated { private, public: key.public.to_pem() })
}

impl PrivateKey {
    /// Reads a file. `password` is asked when the key is encrypted.
    ///
    /// # Errors
    /// `Unauthorised` for a wrong password, `Invalid` for what is no key, naming the file.
    pub fn read(path: &Path, password: impl FnOnce() -> Result<Vec<u8>>) -> Result<Self> {
        let doing = || format!("read the private key {}", path.display());
        let text = read(path).map_err(|e| Error::wrap(ErrorKind::Invalid, doing(), e))?;
        Self::from_pem(&text, password).map_err(|e| Error::wrap(e.kind(), doing(), e))
    }

    /// Parses PEM.
    pub fn from_pem(text: &str, password: impl FnOnce() -> Result<Vec<u8>>) -> Result<Self> {
        let sections = pem::sections(text);
        let of = |labels: &[&str]| sections.iter().find(|(label, _)| labels.contains(&label.as_str()));
        if let Some((_, json)) = of(&SEALED) {
            return Self::from_pkcs8(&sealed::open(json, &password()?)?);
        }
        if let Some((_, document)) = of(&[PLAIN]) {
            return Self::from_pkcs8(document);
        }
        let label = sections.first().map(|(label, _)| label.as_str());
        Err(match label {
            Some("EC PRIVATE KEY" | "RSA PRIVATE KEY") => Error::unsupported(
                "the key is in an older format: `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW` makes one that is known",
            ),
            Some("ENCRYPTED PRIVATE KEY") => Error::unsupported(
                "the key is encrypted in another way than cosign's: `wharf key import` takes it decrypted",
            ),
            Some(other) => Error::invalid(format!("{other:?} is no private key")),
            None => Error::invalid("there is no private key in it: PEM is expected"),
        })
    }

    fn from_pkcs8(document: &[u8]) -> Result<Self> {
        let random = SystemRandom::new();
        let (pair, kind, bits) = if let Ok(pair) =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document, &random)
        {
            let bits = pair.public_key().as_ref().to_vec();
            (Pair::P256(pair), Kind::P256, bits)
        } else if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(document) {
            let bits = pair.public_key().as_ref().to_vec();
            (Pair::Edwards(pair), Kind::Edwards, bits)
        } else if let Ok(pair) = RsaKeyPair::from_pkcs8(document) {
            let bits = pair.public().as_ref().to_vec();
            (Pair::Rsa(pair), Kind::Rsa, bits)
        } else {
            let text =
                "its kind of private key is not known: ECDSA on P-256, Ed25519 or RSA in PKCS#8 is expected";
            return Err(Error::unsupported(text));
        };
        Ok(Self { pair, public: PublicKey { kind, bits, name: String::new() } })
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The same key as cosign keeps it, encrypted.
    pub fn seal_pkcs8(text: &str, password: &[u8]) -> Result<Generated> {
        let sections = pem::sections(text);
        let plain = sections.iter().find(|(label, _)| label == PLAIN);
        let (_, document) =
            plain.ok_or_else(|| Error::invalid("a private key in plain PKCS#8 is expected"))?;
        let key = Self::from_pkcs8(document)?;
        let private = pem::write(SEALED[0], &sealed::seal(document, password)?);
        Ok(Generated { private, public: key.public.to_pem() })
    }

    /// Signs some bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| Error::internal("the signature could not be made");
        match &self.pair {
            Pair::P256(pair) => pair.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(failed),
            Pair::Edwards(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_belongs_together() {
        let made = generate(b"word").unwrap();
        let key = PrivateKey::from_pem(&made.private, || Ok(b"word".to_vec())).unwrap();
        let public = PublicKey::from_pem(&made.public, "k").unwrap();
        assert_eq!(public.fingerprint(), key.public().fingerprint());
        let signature = key.sign(b"message").unwrap();
        assert!(public.verifies(b"message", &signature) && !public.verifies(b"massage", &signature));
        let other = PublicKey::from_pem(&generate(b"").unwrap().public, "o").unwrap();
        assert!(!other.verifies(b"message", &signature));
        let older = made.private.replace("SIGSTORE", "COSIGN");
        PrivateKey::from_pem(&older, || Ok(b"word".to_vec())).unwrap();
        assert!(PrivateKey::from_pem(&made.private, || Ok(Vec::new())).is_err());
    }

    #[test]
    fn what_is_no_key_is_said() {
        let made = generate(b"").unwrap();
        let said = |text: &str| PublicKey::from_pem(text, "k").unwrap_err().full();
        assert!(said(&made.private).contains("private key"));
        assert!(said("x").contains("no public key"));
        assert!(said(&made.public.repeat(2)).contains("more than one"));
        assert!(said(&pem::write(PUBLIC, b"x")).contains("not known"));
        for (label, said) in
            [("EC PRIVATE KEY", "openssl"), ("PUBLIC KEY", "no private key"), (PLAIN, "not known")]
        {
            let error = PrivateKey::from_pem(&pem::write(label, b"x"), || Ok(vec![])).unwrap_err();
            assert!(error.full().contains(said), "{}", error.full());
        }
    }
}
