//! Who signs requests: keys of the environment, or of a file as AWS's tools have it. Never shown.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use wharf_model::{Error, ErrorKind, Result};

/// A pair of keys.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

/// Keys as they were read, and of when the file was then.
type Read = (Option<SystemTime>, Keys);

/// Where keys come from.
#[derive(Clone)]
pub(crate) struct Credentials(Source);

#[derive(Clone)]
enum Source {
    Fixed(Keys),
    File {
        path: PathBuf,
        /// Read again when the file changes: temporary keys are replaced so.
        read: Arc<Mutex<Option<Read>>>,
    },
}

impl Credentials {
    /// Keys of a file, or else of `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    /// `Invalid` when there are none.
    pub(crate) fn open(file: Option<PathBuf>, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        if let Some(path) = file {
            let credentials = Self(Source::File { path, read: Arc::default() });
            credentials.current()?;
            return Ok(credentials);
        }
        let of = |name: &str| env(name).filter(|value| !value.is_empty());
        match (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                Ok(Self(Source::Fixed(Keys { id, secret, token: of("AWS_SESSION_TOKEN") })))
            }
            _ => Err(Error::invalid(
                "there are no keys for the store: give a credentials-file, or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY in the environment",
            )),
        }
    }

    pub(super) fn current(&self) -> Result<Keys> {
        let (path, read) = match &self.0 {
            Source::Fixed(keys) => return Ok(keys.clone()),
            Source::File { path, read } => (path, read),
        };
        let failed =
            |e| Error::wrap(ErrorKind::Invalid, format!("read the store's keys {}", path.display()), e);
        let modified = std::fs::metadata(path).and_then(|m| m.modified()).ok();
        let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((time, keys)) = &*read
            && *time == modified
        {
            return Ok(keys.clone());
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let keys = parse(&text).ok_or_else(|| {
            Error::invalid(format!(
                "{}: [default] with aws_access_key_id and aws_secret_access_key is expected",
                path.display()
            ))
        })?;
        *read = Some((modified, keys.clone()));
        Ok(keys)
    }
}

/// The section `default` of a credentials file, or what stands before any section.
fn parse(text: &str) -> Option<Keys> {
    let (mut id, mut secret, mut token, mut ours) = (None, None, None, true);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            ours = section.trim() == "default";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| ours) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys { id: id?, secret: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_the_environment() {
        let keys = parse(
            "[other]\naws_access_key_id=x\n[default]\naws_access_key_id = a\naws_secret_access_key=b=\n",
        );
        let keys = keys.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token), ("a", "b=", None));
        assert!(parse("[default]\naws_access_key_id=a").is_none());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(&path, "aws_access_key_id=a\naws_secret_access_key=b\n").unwrap();
        let credentials = Credentials::open(Some(path.clone()), |_| None).unwrap();
        std::fs::write(&path, "aws_access_key_id=c\naws_secret_access_key=d\n").unwrap();
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
            .unwrap();
        assert_eq!(credentials.current().unwrap().id, "c", "replaced keys are taken");
        assert!(Credentials::open(None, |_| None).is_err());
    }
}
