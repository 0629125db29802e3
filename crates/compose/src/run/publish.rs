//! `publish`: a project's files as an artifact in a registry, through the engine, which speaks to registries.

use super::images::encoded_image;
use super::report::Status;
use super::{Run, networks::futures};
use crate::artifact::{self, File, Kind, Oci};
use crate::error::Error;
use crate::files::{Environment, Node, Value, interpolate, paths, remote, yaml};
use crate::plan::VERSION;
use crate::project::hash::hex;
use crate::project::tree::Tree;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wharf_docker_api::client::{Body, Call, Query};

/// Flags of `publish`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--resolve-image-digests`.
    pub digests: bool,
    /// `--with-env`.
    pub with_env: bool,
    /// `--oci-version`.
    pub oci: Option<Oci>,
    /// `--app`: images too.
    pub app: bool,
}

/// The files that a project's files name, with what they are called in the artifact.
#[derive(Debug, Default)]
struct Named {
    extended: BTreeMap<PathBuf, String>,
    env: BTreeMap<PathBuf, String>,
}

/// A text that stands somewhere in a file, and what is to stand there.
struct Change {
    line: usize,
    column: usize,
    to: String,
}

impl Run<'_> {
    /// Publishes the project under a name in a registry.
    pub async fn publish(&self, to: &str, options: &Options) -> Result<(), Error> {
        let mut files = self.application()?;
        if !options.with_env {
            files.retain(|file| file.kind != Kind::Env);
        }
        let needs_digests = options.digests || options.app;
        let digests = if needs_digests && !self.dry_run { self.digests().await? } else { BTreeMap::new() };
        if options.digests {
            files.push(override_of(&digests));
        }
        self.report.step(to, "publishing", Status::Working);
        if !self.dry_run {
            let done = self.send_application(to, &files, &digests, options).await;
            done.inspect_err(|error| self.report.step(to, &error.to_string(), Status::Failed))?;
        }
        self.report.step(to, "published", Status::Done);
        Ok(())
    }

    async fn send_application(
        &self,
        to: &str,
        files: &[File],
        digests: &BTreeMap<String, Image>,
        options: &Options,
    ) -> Result<(), Error> {
        let to = &with_tag(to);
        let contents = files.iter().map(|file| file.content.as_slice()).chain([artifact::EMPTY]);
        super::all_done(futures(contents.map(|content| self.send_blob(to, content))).await)?;
        let created = super::wait::now();
        let put = async |oci| {
            let manifest = artifact::manifest(files, oci, &created);
            self.send_manifest(to, artifact::MANIFEST, &manifest).await.map(|()| manifest)
        };
        let manifest = match put(options.oci.unwrap_or(Oci::V1_1)).await {
            // A registry that knows no such manifests.
            Err(Error::Engine { source, .. })
                if options.oci.is_none()
                    && source.status().is_some_and(|status| [400, 404, 405, 415].contains(&status)) =>
            {
                put(Oci::V1_0).await?
            }
            other => other?,
        };
        if options.app {
            self.send_images(to, &manifest, digests).await?;
        }
        Ok(())
    }

    /// The images beside the application, and an index of them that says whose they are.
    async fn send_images(
        &self,
        to: &str,
        application: &[u8],
        images: &BTreeMap<String, Image>,
    ) -> Result<(), Error> {
        let repository = super::images::reference(to).0;
        let mut manifests: Vec<Json> = Vec::new();
        for image in images.values() {
            let target = format!("{repository}@{}", image.digest);
            self.copy_image(&image.name, &target).await?;
            let entry = json!({"mediaType": image.media_type, "digest": image.digest, "size": image.size});
            if !manifests.contains(&entry) {
                manifests.push(entry);
            }
        }
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "artifactType": artifact::TYPE,
            "manifests": manifests,
            "subject": {
                "mediaType": artifact::MANIFEST,
                "digest": artifact::digest(application),
                "size": application.len(),
            },
            "annotations": {"com.docker.compose.version": VERSION},
        })
        .to_string();
        let name = format!("{repository}@{}", artifact::digest(index.as_bytes()));
        self.send_manifest(&name, media_type, index.as_bytes()).await
    }

    async fn copy_image(&self, from: &str, to: &str) -> Result<(), Error> {
        self.report.step(from, "Copying", Status::Working);
        let call = Call::post(format!("/distribution/{}/copy", encoded_image(from)))
            .query(Query::new().with("to", to))
            .header("x-registry-config", &self.outside.all_auth()?)?;
        let mut messages = self.client.stream(call).await?.json::<wharf_docker_api::types::build::Message>();
        while let Some(message) = messages.next().await? {
            if !message.error.is_empty() {
                return Err(Error::project(format!("copy {from} to {to}: {}", message.error)));
            }
        }
        self.report.step(from, "Copied", Status::Done);
        Ok(())
    }

    async fn send_blob(&self, to: &str, content: &[u8]) -> Result<(), Error> {
        let call = Call::put(format!("/distribution/{}/blob", encoded_image(to)))
            .header("x-registry-auth", &self.outside.auth(to)?)?
            .body("application/octet-stream", Body::full(content.to_vec()));
        self.client.done(call).await.map_err(|source| unserved("publish", source))
    }

    async fn send_manifest(&self, to: &str, media_type: &'static str, content: &[u8]) -> Result<(), Error> {
        let call = Call::put(format!("/distribution/{}/manifest", encoded_image(to)))
            .header("x-registry-auth", &self.outside.auth(to)?)?
            .body(media_type, Body::full(content.to_vec()));
        Ok(self.client.done(call).await?)
    }

    /// What registries have of the services' images.
    async fn digests(&self) -> Result<BTreeMap<String, Image>, Error> {
        let mut found = BTreeMap::new();
        for (name, service) in
            self.loaded.project.services.iter().filter(|(_, service)| !service.image.is_empty())
        {
            let call = Call::get(format!("/distribution/{}/json", encoded_image(&service.image)))
                .header("x-registry-auth", &self.outside.auth(&service.image)?)?;
            let what = format!("failed to resolve digest for {}", service.image);
            let said: Json = self.client.json(call).await.map_err(|source| Error::engine(what, source))?;
            let described = &said["Descriptor"];
            let text = |key: &str| described[key].as_str().unwrap_or_default().to_owned();
            found.insert(
                name.clone(),
                Image {
                    name: service.image.clone(),
                    digest: text("digest"),
                    media_type: text("mediaType"),
                    size: described["size"].as_u64().unwrap_or(0),
                },
            );
        }
        Ok(found)
    }

    /// The project's files, and those that they name, with names that hold within the artifact.
    fn application(&self) -> Result<Vec<File>, Error> {
        let (mut files, mut named) = (Vec::new(), Named::default());
        for path in &self.loaded.files {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let content = self.portable(path, &self.loaded.dir, &mut named)?;
            files.push(File { kind: Kind::Compose, name, content });
        }
        let mut done = Vec::new();
        while let Some((path, name)) = named.extended.iter().find(|(path, _)| !done.contains(*path)) {
            let (path, name) = (path.clone(), name.clone());
            let dir = path.parent().unwrap_or(&self.loaded.dir).to_owned();
            let content = self.portable(&path, &dir, &mut named)?;
            files.push(File { kind: Kind::Extended, name, content });
            done.push(path);
        }
        for (path, name) in named.env {
            // One that is not there need not be.
            if let Ok(content) = std::fs::read(&path) {
                files.push(File { kind: Kind::Env, name, content });
            }
        }
        Ok(files)
    }

    /// A file's text, in which the names of other files are those of the artifact.
    fn portable(&self, path: &Path, dir: &Path, named: &mut Named) -> Result<Vec<u8>, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let mut changes = Vec::new();
        for document in yaml::parse(&text, &path.display().to_string().into())? {
            if document.get("include").is_some_and(has_local) {
                return Err(Error::project("cannot publish compose file with local includes"));
            }
            let services = document.get("services").map(Node::entries).unwrap_or_default();
            for service in services.iter().map(|entry| &entry.node) {
                let extended = service.get("extends").and_then(|extends| extends.get("file"));
                for node in extended.into_iter().filter(|node| !node.as_text().is_some_and(remote::is_remote))
                {
                    changes.extend(change(node, dir, &self.loaded.environment, &mut named.extended, "yaml"));
                }
                for node in env_files(service) {
                    changes.extend(change(node, dir, &self.loaded.environment, &mut named.env, "env"));
                }
            }
        }
        Ok(rewritten(&text, changes).into_bytes())
    }
}

/// An image as its registry has it.
#[derive(Debug)]
struct Image {
    name: String,
    digest: String,
    media_type: String,
    size: u64,
}

/// What an engine says that is not Wharf's: it speaks to no registry for us.
pub(super) fn unserved(what: &str, source: wharf_docker_api::client::Error) -> Error {
    match source.status() {
        Some(404 | 405) if source.to_string().contains("page not found") => Error::project(format!(
            "{what} goes through Wharf's engine, and this is another: use one of Wharf's (`wharf daemon`), or Docker's plugin"
        )),
        _ => source.into(),
    }
}

/// The name with a tag.
pub(super) fn with_tag(name: &str) -> String {
    let (repository, selector) = super::images::reference(name);
    if name.contains('@') { name.to_owned() } else { format!("{repository}:{selector}") }
}

fn has_local(include: &Node) -> bool {
    let is_local = |node: &Node| node.as_text().is_some_and(|path| !remote::is_remote(path));
    include.items().iter().any(|item| match &item.value {
        Value::Map(_) => {
            item.get("path").is_some_and(|path| is_local(path) || path.items().iter().any(is_local))
        }
        _ => is_local(item),
    })
}

/// The texts that name files of variables.
fn env_files(service: &Node) -> Vec<&Node> {
    let Some(files) = service.get("env_file") else { return Vec::new() };
    match &files.value {
        Value::List(items) => items.iter().filter_map(|item| item.get("path").or(Some(item))).collect(),
        _ => vec![files],
    }
}

/// What is to stand in the place of a file's name, which is remembered.
fn change(
    node: &Node,
    dir: &Path,
    environment: &Environment,
    known: &mut BTreeMap<PathBuf, String>,
    ending: &str,
) -> Option<Change> {
    let said = interpolate::expand(node.as_text()?, &mut |name| environment.asked(name)).ok()?;
    let path = paths::join(dir, &said);
    let name = format!("{}.{ending}", hex(path.display().to_string().as_bytes()));
    known.insert(path, name.clone());
    Some(Change { line: node.at.line, column: node.at.column, to: name })
}

/// A text with other words in some places.
fn rewritten(text: &str, mut changes: Vec<Change>) -> String {
    changes.sort_by_key(|change| (change.line, change.column));
    changes.dedup_by_key(|change| (change.line, change.column));
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    // From the end, so that places before stay where they are.
    for change in changes.iter().rev() {
        let Some(line) = lines.get_mut(change.line.saturating_sub(1)) else { continue };
        let start = line.char_indices().nth(change.column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        let end = start + scalar_len(&line[start..]);
        line.replace_range(start..end, &change.to);
    }
    lines.join("\n")
}

/// Bytes of the scalar that a line goes on with: in quotes, or up to what ends a plain one.
fn scalar_len(rest: &str) -> usize {
    let first = rest.chars().next();
    if let Some(quote @ ('"' | '\'')) = first {
        return rest[1..].find(quote).map_or(rest.len(), |end| end + 2);
    }
    let braced = rest.find("${").is_some();
    let mut depth = 0usize;
    for (at, c) in rest.char_indices() {
        match c {
            '{' if braced && rest[..at].ends_with('$') => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' | ']' | '\r' => return at,
            '#' if rest[..at].ends_with(' ') => return rest[..at].trim_end().len(),
            _ => {}
        }
    }
    rest.trim_end().len()
}

/// A file of nothing but images with digests.
fn override_of(images: &BTreeMap<String, Image>) -> File {
    let entry = |(service, image): (&String, &Image)| {
        let pinned = format!("{}@{}", image.name, image.digest);
        let pinned = if image.name.contains('@') { image.name.clone() } else { pinned };
        (service.clone(), Tree::Map(vec![("image".into(), Tree::Text(pinned))]))
    };
    let services = Tree::Map(images.iter().map(entry).collect());
    let text = crate::project::yaml::text(&Tree::Map(vec![("services".into(), services)]));
    File { kind: Kind::Compose, name: "image-digests.yaml".into(), content: text.into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_changed_where_they_stand() {
        let text = "a:\n  extends: {file: base.yaml, service: b} # c\n  env_file: \"x y.env\"\n  other: ${A:-x}.env # no\r\n";
        let at = |line, column, to: &str| Change { line, column, to: to.into() };
        let changes = vec![at(2, 19, "1.yaml"), at(3, 13, "2.env"), at(4, 10, "3.env"), at(2, 19, "1.yaml")];
        let expected =
            "a:\n  extends: {file: 1.yaml, service: b} # c\n  env_file: 2.env\n  other: 3.env # no\r\n";
        assert_eq!(rewritten(text, changes), expected);
    }
}
