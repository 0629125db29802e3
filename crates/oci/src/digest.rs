//! Digests: `algorithm:hex` (OCI image specification, descriptor.md, "Digests"), and the ids made of them.

use ring::digest::{Context, SHA256, SHA512};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid digest {0:?}: expected sha256: and 64 or sha512: and 128 lower-case hex digits")]
pub struct DigestError(String);

/// Bytes of a stream that are hashed at once.
const STREAM_CHUNK: usize = 1 << 18;

/// Makes the digest of content that comes in pieces.
#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    /// Of the algorithm of a digest that the result is to be compared with.
    pub fn like(expected: &Digest) -> Self {
        Self(Context::new(if expected.algorithm() == "sha512" { &SHA512 } else { &SHA256 }))
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        match self.0.finish().as_ref() {
            long if long.len() == SHA512.output_len() => Digest::from_sha512(long),
            hash => Digest::from_sha256(hash),
        }
    }
}

/// The digest of some content.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// SHA-256 of bytes in memory.
    pub fn sha256(content: &[u8]) -> Self {
        Self::from_sha256(ring::digest::digest(&SHA256, content).as_ref())
    }

    /// SHA-512 of bytes in memory.
    pub fn sha512(content: &[u8]) -> Self {
        Self::from_sha512(ring::digest::digest(&SHA512, content).as_ref())
    }

    /// From the 32 bytes of a finished SHA-256.
    pub fn from_sha256(hash: &[u8]) -> Self {
        Self::from_hash("sha256:", hash)
    }

    /// From the 64 bytes of a finished SHA-512.
    pub fn from_sha512(hash: &[u8]) -> Self {
        Self::from_hash("sha512:", hash)
    }

    /// The digest of all that a stream gives, of the algorithm of `expected`.
    ///
    /// # Errors
    /// The stream's.
    pub fn of_stream(mut stream: impl Read, expected: &Self) -> io::Result<Self> {
        let mut hasher = Hasher::like(expected);
        let mut buffer = vec![0; STREAM_CHUNK];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn from_hash(prefix: &str, hash: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(prefix.len() + 2 * hash.len());
        text.push_str(prefix);
        for byte in hash {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Self(text)
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The hex digits.
    pub fn hex(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let valid = text.split_once(':').is_some_and(|(algorithm, hex)| {
            let digits = match algorithm {
                "sha256" => 64,
                "sha512" => 128,
                _ => return false,
            };
            hex.len() == digits && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if valid { Ok(Self(text.to_owned())) } else { Err(DigestError(text.to_owned())) }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The digest of a layer's uncompressed tar (OCI image specification, config.md, "Layer DiffID").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

/// The digest that names a layer with all the layers below it (config.md, "Layer ChainID").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The chain id of a layer on a parent.
    pub fn extend(parent: Option<&ChainId>, diff_id: &DiffId) -> Self {
        match parent {
            None => Self(diff_id.0.clone()),
            Some(parent) => Self(Digest::sha256(format!("{} {}", parent.0, diff_id.0).as_bytes())),
        }
    }

    /// The chain id of a whole stack, bottom layer first; `None` for an empty one.
    pub fn of<'a>(diff_ids: impl IntoIterator<Item = &'a DiffId>) -> Option<Self> {
        diff_ids.into_iter().fold(None, |parent, id| Some(Self::extend(parent.as_ref(), id)))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_parse_strictly() {
        let digest = Digest::sha256(b"");
        assert_eq!(digest.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.as_str().parse::<Digest>().unwrap(), digest);
        for bad in ["", "sha256:", "sha256:AB", "md5:00", "sha256:../../etc/passwd"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_chain_of_one_is_its_diff_id() {
        let diff = DiffId(Digest::sha256(b"a"));
        assert_eq!(ChainId::of([&diff]).unwrap().0, diff.0);
        assert_eq!(ChainId::of([]), None);
    }
}
