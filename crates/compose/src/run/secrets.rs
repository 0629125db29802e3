//! Secrets and configs that are no files of the host: written into the container before it starts.

use super::Run;
use super::container;
use super::create::{Plan, mounts};
use crate::error::Error;
use crate::project::FileObject;
use crate::project::service::FileReference;
use wharf_docker_api::client::{Body, Call, Query};

/// Mode of such a file when none is given: everybody may read it.
const MODE: i64 = 0o444;

impl Run<'_> {
    pub(super) async fn put_files(&self, plan: &Plan<'_>, id: &str) -> Result<(), Error> {
        let project = &self.loaded.project;
        let secrets = plan.service.secrets.iter().map(|wanted| (wanted, &project.secrets, "/run/secrets/"));
        let configs = plan.service.configs.iter().map(|wanted| (wanted, &project.configs, "/"));
        let mut archive = Vec::new();
        for (wanted, known, dir) in secrets.chain(configs) {
            let Some(file) = known.get(&wanted.source) else { continue };
            if !file.file.is_empty() && !mounts::is_copied(wanted, file, plan.service.read_only) {
                continue;
            }
            let content = self.content(&wanted.source, file)?;
            let target = mounts::target(wanted, dir);
            entry(&mut archive, target.trim_start_matches('/'), &content, wanted)?;
        }
        if archive.is_empty() {
            return Ok(());
        }
        archive.extend([0; 1024]);
        let query = Query::new().with("path", "/").with("noOverwriteDirNonDir", "true");
        let call =
            Call::put(container(id, "/archive")).query(query).body("application/x-tar", Body::full(archive));
        Ok(self.client.done(call).await?)
    }

    fn content(&self, name: &str, file: &FileObject) -> Result<Vec<u8>, Error> {
        if !file.file.is_empty() {
            let path = std::path::PathBuf::from(&file.file);
            return std::fs::read(&path).map_err(|source| Error::Read { path, source });
        }
        if file.environment.is_empty() {
            return Ok(file.content.clone().into_bytes());
        }
        let value = self.loaded.environment.get(&file.environment);
        value.map(|value| value.as_bytes().to_vec()).ok_or_else(|| {
            Error::project(format!(
                "environment variable {:?} required by file {name:?} is not set",
                file.environment
            ))
        })
    }
}

/// One file of a tar (POSIX ustar).
fn entry(archive: &mut Vec<u8>, name: &str, content: &[u8], wanted: &FileReference) -> Result<(), Error> {
    let number = |text: &str, what: &str| match text {
        "" => Ok(0),
        text => text
            .parse::<u64>()
            .map_err(|_| Error::project(format!("invalid {what} {text:?} of {}", wanted.source))),
    };
    let (uid, gid) = (number(&wanted.uid, "uid")?, number(&wanted.gid, "gid")?);
    let mode = wanted.mode.map_or(MODE, |mode| mode.0);
    let mut header = [0u8; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    let (prefix, base) = match name.len() {
        0..=100 => ("", name),
        _ => name
            .match_indices('/')
            .map(|(at, _)| (&name[..at], &name[at + 1..]))
            .find(|(prefix, base)| prefix.len() <= 155 && base.len() <= 100)
            .ok_or_else(|| Error::project(format!("the path {name:?} is too long")))?,
    };
    field(0, base);
    field(100, &format!("{:07o}", mode & 0o7777));
    field(108, &format!("{uid:07o}"));
    field(116, &format!("{gid:07o}"));
    field(124, &format!("{:011o}", content.len()));
    field(136, &format!("{:011o}", 0));
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\u{0}00");
    field(345, prefix);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend(header);
    archive.extend(content);
    archive.extend(std::iter::repeat_n(0, content.len().next_multiple_of(512) - content.len()));
    Ok(())
}
