//! Users and their passwords: an htpasswd file with bcrypt hashes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use wharf_model::{Error, ErrorKind, Result};

/// Verifications remembered: bcrypt takes tens of milliseconds on purpose, a push makes hundreds of requests.
const MAX_REMEMBERED: usize = 1024;
/// How often the file is looked at for changes.
const RELOAD_AFTER: std::time::Duration = std::time::Duration::from_secs(1);
/// Bytes of a password bcrypt can tell apart.
const MAX_PASSWORD: usize = 72;

/// Who may use the registry.
pub(super) struct Htpasswd {
    path: PathBuf,
    /// Makes remembered verifications useless to anyone who reads the memory of another process.
    key: hmac::Key,
    state: Mutex<State>,
}

struct State {
    users: Arc<HashMap<String, String>>,
    modified: Option<SystemTime>,
    looked: Instant,
    remembered: HashSet<[u8; 32]>,
}

/// A hash of no password, verified for users that do not exist so that they take as long as others.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuPjJZ9FQvB5J3P9Jd1yX0mQk9cX5cFvK";

impl Htpasswd {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())
            .map_err(|_| Error::internal("the kernel gave no random bytes"))?;
        let (users, modified) = read(&path)?;
        let users = Arc::new(users);
        let state =
            State { users, modified: Some(modified), looked: Instant::now(), remembered: HashSet::new() };
        Ok(Self { path, key, state: Mutex::new(state) })
    }

    /// Whether the password is the user's.
    pub(super) async fn verify(self: Arc<Self>, user: &str, password: &str) -> bool {
        let tag = self.tag(user, password);
        let (user, password) = (user.to_owned(), password.to_owned());
        let users = {
            let mut state = self.state();
            if let Err(error) = self.reload(&mut state) {
                // Nobody is let in by a list that cannot be read.
                tracing::error!(error = error.full(), "the registry's htpasswd file cannot be read");
                return false;
            }
            if state.remembered.contains(&tag) {
                return true;
            }
            Arc::clone(&state.users)
        };
        let verified = tokio::task::spawn_blocking(move || {
            let hash = users.get(&user).map_or(NOBODY, String::as_str);
            let known = users.contains_key(&user);
            let matches = password.len() <= MAX_PASSWORD && bcrypt::verify(&password, hash).unwrap_or(false);
            matches && known
        });
        let allowed = verified.await.unwrap_or(false);
        if allowed {
            let mut state = self.state();
            if state.remembered.len() >= MAX_REMEMBERED {
                state.remembered.clear();
            }
            state.remembered.insert(tag);
        }
        allowed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tag(&self, user: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(user.len() as u64).to_le_bytes());
        context.update(user.as_bytes());
        context.update(password.as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn reload(&self, state: &mut State) -> Result<()> {
        if state.looked.elapsed() < RELOAD_AFTER {
            return Ok(());
        }
        let modified = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if modified.is_none() || modified != state.modified {
            state.modified = None;
            let (users, modified) = read(&self.path)?;
            state.users = Arc::new(users);
            state.modified = Some(modified);
            state.remembered.clear();
        }
        state.looked = Instant::now();
        Ok(())
    }
}

fn read(path: &std::path::Path) -> Result<(HashMap<String, String>, SystemTime)> {
    let failed = |e| Error::wrap(ErrorKind::Invalid, format!("read the htpasswd file {}", path.display()), e);
    let modified = std::fs::metadata(path).and_then(|m| m.modified()).map_err(failed)?;
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let mut users = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(':') {
            Some((user, hash)) if ["$2a$", "$2b$", "$2y$"].iter().any(|p| hash.starts_with(p)) => {
                users.insert(user.to_owned(), hash.to_owned());
            }
            _ => {
                return Err(Error::invalid(format!(
                    "line {} of {} is not `user:bcrypt-hash`: make it with `htpasswd -B`",
                    number + 1,
                    path.display()
                )));
            }
        }
    }
    Ok((users, modified))
}

/// The name and password of a `Basic` header (RFC 7617).
pub(super) fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, value) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(value.trim()).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_listed_users_with_their_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("htpasswd");
        let hash = bcrypt::hash("secret", 4).unwrap();
        std::fs::write(&path, format!("# users\nme:{hash}\n")).unwrap();
        let users = Arc::new(Htpasswd::open(path.clone()).unwrap());
        let verify = |user: &'static str, password: &'static str| Arc::clone(&users).verify(user, password);
        assert!(verify("me", "secret").await);
        assert!(verify("me", "secret").await, "remembered");
        for (user, password) in [("me", "wrong"), ("you", "secret"), ("me", ""), ("", "secret")] {
            assert!(!verify(user, password).await, "{user}");
        }
        let header = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert_eq!(credentials(&header("me:se:cret")), Some(("me".into(), "se:cret".into())));
        assert_eq!(credentials("Bearer x").or(credentials("Basic !")).or(credentials(&header("me"))), None);
        assert!(
            !bcrypt::verify("secret", NOBODY).unwrap(),
            "it has to be a hash, or unknown users fail faster"
        );
        std::fs::write(&path, "me:{SHA}abc").unwrap();
        assert!(Htpasswd::open(path).is_err());
    }
}
