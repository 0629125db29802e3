//! The registry's own tokens: ES256 with a key that is made at the first start.

use super::super::access::Grant;
use super::super::entries::fs::{failed, read};
use super::jwt::{self, Audience, Claims};
use super::keys::Key;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use wharf_model::{Error, ErrorKind, Result};

/// What this registry calls itself in its tokens.
const NAME: &str = "wharf-registry";
/// How long a token is good when nothing is said: a pull asks for a new one when it takes longer.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// Writes a file that nobody else reads, from its first byte on, and that is there wholly or not at all.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file =
        std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(part, path)
}

/// Signs tokens and knows them again.
pub(super) struct Issuer {
    pair: EcdsaKeyPair,
    key: Vec<Key>,
    id: String,
    service: String,
    lifetime: Duration,
}

impl Issuer {
    /// Opens the key in a file; makes one if there is none, and with `keep` the file.
    pub(super) fn open(path: &Path, keep: bool, service: &str, lifetime: Duration) -> Result<Self> {
        let random = SystemRandom::new();
        let text = match read(path)? {
            Some(text) => text,
            None => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                    .map_err(|_| Error::internal("the kernel gave no random bytes"))?;
                let text = BASE64_STANDARD.encode(key.as_ref());
                if keep {
                    write_private(path, &text).map_err(|e| failed("write", path, e))?;
                }
                text
            }
        };
        let unusable = || {
            Error::new(
                ErrorKind::Invalid,
                format!(
                    "{} is not the token key that was written there: remove it to get a new one",
                    path.display()
                ),
            )
        };
        let key = BASE64_STANDARD.decode(text.trim()).map_err(|_| unusable())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random)
            .map_err(|_| unusable())?;
        let point = pair.public_key().as_ref().to_vec();
        let id = wharf_oci::digest::Digest::sha256(&point).hex()[..16].to_owned();
        let key = vec![Key::p256(id.clone(), point)];
        Ok(Self { pair, key, id, service: service.to_owned(), lifetime })
    }

    /// A token for a user, and how many seconds it is good.
    pub(super) fn issue(&self, user: Option<&str>, access: Vec<Grant>) -> Result<(String, u64)> {
        let random = SystemRandom::new();
        let failed = || Error::internal("a token could not be signed");
        let mut unique = [0u8; 12];
        random.fill(&mut unique).map_err(|_| failed())?;
        let now = jwt::now();
        let claims = Claims {
            iss: NAME.into(),
            sub: user.unwrap_or_default().into(),
            aud: Audience::One(self.service.clone()),
            exp: now + self.lifetime.as_secs(),
            nbf: now,
            iat: now,
            jti: BASE64_STANDARD.encode(unique),
            access: Some(access),
        };
        let sign = |signed: &[u8]| self.pair.sign(&random, signed).ok().map(|s| s.as_ref().to_vec());
        let token = jwt::encode("ES256", &self.id, &claims, sign).ok_or_else(failed)?;
        Ok((token, self.lifetime.as_secs()))
    }

    pub(super) fn verify(&self, token: &str, now: u64) -> std::result::Result<Claims, String> {
        jwt::verify(token, &self.key, NAME, &self.service, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_tokens_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str, service: &str| {
            Issuer::open(&dir.path().join(name), true, service, LIFETIME).unwrap()
        };
        let issuer = open("key", "here");
        let grant = Grant { kind: "repository".into(), name: "a".into(), actions: vec!["pull".into()] };
        let (token, seconds) = issuer.issue(Some("me"), vec![grant.clone()]).unwrap();
        assert_eq!(seconds, 300);
        let unkept = dir.path().join("unkept");
        Issuer::open(&unkept, false, "here", LIFETIME).unwrap();
        assert!(!unkept.exists());
        let mode = std::fs::metadata(dir.path().join("key")).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        let now = jwt::now();
        let claims = open("key", "here").verify(&token, now).unwrap();
        assert_eq!((&claims.sub[..], claims.access), ("me", Some(vec![grant])), "also after a restart");
        for (why, refused) in [
            ("another key", open("other", "here").verify(&token, now)),
            ("another service", open("key", "there").verify(&token, now)),
            ("too late", issuer.verify(&token, now + 361)),
            ("too early", issuer.verify(&token, now - 61)),
            ("cut", issuer.verify(&token[..token.len() - 2], now)),
            ("nothing", issuer.verify("", now)),
        ] {
            assert!(refused.is_err(), "{why}");
        }
        // A token that says it needs no signature.
        let mut parts: Vec<&str> = token.split('.').collect();
        let none = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        parts[0] = &none;
        assert!(issuer.verify(&parts.join("."), now).is_err());
    }
}
