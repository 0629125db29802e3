//! FROM, ARG before it, and what a step of any kind does.

use super::blocking;
use super::copy::{digest_of, put_all};
use super::run::RunStep;
use super::state::State;
use super::{Build, NamedContext, Output};
use crate::Context;
use crate::dockerfile::{Instruction, expand_word};
use std::sync::Arc;
use wharf_engine::images::{Image, ImageLayer, NewImage};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::image_config::History;
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;

/// Arguments every RUN sees without an ARG, and that do not count for the cache.
pub(super) const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The path of programs in an image that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Build<'_> {
    /// ARGs before the first FROM, and those of the platforms.
    pub(super) fn set_globals(&mut self) -> Result<()> {
        let host = Platform::host();
        let target = self.options.platform.clone().unwrap_or_else(Platform::host);
        for (prefix, platform) in [("TARGET", &target), ("BUILD", &host)] {
            let variant = platform.variant.clone().unwrap_or_default();
            let values = [
                ("PLATFORM", platform.to_string()),
                ("OS", platform.os.clone()),
                ("ARCH", platform.architecture.clone()),
                ("VARIANT", variant),
            ];
            for (name, value) in values {
                self.globals.insert(format!("{prefix}{name}"), value);
            }
        }
        for (name, default) in &self.file.globals {
            let given = self.given(name);
            let value = match (given, default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.expand_global(default)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                self.globals.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// The value a person gave for an argument.
    pub(super) fn given(&mut self, name: &str) -> Option<String> {
        let given = self.options.args.get(name)?;
        self.consumed.insert(name.to_owned());
        given.clone()
    }

    pub(super) fn warn_about_args(&self) {
        let unused = self
            .options
            .args
            .keys()
            .filter(|name| !self.consumed.contains(*name) && !PROXY_ARGS.contains(&name.as_str()));
        let unused: Vec<&str> = unused.map(String::as_str).collect();
        if !unused.is_empty() {
            self.say(format!("[Warning] One or more build-args [{}] were not consumed\n", unused.join(" ")));
        }
    }

    pub(super) fn expand_global(&self, text: &str) -> Result<String> {
        expand_word(text, self.file.escape, &|name| self.globals.get(name).cloned()).map_err(Error::invalid)
    }

    pub(super) fn expand(&self, state: &State, text: &str) -> Result<String> {
        super::metadata::expand(state, self.file.escape, text)
    }

    /// Begins a stage; returns the base image's triggers.
    pub(super) async fn from(
        &mut self,
        state: &mut State,
        image: &str,
        platform: Option<&str>,
        stage: usize,
    ) -> Result<Vec<String>> {
        let name = self.expand_global(image)?;
        if name.is_empty() {
            return Err(Error::invalid(format!(
                "base name ({image}) should not be blank: give its ARG a value"
            )));
        }
        let platform = match platform {
            Some(text) => Some(
                self.expand_global(text)?
                    .parse::<Platform>()
                    .map_err(|e| Error::wrap(ErrorKind::Invalid, "read FROM --platform", e))?,
            ),
            None => self.options.platform.clone(),
        };
        if name == "scratch" {
            state.config.platform = platform.unwrap_or_else(Platform::host);
            self.say(" ---> \n");
            return Ok(Vec::new());
        }
        let named = self.named_context(&name).cloned();
        if let Some(NamedContext::Directory(context)) = &named {
            self.begin_with(state, context, platform).await?;
        } else if let Some(NamedContext::Image(other)) = &named {
            let image = self.base_image(other, platform.as_ref()).await?;
            state.adopt(image);
        } else if let Some(at) = self.file.find_named(&name, stage) {
            let before = self.stages.get(&at).cloned().unwrap_or_default();
            // Arguments are inherited, as by BuildKit; the classic builder forgets them.
            *state = State { cmd_is_ours: false, ..before };
        } else {
            let image = self.base_image(&name, platform.as_ref()).await?;
            state.adopt(image);
        }
        if !state.config.config.env.iter().any(|pair| pair.starts_with("PATH=")) {
            state.set_env("PATH", DEFAULT_PATH);
        }
        let shown = state.image.as_ref().map(|image| image.id.hex()[..12].to_owned()).unwrap_or_default();
        self.say(format!(" ---> {shown}\n"));
        // They are for one generation.
        Ok(std::mem::take(&mut state.config.config.on_build))
    }

    /// What a name means that was given for this build.
    pub(super) fn named_context(&self, name: &str) -> Option<&NamedContext> {
        let contexts = &self.options.contexts;
        if contexts.is_empty() {
            return None;
        }
        // `alpine` is `docker.io/library/alpine:latest`, too.
        let whole = |name: &str| name.parse::<Reference>().ok().map(|r| r.or_latest().to_string());
        let same = |other: &&String| {
            other.eq_ignore_ascii_case(name) || (whole(name).is_some() && whole(other) == whole(name))
        };
        contexts.keys().find(same).and_then(|name| contexts.get(name))
    }

    /// The image of a stage's name or number, of a named context or of a registry; `None` of a stage without files.
    pub(super) async fn image_of(&mut self, name: &str, stage: usize) -> Result<Option<Arc<Image>>> {
        let other = match self.named_context(name) {
            Some(NamedContext::Image(other)) => Some(other.clone()),
            Some(NamedContext::Directory(_)) => {
                return Err(Error::internal(format!("the context {name} is no image")));
            }
            None => None,
        };
        let at = self.file.find(name, stage).filter(|_| other.is_none());
        if let Some(at) = at {
            return Ok(self.stages.get(&at).and_then(|state| state.image.clone()));
        }
        let name = other.as_deref().unwrap_or(name);
        self.base_image(name, self.options.platform.as_ref()).await.map(Some)
    }

    /// Begins a stage with files.
    async fn begin_with(
        &mut self,
        state: &mut State,
        context: &Arc<Context>,
        platform: Option<Platform>,
    ) -> Result<()> {
        state.config.platform = platform.unwrap_or_else(Platform::host);
        let (store, files) = (Arc::clone(&self.builder.snapshots), Arc::clone(context));
        let content = blocking(move || digest_of(&files, "")).await?;
        let created_by = format!("FROM context {}", &content[..32]);
        if self.use_cached(state, &created_by, &content)? {
            return Ok(());
        }
        let working = self.working(state).await?;
        let (key, files) = (working.key.clone(), Arc::clone(context));
        blocking(move || put_all(&*store, &key, &files)).await?;
        let layer = self.builder.images.commit_snapshot(&working.key).await?;
        working.committed();
        self.finish_step(state, &created_by, &content, Some(layer)).await
    }

    /// An image that is here, or that a registry has.
    pub(super) async fn base_image(&self, name: &str, platform: Option<&Platform>) -> Result<Arc<Image>> {
        let reference = name.parse::<Reference>();
        if !self.options.pull || reference.is_err() {
            match self.builder.images.resolve(name) {
                Ok(image) if platform.is_none_or(|p| p.rank(&image.config.platform).is_some()) => {
                    self.builder.images.used(&image.id);
                    return Ok(image);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound && reference.is_ok() => {}
                Err(error) => return Err(error),
            }
        }
        let reference =
            reference.map_err(|e| Error::wrap(ErrorKind::Invalid, format!("failed to parse {name}"), e))?;
        let sink = Arc::clone(self.sink);
        let progress = Arc::new(move |event| sink(Output::Pull(event)));
        let credentials = (self.options.credentials)(&reference).await;
        self.builder.images.pull(&reference, platform, credentials, progress).await
    }

    /// One step after FROM: what it changes in the configuration, then the cache, then the work, then an image.
    pub(super) async fn execute(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        text: &str,
        stage: usize,
    ) -> Result<()> {
        if let Some(run) = RunStep::of(instruction) {
            return self.run_step(state, &run, stage).await;
        }
        match instruction {
            Instruction::Copy(transfer) => self.copy_step(state, transfer, "COPY", stage).await,
            Instruction::Add(transfer) => self.copy_step(state, transfer, "ADD", stage).await,
            Instruction::Workdir(path) => self.workdir(state, path).await,
            instruction => {
                let said = self.metadata(state, instruction, text)?;
                let created_by = format!("/bin/sh -c #(nop)  {said}");
                if !self.use_cached(state, &created_by, "")? {
                    self.finish_step(state, &created_by, "", None).await?;
                }
                Ok(())
            }
        }
    }

    /// Makes the step's image and remembers it.
    pub(super) async fn finish_step(
        &mut self,
        state: &mut State,
        created_by: &str,
        content: &str,
        layer: Option<ImageLayer>,
    ) -> Result<()> {
        let key = self.cache_key(state, created_by, content);
        let created = wharf_engine::clock::rfc3339(wharf_engine::clock::now_ns());
        state.config.created = Some(created.clone());
        state.config.history.push(History {
            created: Some(created),
            created_by: Some(created_by.to_owned()),
            author: state.config.author.clone(),
            comment: None,
            empty_layer: layer.is_none(),
        });
        state.layers.extend(layer);
        let parent: Option<Digest> = state.image.as_ref().map(|image| image.id.clone());
        let new =
            NewImage { config: state.config.clone(), layers: state.layers.clone(), parent, tags: Vec::new() };
        let image = self.builder.images.create(new).await?;
        self.remember(&key, &image.id)?;
        self.say(format!(" ---> {}\n", &image.id.hex()[..12]));
        state.adopt(image);
        Ok(())
    }
}
