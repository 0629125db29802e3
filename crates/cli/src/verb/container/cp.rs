//! `cp`.

use super::path;
use crate::archive::extract::{Target, extract};
use crate::archive::pack::{Owner, add_tree};
use crate::archive::upload;
use crate::context::{Context, note, print};
use crate::failure::{Failure, Outcome};
use base64::Engine as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use wharf_docker_api::client::{Body, Call, Query};
use wharf_docker_api::types::container::PathStat;

/// Flags of `cp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keep the owners of files
    #[arg(short = 'a', long)]
    archive: bool,
    /// Copy what a link at the source points to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing about the progress
    #[arg(short = 'q', long)]
    quiet: bool,
    #[arg(value_name = "SOURCE", required = true, hide = true)]
    source: String,
    #[arg(value_name = "DESTINATION", required = true, hide = true)]
    destination: String,
}

/// Bits of Go's `os.FileMode`.
const MODE_DIR: u32 = 1 << 31;
const MODE_SYMLINK: u32 = 1 << 27;

const STAT_HEADER: &str = "x-docker-container-path-stat";
const TAR: &str = "application/x-tar";
/// Chunks between the network and the thread that extracts.
const PENDING: usize = 4;

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    match (side(&options.source), side(&options.destination)) {
        (Some((container, from)), None) => from_container(context, &options, container, from).await,
        (None, Some((container, to))) => to_container(context, &options, container, to).await,
        (Some(_), Some(_)) => Err(Failure::new("copying between containers is not supported")),
        (None, None) => Err(Failure::new("must specify at least one container source")),
    }
}

/// Container and path of `container:path`; `None` for a path of this machine.
fn side(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) || text == "-" {
        return None;
    }
    text.split_once(':').filter(|(container, path)| !container.is_empty() && !path.is_empty())
}

async fn from_container(context: &Context, options: &Options, container: &str, from: &str) -> Outcome {
    let mut from = from.to_owned();
    if options.follow_link
        && let Some(stat) = stat(context, container, &from).await?
        && stat.mode & MODE_SYMLINK != 0
    {
        from = resolve(&from, &stat.link_target);
    }
    let query = Query::new().with("path", &from);
    let mut stream = context.client.stream(Call::get(path(container, "/archive")).query(query)).await?;
    if options.destination == "-" {
        while let Some(chunk) = stream.chunk().await? {
            print(chunk)?;
        }
        return Ok(0);
    }
    let stat = parse_stat(stream.headers().get(STAT_HEADER).map(http::HeaderValue::as_bytes))?;
    let target = local_target(&from, stat.mode & MODE_DIR != 0, &options.destination, options.archive)?;
    let (sender, receiver) = mpsc::channel::<bytes::Bytes>(PENDING);
    let extraction = tokio::task::spawn_blocking(move || {
        extract(ChannelReader { receiver, rest: bytes::Bytes::new() }, &target)
    });
    let mut copied = 0;
    while let Some(chunk) = stream.chunk().await? {
        copied += chunk.len();
        if sender.send(chunk).await.is_err() {
            // The extraction has failed, and says why.
            break;
        }
    }
    drop(sender);
    extraction
        .await
        .map_err(|e| Failure::new(format!("extract: {e}")))?
        .map_err(|e| Failure::new(format!("copy to {}: {e}", options.destination)))?;
    report(options, copied);
    Ok(0)
}

/// Where the copy goes on this machine: into an existing directory, or under the name that was given.
fn local_target(from: &str, is_dir: bool, to: &str, keep_owner: bool) -> Result<Target, Failure> {
    let to_path = PathBuf::from(to);
    let wants_content = from.ends_with("/.") || from == "/" || from == ".";
    let base = Path::new(from.trim_end_matches("/.")).file_name().map(PathBuf::from).unwrap_or_default();
    match std::fs::metadata(&to_path) {
        Ok(existing) if existing.is_dir() => {
            let name = if wants_content { PathBuf::new() } else { base };
            Ok(Target { dir: to_path, name, keep_owner, strip: true })
        }
        Ok(_) if is_dir => Err(Failure::new("cannot copy directory to a file")),
        Ok(_) => split_target(&to_path, keep_owner),
        Err(_) if to.ends_with('/') && !is_dir => {
            Err(Failure::new(format!("destination directory {to} must exist")))
        }
        Err(_) => split_target(&to_path, keep_owner),
    }
}

fn split_target(to: &Path, keep_owner: bool) -> Result<Target, Failure> {
    let absolute = std::path::absolute(to).map_err(|e| Failure::file("find", to, &e))?;
    let (Some(dir), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return Err(Failure::new(format!("invalid destination {}", to.display())));
    };
    if !dir.is_dir() {
        return Err(Failure::new(format!("invalid output path: directory {} does not exist", dir.display())));
    }
    Ok(Target { dir: dir.to_owned(), name: name.into(), keep_owner, strip: true })
}

async fn to_container(context: &Context, options: &Options, container: &str, to: &str) -> Outcome {
    let mut to = to.to_owned();
    let mut found = stat(context, container, &to).await?;
    if let Some(link) = found.as_ref().filter(|stat| stat.mode & MODE_SYMLINK != 0) {
        to = resolve(&to, &link.link_target);
        found = stat(context, container, &to).await?;
    }
    let is_dir = found.as_ref().is_some_and(|stat| stat.mode & MODE_DIR != 0);
    let (dir, body) = if options.source == "-" {
        if !is_dir {
            return Err(Failure::new(format!("destination \"{container}:{to}\" must be a directory")));
        }
        (to.clone(), upload::from_reader(io::stdin()))
    } else {
        let (dir, name) = remote_target(&options.source, &to, found.is_some(), is_dir)?;
        (dir, pack(options, name)?)
    };
    let query = Query::new()
        .with("path", &dir)
        .with("noOverwriteDirNonDir", true)
        .flag("copyUIDGID", options.archive);
    context.client.done(Call::put(path(container, "/archive")).query(query).body(TAR, body)).await?;
    report(options, 0);
    Ok(0)
}

/// The container's directory that the archive is extracted in, and the name of its first entry.
fn remote_target(source: &str, to: &str, exists: bool, is_dir: bool) -> Result<(String, PathBuf), Failure> {
    let metadata = std::fs::metadata(source).map_err(|e| Failure::file("stat", source, &e))?;
    let wants_content = source.ends_with("/.") || source == "." || source == "/";
    if is_dir {
        let name = match (wants_content, std::fs::canonicalize(source)) {
            (false, _) if Path::new(source).file_name().is_some() => {
                Path::new(source).file_name().map(PathBuf::from)
            }
            (false, Ok(full)) => full.file_name().map(PathBuf::from),
            _ => None,
        };
        return Ok((to.to_owned(), name.unwrap_or_default()));
    }
    if exists && metadata.is_dir() {
        return Err(Failure::new("cannot copy directory to a file"));
    }
    if to.ends_with('/') && !metadata.is_dir() {
        return Err(Failure::new(format!("destination directory {to} must exist")));
    }
    let trimmed = to.trim_end_matches('/');
    let (dir, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    Ok((if dir.is_empty() { "/".into() } else { dir.to_owned() }, name.into()))
}

fn pack(options: &Options, name: PathBuf) -> Result<Body, Failure> {
    let mut source = PathBuf::from(&options.source);
    let is_link = std::fs::symlink_metadata(&source).is_ok_and(|m| m.is_symlink());
    if is_link && (options.follow_link || options.source.ends_with('/')) {
        source = std::fs::canonicalize(&source).map_err(|e| Failure::file("resolve", &options.source, &e))?;
    }
    let owner = if options.archive { Owner::Kept } else { Owner::Root };
    Ok(upload::body(move |writer| {
        let mut archive = tar::Builder::new(writer);
        add_tree(&mut archive, &source, &name, owner)?;
        archive.finish()
    }))
}

async fn stat(context: &Context, container: &str, wanted: &str) -> Result<Option<PathStat>, Failure> {
    let query = Query::new().with("path", wanted);
    let call = Call::new(http::Method::HEAD, path(container, "/archive")).query(query);
    match context.client.whole(call).await {
        Ok((headers, _)) => parse_stat(headers.get(STAT_HEADER).map(http::HeaderValue::as_bytes)).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn parse_stat(header: Option<&[u8]>) -> Result<PathStat, Failure> {
    let invalid = || Failure::new("the engine did not say what the path is");
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(header.ok_or_else(invalid)?)
        .map_err(|_| invalid())?;
    serde_json::from_slice(&bytes).map_err(|_| invalid())
}

/// A link's target, seen from the link.
fn resolve(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let dir = link.rsplit_once('/').map_or("", |(dir, _)| dir);
    format!("{dir}/{target}")
}

fn report(options: &Options, copied: usize) {
    if options.quiet || !crate::stream::terminal::stdout_is_terminal() {
        return;
    }
    if copied > 0 {
        let size = crate::format::size::decimal(i64::try_from(copied).unwrap_or(i64::MAX));
        note(format!("Successfully copied {size} to {}", options.destination));
    } else {
        note(format!("Successfully copied to {}", options.destination));
    }
}

struct ChannelReader {
    receiver: mpsc::Receiver<bytes::Bytes>,
    rest: bytes::Bytes,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.rest = chunk,
                None => return Ok(0),
            }
        }
        let len = self.rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.rest.split_to(len));
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        assert_eq!(side("web:/etc"), Some(("web", "/etc")));
        assert_eq!(side("./web:/etc"), None);
        assert_eq!(side("/a:b"), None);
        assert_eq!(side("-"), None);
        assert_eq!(side("file"), None);
        assert_eq!(resolve("/a/link", "b"), "/a/b");
        assert_eq!(resolve("/a/link", "/b"), "/b");
    }

    #[test]
    fn targets_on_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let to = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let target = local_target("/etc", true, &to(""), false).unwrap();
        assert_eq!(target.name, Path::new("etc"));
        let target = local_target("/etc/.", true, &to(""), false).unwrap();
        assert_eq!(target.name, Path::new(""));
        let target = local_target("/etc", true, &to("new"), false).unwrap();
        assert_eq!((target.dir.as_path(), target.name.as_path()), (dir.path(), Path::new("new")));
        assert!(local_target("/etc/passwd", false, &to("new/"), false).is_err());
        assert!(local_target("/etc/passwd", false, &to("no/such"), false).is_err());
    }
}
