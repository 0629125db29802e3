//! cosign's encrypted private keys: a JSON object with what scrypt (RFC 7914) made of a password, and NaCl's secretbox.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use wharf_model::{Error, ErrorKind, Result};

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
/// The cost of new keys, 32 MiB and some 80 ms: the only one that older readers (Debian 12's skopeo) take, and which
/// newer ones take, too.
const COST: Params = Params { n: 1 << 15, r: 8, p: 1 };
/// The most memory that a file may ask for: four times the highest cost that cosign has.
const MAX_MEMORY: u64 = 512 << 20;
const KEY: usize = 32;
const SALT: usize = 32;
const NONCE: usize = 24;

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// The content of an encrypted key.
///
/// # Errors
/// `Unauthorised` for a wrong password, `Invalid` for what is no such key.
pub(crate) fn open(json: &[u8], password: &[u8]) -> Result<Vec<u8>> {
    let bad = || Error::invalid("the encrypted private key is damaged");
    let sealed: Sealed = serde_json::from_slice(json)
        .map_err(|e| Error::wrap(ErrorKind::Invalid, "read the encrypted private key", e))?;
    if sealed.kdf.name != KDF || sealed.cipher.name != CIPHER {
        let text = format!(
            "the private key is encrypted with {:?} and {:?}: {KDF} and {CIPHER} are known",
            sealed.kdf.name, sealed.cipher.name
        );
        return Err(Error::unsupported(text));
    }
    let part = |text: &str| STANDARD.decode(text).map_err(|_| bad());
    let (salt, nonce, content) =
        (part(&sealed.kdf.salt)?, part(&sealed.cipher.nonce)?, part(&sealed.ciphertext)?);
    if nonce.len() != NONCE {
        return Err(bad());
    }
    let key = derive(sealed.kdf.params, &salt, password)?;
    XSalsa20Poly1305::new(&key).decrypt(Nonce::from_slice(&nonce), content.as_slice()).map_err(|_| {
        Error::new(ErrorKind::Unauthorised, "the password does not open the private key: try another")
    })
}

/// Encrypts a key.
pub(crate) fn seal(content: &[u8], password: &[u8]) -> Result<Vec<u8>> {
    let mut random = [0u8; SALT + NONCE];
    ring::rand::SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| Error::internal("the kernel gave no random bytes"))?;
    let (salt, nonce) = random.split_at(SALT);
    let key = derive(COST, salt, password)?;
    let sealed = XSalsa20Poly1305::new(&key)
        .encrypt(Nonce::from_slice(nonce), content)
        .map_err(|_| Error::internal("the private key could not be encrypted"))?;
    let sealed = Sealed {
        kdf: Kdf { name: KDF.into(), params: COST, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: CIPHER.into(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(sealed),
    };
    serde_json::to_vec(&sealed).map_err(|e| Error::wrap(ErrorKind::Internal, "write the private key", e))
}

fn derive(params: Params, salt: &[u8], password: &[u8]) -> Result<Key> {
    let Params { n, r, p } = params;
    let memory = n.saturating_mul(u64::from(r)).saturating_mul(128);
    if !n.is_power_of_two() || n < 2 || memory > MAX_MEMORY || p > 16 {
        return Err(Error::invalid(format!("the private key asks for scrypt with N={n}, r={r}, p={p}")));
    }
    let cost = u8::try_from(n.ilog2()).unwrap_or(u8::MAX);
    let params = scrypt::Params::new(cost, r, p, KEY)
        .map_err(|e| Error::invalid(format!("use the private key's parameters of scrypt: {e}")))?;
    let mut key = Key::default();
    scrypt::scrypt(password, salt, &params, &mut key)
        .map_err(|e| Error::internal(format!("make a key of the password: {e}")))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens() {
        let sealed = seal(b"secret", b"word").unwrap();
        assert_eq!(open(&sealed, b"word").unwrap(), b"secret");
        assert_eq!(open(&sealed, b"wort").unwrap_err().kind(), ErrorKind::Unauthorised);
        let text = String::from_utf8(sealed).unwrap();
        for (from, to) in
            [("\"N\":32768", "\"N\":1099511627776"), ("scrypt", "argon2"), ("nonce\":\"", "nonce\":\"AAAA")]
        {
            assert!(open(text.replace(from, to).as_bytes(), b"word").is_err(), "{to}");
        }
    }
}
