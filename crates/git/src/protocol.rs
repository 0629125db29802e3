//! Asking for references and for a commit (gitprotocol-v2(5)).

use crate::address::Address;
use crate::checkout::{self, Files};
use crate::pack::{Id, Kind, Pack};
use crate::packet::{DELIMITER, FLUSH, Packet, line, text_of};
use crate::transport::{Access, Connection, may_know};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wharf_model::{Error, ErrorKind, Result};

/// Bytes a pack may have: on the disk for a moment, and more than anybody builds from.
const MAX_PACK: u64 = 16 << 30;
/// References a server may list.
const MAX_REFERENCES: usize = 1 << 20;
/// Submodules in submodules.
const MAX_DEPTH: usize = 8;
/// Submodules in all.
const MAX_SUBMODULES: usize = 256;

/// Fetches of one repository.
pub struct Repository {
    address: Address,
    access: Access,
    scratch: PathBuf,
}

/// A reference and the object it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference {
    name: String,
    id: Id,
}

/// What is asked for.
struct Wanted {
    ids: Vec<Id>,
    /// Only the commits themselves, without what was before them.
    shallow: bool,
}

impl Repository {
    /// One at an address; packs are for a moment in `scratch`.
    pub fn new(address: Address, access: Access, scratch: &Path) -> Self {
        Self { address, access, scratch: scratch.to_owned() }
    }

    /// The commit that the address means, as 40 hex digits, without fetching anything else.
    ///
    /// # Errors
    /// `NotFound` when there is no such reference; what the server says, or the way there.
    pub async fn commit(&self) -> Result<String> {
        if let Some(id) = Id::parse(&self.address.reference.to_ascii_lowercase()) {
            return Ok(id.to_string());
        }
        let (mut connection, _) = Connection::open(&self.address, &self.access).await?;
        let references = references(&mut connection).await?;
        match choose(&references, &self.address.reference) {
            Some(found) => Ok(found.id.to_string()),
            None => Err(self.absent()),
        }
    }

    fn absent(&self) -> Error {
        let Address { url, reference, .. } = &self.address;
        let reference = if reference.is_empty() { "HEAD" } else { reference };
        Error::not_found(format!("{url} has no branch, tag or commit {reference}"))
    }

    /// Fetches the files of the directory that the address means.
    ///
    /// # Errors
    /// `NotFound` when there is no such reference or directory; what the server says, or the way there.
    pub async fn fetch(&self) -> Result<Files> {
        let mut budget = MAX_SUBMODULES;
        self.fetch_at(None, MAX_DEPTH, &mut budget).await
    }

    /// `pinned` is the commit that a submodule is at.
    async fn fetch_at(&self, pinned: Option<Id>, depth: usize, budget: &mut usize) -> Result<Files> {
        let (commit, pack) = self.pack(pinned).await?;
        if let Some(wanted) = &self.address.checksum
            && !commit.to_string().starts_with(wanted.as_str())
        {
            return Err(Error::invalid(format!(
                "{}: expected commit {wanted}, got {commit}",
                self.address.url
            )));
        }
        let directory = self.address.directory.clone();
        let mut files = blocking(move || checkout::files(pack, commit, &directory)).await?;
        let modules = if self.address.submodules { files.submodules()? } else { Vec::new() };
        for module in modules {
            if depth == 0 || *budget == 0 {
                return Err(Error::unsupported(format!("{}: too many submodules", self.address.url)));
            }
            *budget -= 1;
            let address = self.address.submodule(&module.url)?;
            let same = may_know(&self.address.url, &address.url);
            let access = if same {
                self.access.clone()
            } else {
                Access { authorisation: None, ..self.access.clone() }
            };
            let inner = Self::new(address, access, &self.scratch);
            let fetched = Box::pin(inner.fetch_at(Some(module.commit), depth - 1, budget)).await?;
            files.add(&module.path, fetched);
        }
        Ok(files)
    }

    async fn pack(&self, pinned: Option<Id>) -> Result<(Id, Pack)> {
        let (mut connection, capabilities) = Connection::open(&self.address, &self.access).await?;
        let shallow = capabilities.iter().any(|line| {
            line.strip_prefix("fetch=").is_some_and(|features| features.split(' ').any(|f| f == "shallow"))
        });
        let text = self.address.reference.to_ascii_lowercase();
        if let Some(id) = pinned.or_else(|| Id::parse(&text)) {
            let wanted = Wanted { ids: vec![id], shallow };
            match fetch(&mut connection, &wanted, &self.scratch).await {
                Ok(pack) => return Ok((id, pack)),
                // A server may give out only what it lists.
                Err(e) => tracing::debug!("{}: {id} by itself: {}", self.address.url, e.full()),
            }
            let (mut connection, _) = Connection::open(&self.address, &self.access).await?;
            return self.in_history(&mut connection, &id.to_string()).await;
        }
        let references = references(&mut connection).await?;
        let Some(found) = choose(&references, &self.address.reference) else {
            let is_short = (7..40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
            if is_short {
                return self.in_history(&mut connection, &text).await;
            }
            return Err(self.absent());
        };
        let wanted = Wanted { ids: vec![found.id], shallow };
        let (mut pack, id) = (fetch(&mut connection, &wanted, &self.scratch).await?, found.id);
        blocking(move || peel(&mut pack, id).map(|commit| (commit, pack))).await
    }

    /// Looks for a commit in all that the repository has.
    async fn in_history(&self, connection: &mut Connection, digits: &str) -> Result<(Id, Pack)> {
        let references = references(connection).await?;
        let mut ids: Vec<Id> = references.iter().map(|reference| reference.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut pack = fetch(connection, &Wanted { ids, shallow: false }, &self.scratch).await?;
        let digits = digits.to_owned();
        let found = blocking(move || pack.commit_beginning(&digits).map(|commit| (commit, pack)));
        match found.await? {
            (Some(commit), pack) => Ok((commit, pack)),
            (None, _) => Err(self.absent()),
        }
    }
}

/// The commit that a tag with a text of its own names.
fn peel(pack: &mut Pack, id: Id) -> Result<Id> {
    let mut id = id;
    // A tag of a tag of a tag is nothing that anybody makes.
    for _ in 0..8 {
        let object =
            pack.object(id)?.ok_or_else(|| Error::internal(format!("the Git server did not send {id}")))?;
        match object.kind {
            Kind::Commit => return Ok(id),
            Kind::Tag => {
                let text = String::from_utf8_lossy(&object.content);
                let named =
                    text.lines().next().and_then(|line| line.strip_prefix("object ")).and_then(Id::parse);
                id = named.ok_or_else(|| Error::internal(format!("the tag {id} names nothing")))?;
            }
            _ => break,
        }
    }
    Err(Error::invalid(format!("{id} is no commit")))
}

async fn references(connection: &mut Connection) -> Result<Vec<Reference>> {
    let mut request = Vec::new();
    line(&mut request, "command=ls-refs");
    request.extend_from_slice(DELIMITER);
    for option in
        ["ref-prefix HEAD", "ref-prefix refs/heads/", "ref-prefix refs/tags/", "ref-prefix refs/pull/"]
    {
        line(&mut request, option);
    }
    request.extend_from_slice(FLUSH);
    let mut answer = connection.ask(request).await?;
    let mut found = Vec::new();
    while let Some(text) = answer.packets().text().await? {
        let mut words = text.split(' ');
        let (Some(id), Some(name)) = (words.next().and_then(Id::parse), words.next()) else { continue };
        if found.len() == MAX_REFERENCES {
            return Err(Error::unsupported(format!(
                "the repository has more than {MAX_REFERENCES} references"
            )));
        }
        found.push(Reference { name: name.to_owned(), id });
    }
    Ok(found)
}

/// The reference that a name means, as git(1) looks it up: whole, a tag, a branch.
fn choose<'a>(references: &'a [Reference], name: &str) -> Option<&'a Reference> {
    let names = match name {
        "" => vec!["HEAD".to_owned()],
        name => vec![
            name.to_owned(),
            format!("refs/{name}"),
            format!("refs/tags/{name}"),
            format!("refs/heads/{name}"),
        ],
    };
    names.iter().find_map(|name| references.iter().find(|reference| reference.name == *name))
}

async fn fetch(connection: &mut Connection, wanted: &Wanted, scratch: &Path) -> Result<Pack> {
    let mut request = Vec::new();
    line(&mut request, "command=fetch");
    request.extend_from_slice(DELIMITER);
    line(&mut request, "no-progress");
    line(&mut request, "ofs-delta");
    if wanted.shallow {
        line(&mut request, "deepen 1");
    }
    for id in &wanted.ids {
        line(&mut request, &format!("want {id}"));
    }
    line(&mut request, "done");
    request.extend_from_slice(FLUSH);
    let mut answer = connection.ask(request).await?;
    let packets = answer.packets();
    loop {
        match packets.next().await? {
            Some(Packet::Line(line)) if line.trim_ascii_end() == b"packfile" => break,
            // What is shallow, and the end of that.
            Some(Packet::Line(line)) => drop(text_of(&line)?),
            Some(Packet::Delimiter) => {}
            _ => return Err(Error::internal("the Git server sent no pack")),
        }
    }
    let mut file = temporary(scratch)?;
    let mut size = 0u64;
    while let Some(Packet::Line(piece)) = packets.next().await? {
        match piece.split_first() {
            Some((1, data)) => {
                size += data.len() as u64;
                if size > MAX_PACK {
                    return Err(Error::unsupported(format!(
                        "the repository's pack has more than {MAX_PACK} bytes"
                    )));
                }
                let data = piece.slice_ref(data);
                file = blocking(move || {
                    file.write_all(&data)
                        .map(|()| file)
                        .map_err(|e| Error::wrap(ErrorKind::Internal, "keep a pack", e))
                })
                .await?;
            }
            Some((3, text)) => {
                let text = String::from_utf8_lossy(text).trim().to_owned();
                return Err(Error::internal(format!("the Git server says: {text}")));
            }
            _ => {}
        }
    }
    blocking(move || Pack::open(file)).await
}

/// A file that goes when it is closed.
fn temporary(scratch: &Path) -> Result<File> {
    let failed =
        |e| Error::wrap(ErrorKind::Internal, format!("make a temporary file in {}", scratch.display()), e);
    std::fs::create_dir_all(scratch).map_err(failed)?;
    // open(2), O_TMPFILE: it has no name.
    let flags = i32::try_from(rustix::fs::OFlags::TMPFILE.bits()).unwrap_or_default();
    File::options().read(true).write(true).mode(0o600).custom_flags(flags).open(scratch).map_err(failed)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::wrap(ErrorKind::Internal, "a task of a fetch ended early", e))?
}
