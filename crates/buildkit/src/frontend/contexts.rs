//! The build context, and those with names: of directories what is needed, and what changed.

use super::Frontend;
use crate::attributes::{Attributes, Source};
use crate::directory::{Wanted, directory};
use crate::error::status;
use crate::inputs::image_of;
use crate::kept::Kept;
use crate::needs::{Needs, needs};
use crate::progress::Step;
use crate::upload;
use std::collections::BTreeMap;
use std::sync::Arc;
use wharf_build::context::Gather;
use wharf_build::dockerfile::Dockerfile;
use wharf_build::{Context, NamedContext};
use wharf_grpc::proto::ops::Definition;
use wharf_grpc::{Code, Status};

impl Frontend<'_> {
    /// What of the context there has to be.
    pub(super) fn needs(
        &self,
        attributes: &Attributes,
        file: &Dockerfile,
        contexts: &BTreeMap<String, NamedContext>,
    ) -> Needs {
        let given = |name: &str| attributes.args.get(name).cloned().flatten();
        let default = |name: &str| file.globals.iter().find(|(known, _)| known == name)?.1.clone();
        let global = |name: &str| given(name).or_else(|| default(name));
        let has_triggers = |name: &str| {
            let name = match contexts.get(name) {
                Some(NamedContext::Image(image)) => image.as_str(),
                Some(NamedContext::Directory(_)) => return false,
                None => name,
            };
            let image = self.kit.builder.images.resolve(name);
            attributes.pull || !image.is_ok_and(|image| image.config.config.on_build.is_empty())
        };
        let target = attributes.target(file);
        needs(file, target, &global, &|name| contexts.contains_key(name), &has_triggers)
    }

    pub(super) async fn context(
        &self,
        attributes: &Attributes,
        exclude: Vec<String>,
        needs: Needs,
    ) -> Result<Arc<Context>, Status> {
        match &attributes.context {
            Some(Source::Url(url)) => Ok(Arc::new(upload::fetch(self.kit, &self.caller, url).await?.context)),
            Some(Source::Local(name)) => {
                let follow = match needs {
                    Needs::All => Vec::new(),
                    Needs::Paths(paths) if paths.is_empty() => {
                        let empty = Gather::new(&self.kit.builder.scratch).map_err(|e| status(&e))?;
                        return Ok(Arc::new(empty.finish()));
                    }
                    Needs::Paths(paths) => paths,
                };
                let wanted = Wanted { name: name.clone(), exclude, follow };
                self.local(&wanted, "[internal] load build context", "transferring context:").await
            }
            other => Err(Status::invalid(format!("a build context is expected, not {other:?}"))),
        }
    }

    pub(super) async fn local(
        &self,
        wanted: &Wanted,
        said: &str,
        part: &str,
    ) -> Result<Arc<Context>, Status> {
        let step = self.build.progress.step(said);
        let received = self.receive(wanted, &step, part).await;
        step.ended(received)
    }

    /// Receives a directory, with a bar in a step.
    pub(super) async fn receive(
        &self,
        wanted: &Wanted,
        step: &Step,
        said: &str,
    ) -> Result<Arc<Context>, Status> {
        let mut part = step.part(said);
        let mut bar = part.clone();
        let scratch = self.kit.builder.scratch.clone();
        let moved = move |bytes| bar.at(bytes, 0);
        let id = Kept::id(&self.caller.shared_key, &wanted.name, &[&wanted.exclude, &wanted.follow]);
        let base = id.as_ref().and_then(|id| self.kit.kept.last(id));
        let received = directory(&self.caller, wanted, base, scratch, moved).await;
        // Maybe the disk is full: what only saves time makes room.
        let (received, bytes) = received.inspect_err(|_| drop(self.kit.forget()))?;
        let received = Arc::new(received);
        if let Some(id) = id {
            self.kit.kept.keep(id, &wanted.name, &received);
        }
        part.at(bytes, 0);
        part.done();
        Ok(received)
    }

    /// What names mean besides stages and images.
    pub(super) async fn contexts(
        &self,
        attributes: &Attributes,
        inputs: &BTreeMap<String, Definition>,
    ) -> Result<BTreeMap<String, NamedContext>, Status> {
        let mut contexts = BTreeMap::new();
        for (name, source) in &attributes.contexts {
            let context = match source {
                Source::Image(image) => NamedContext::Image(image.clone()),
                Source::Local(local) => {
                    let (whose, part) = (format!("[context {name}]"), format!("transferring {name}:"));
                    let exclude = self.local_ignore(local, &whose, &part).await?.patterns();
                    let wanted = Wanted { name: local.clone(), exclude, follow: Vec::new() };
                    let said = format!("{whose} load from client");
                    NamedContext::Directory(self.local(&wanted, &said, &part).await?)
                }
                Source::Url(url) => {
                    let fetched = upload::fetch(self.kit, &self.caller, url).await?;
                    NamedContext::Directory(Arc::new(fetched.context))
                }
                Source::Input(input) => {
                    let definition = inputs.get(input).ok_or_else(|| {
                        Status::new(Code::NotFound, format!("invalid input {input} for the context {name}"))
                    })?;
                    NamedContext::Image(image_of(definition)?)
                }
            };
            contexts.insert(name.clone(), context);
        }
        Ok(contexts)
    }
}
