//! `wharf key`.

use super::{password, print, say};
use clap::Subcommand;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wharf_model::{Error, ErrorKind, Result};
use wharf_signing::key::{Generated, PrivateKey, generate};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a pair of keys: PREFIX.key, encrypted with a password (COSIGN_PASSWORD, or asked for), and PREFIX.pub
    Generate {
        /// What the files are called
        #[arg(long, value_name = "PREFIX", default_value = "cosign")]
        output_key_prefix: PathBuf,
    },
    /// Encrypt a private key in plain PKCS#8 as cosign keeps it
    Import {
        /// The private key, PEM
        #[arg(short, long, value_name = "FILE")]
        key: PathBuf,
        /// What the files are called
        #[arg(long, value_name = "PREFIX", default_value = "import-cosign")]
        output_key_prefix: PathBuf,
    },
    /// Print the public key of a private one
    Public {
        /// The private key
        #[arg(short, long, value_name = "FILE", default_value = "cosign.key")]
        key: PathBuf,
    },
}

impl Key {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::Generate { output_key_prefix } => {
                let files = Files::of(&output_key_prefix)?;
                files.write(&generate(&new_password()?)?)
            }
            Self::Import { key, output_key_prefix } => {
                let files = Files::of(&output_key_prefix)?;
                let text = std::fs::read_to_string(&key)
                    .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("read {}", key.display()), e))?;
                files.write(&PrivateKey::seal_pkcs8(&text, &new_password()?)?)
            }
            Self::Public { key } => {
                let key = PrivateKey::read(&key, || password("Enter password for private key: "))?;
                print(key.public().to_pem().trim_end())
            }
        }
    }
}

/// A password that is typed in is asked for twice: nobody can read what a mistyped one encrypts.
fn new_password() -> Result<Vec<u8>> {
    let first = password("Enter password for private key: ")?;
    let is_asked = std::env::var_os("COSIGN_PASSWORD").is_none() && wharf_cli::user::is_at_terminal();
    if is_asked && password("Enter password for private key again: ")? != first {
        return Err(Error::invalid("the passwords differ: begin again"));
    }
    Ok(first)
}

/// The two files of a pair; neither is there yet.
struct Files {
    private: PathBuf,
    public: PathBuf,
}

impl Files {
    fn of(prefix: &Path) -> Result<Self> {
        let files =
            Self { private: prefix.with_added_extension("key"), public: prefix.with_added_extension("pub") };
        for path in [&files.private, &files.public] {
            if path.exists() {
                let text =
                    format!("{} is there already: move it away, or give --output-key-prefix", path.display());
                return Err(Error::conflict(text));
            }
        }
        Ok(files)
    }

    fn write(&self, pair: &Generated) -> Result<()> {
        for (path, content, mode) in
            [(&self.private, &pair.private, 0o600), (&self.public, &pair.public, 0o644)]
        {
            let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
            file.and_then(|mut file| file.write_all(content.as_bytes()).and_then(|()| file.sync_all()))
                .map_err(|e| Error::wrap(ErrorKind::Internal, format!("write {}", path.display()), e))?;
        }
        say(&format!("Private key written to {}", self.private.display()));
        say(&format!("Public key written to {}", self.public.display()));
        Ok(())
    }
}
