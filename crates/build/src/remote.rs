//! Build contexts that nobody sends: repositories of Git, archives and Dockerfiles of the web.

use crate::context::{Context, spool};
use crate::executor::blocking;
use crate::session::Session;
use futures_util::StreamExt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use wharf_distribution::client::{Client, Document};
use wharf_git::{Access, Address, Files, Repository};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::manifest::Compression;

/// Where contexts are fetched from, and kept for a moment.
pub struct Remote<'a> {
    /// For the web.
    pub client: &'a Client,
    /// A directory for temporary files.
    pub scratch: &'a Path,
    /// Who has tokens for private repositories: the secrets `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, with `.HOST` for one host.
    pub session: &'a dyn Session,
}

/// What there is at an address.
pub struct Fetched {
    /// The files.
    pub context: Context,
    /// The address had a Dockerfile alone: this is what it is called in the context.
    pub dockerfile: Option<String>,
}

impl Remote<'_> {
    /// Fetches what an address means as a build context.
    ///
    /// # Errors
    /// `Invalid` for what is no address, `NotFound` where there is nothing, else what the server or the way there says.
    pub async fn context(&self, address: &str) -> Result<Fetched> {
        if Address::is_one(address) {
            let tar = self.archive(self.repository(address).await?).await?;
            let scratch = self.scratch.to_owned();
            let context = blocking(move || Context::receive(tar, &scratch)).await?;
            return Ok(Fetched { context, dockerfile: None });
        }
        let mut document = self.document(address).await?;
        let scratch = self.scratch.to_owned();
        blocking(move || {
            let failed = |e| Error::wrap(ErrorKind::Internal, "read what was fetched", e);
            let mut start = Vec::new();
            (&mut document).take(PROBE).read_to_end(&mut start).map_err(failed)?;
            document.seek(SeekFrom::Start(0)).map_err(failed)?;
            if is_archive(&start) {
                return Ok(Fetched { context: Context::receive(document, &scratch)?, dockerfile: None });
            }
            let mut text = String::new();
            document.take(MAX_DOCKERFILE + 1).read_to_string(&mut text).map_err(|e| {
                Error::wrap(ErrorKind::Invalid, "the address has neither an archive nor a Dockerfile", e)
            })?;
            if text.len() as u64 > MAX_DOCKERFILE {
                return Err(Error::invalid(format!(
                    "the Dockerfile at the address has more than {MAX_DOCKERFILE} bytes"
                )));
            }
            let context = Context::of_dockerfile(&text, &scratch)?;
            Ok(Fetched { context, dockerfile: Some("Dockerfile".to_owned()) })
        })
        .await
    }

    /// The files of a repository.
    pub async fn repository(&self, address: &str) -> Result<Files> {
        let address = Address::parse(address)?;
        let authorisation = self.authorisation(&address).await?;
        let access = Access { client: self.client.clone(), authorisation };
        Repository::new(address, access, self.scratch).fetch().await
    }

    /// The same as a context of its own, with nothing left out.
    pub(crate) async fn tree(&self, address: &str) -> Result<Context> {
        let tar = self.archive(self.repository(address).await?).await?;
        let scratch = self.scratch.to_owned();
        blocking(move || Context::read_tree(tar, spool(&scratch)?)).await
    }

    async fn archive(&self, files: Files) -> Result<File> {
        let scratch: PathBuf = self.scratch.to_owned();
        blocking(move || {
            let failed = |e| Error::wrap(ErrorKind::Internal, "keep the files of a repository", e);
            let mut out = std::io::BufWriter::with_capacity(1 << 17, spool(&scratch)?);
            files.write(&mut out)?;
            let mut file = out.into_inner().map_err(|e| failed(e.into_error()))?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            Ok(file)
        })
        .await
    }

    async fn document(&self, url: &str) -> Result<File> {
        let document = self.client.fetch(url).await?;
        let mut file = keep(document, url, self.scratch, |_| {}).await?;
        blocking(move || {
            let back = file.seek(SeekFrom::Start(0)).map(|_| file);
            back.map_err(|e| Error::wrap(ErrorKind::Internal, "read what was fetched", e))
        })
        .await
    }

    async fn authorisation(&self, address: &Address) -> Result<Option<String>> {
        let host =
            address.url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        for (name, is_header) in [("GIT_AUTH_HEADER", true), ("GIT_AUTH_TOKEN", false)] {
            for id in [format!("{name}.{host}"), name.to_owned()] {
                if let Some(secret) = self.session.secret(&id).await? {
                    let text = String::from_utf8_lossy(&secret).trim().to_owned();
                    return Ok(Some(if is_header { text } else { Access::token(&text) }));
                }
            }
        }
        Ok(None)
    }
}

/// Keeps a document in a file without a name; `each` sees its pieces.
pub(crate) async fn keep(
    document: Document,
    url: &str,
    scratch: &Path,
    mut each: impl FnMut(&[u8]),
) -> Result<File> {
    let scratch = scratch.to_owned();
    let mut file = blocking(move || spool(&scratch)).await?;
    let mut stream = std::pin::pin!(document.into_stream());
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|e| Error::wrap(ErrorKind::Internal, format!("fetch {url}"), e))?;
        each(&bytes);
        file = blocking(move || {
            let kept = file.write_all(&bytes).map(|()| file);
            kept.map_err(|e| Error::wrap(ErrorKind::Internal, "keep what was fetched", e))
        })
        .await?;
    }
    Ok(file)
}

/// Bytes that tell an archive: one block of a tar.
const PROBE: u64 = 512;
/// Bytes a Dockerfile may have, as in a context.
const MAX_DOCKERFILE: u64 = 4 << 20;

fn is_archive(start: &[u8]) -> bool {
    Compression::detect(start) != Compression::None || start.get(257..262) == Some(b"ustar")
}
