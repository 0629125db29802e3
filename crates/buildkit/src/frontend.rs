//! The frontend `dockerfile.v0`: gathers what a build needs from its client, and has our own builder execute it.

use crate::BuildKit;
use crate::attributes::{Attributes, Source};
use crate::builds::{Build, Outcome};
use crate::caller::{Asked, Caller};
use crate::directory::{Wanted, directory};
use crate::error::status;
use crate::inputs::image_of;
use crate::kept::Kept;
use crate::needs::{Needs, needs};
use crate::progress::Step;
use crate::steps::Steps;
use crate::{place, questions, upload};
use std::collections::BTreeMap;
use std::sync::Arc;
use wharf_build::context::Gather;
use wharf_build::dockerfile::Dockerfile;
use wharf_build::ignore::Ignore;
use wharf_build::{Context, CredentialsFor, NamedContext, Options};
use wharf_grpc::proto::ops::Definition;
use wharf_grpc::{Code, Status};

/// The name of our only frontend.
pub(crate) const NAME: &str = "dockerfile.v0";

/// One use of it.
pub(crate) struct Frontend<'a> {
    pub(crate) kit: &'a BuildKit,
    pub(crate) build: &'a Build,
    pub(crate) caller: Arc<Caller>,
}

/// What it says.
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) metadata: BTreeMap<String, Vec<u8>>,
}

/// The Dockerfile, and what else came with it.
struct Loaded {
    text: String,
    /// Its own `.dockerignore`.
    ignore: Option<String>,
    /// The context, when the Dockerfile came in it.
    context: Option<Context>,
}

impl Frontend<'_> {
    /// Builds, or answers a question about the Dockerfile.
    pub(crate) async fn solve(
        &self,
        given: &BTreeMap<String, String>,
        inputs: &BTreeMap<String, Definition>,
    ) -> Result<Answer, Status> {
        let attributes = Attributes::parse(given)?;
        let loaded = self.load(&attributes).await?;
        let name = attributes.filename.as_str();
        let file = Dockerfile::parse(&loaded.text)
            .map_err(|e| place::at(Status::invalid(e.to_string()), name, &loaded.text, e.line))?;
        if let Some(target) = &attributes.target
            && file.find(target, file.stages.len()).is_none()
        {
            return Err(Status::invalid(format!("target stage \"{target}\" could not be found")));
        }
        if let Some(question) = &attributes.question {
            let metadata = questions::answer(question, &file, &attributes, &loaded.text)?;
            return Ok(Answer { outcome: Outcome::Nothing, metadata });
        }
        self.refuse_imports(&attributes);
        let ignore = self.ignore(&attributes, &loaded).await?;
        let contexts = self.contexts(&attributes, inputs).await?;
        let context = match loaded.context {
            Some(context) => Arc::new(context),
            None => {
                let needs = self.needs(&attributes, &file, &contexts);
                self.context(&attributes, ignore.patterns(), needs).await?
            }
        };
        let options = self.options(&attributes, contexts);
        let is_plain = matches!(&file.stages[..], [only] if only.name.is_none());
        let steps = Steps::new(&self.build.progress, is_plain);
        let built = self
            .kit
            .builder
            .build_file(&loaded.text, context, &options, &steps.sink())
            .await
            .map_err(|e| steps.failed(&e, name, &loaded.text))?;
        Ok(Answer { outcome: Outcome::Image(built), metadata: BTreeMap::new() })
    }

    fn options(&self, attributes: &Attributes, contexts: BTreeMap<String, NamedContext>) -> Options {
        let caller = Arc::clone(&self.caller);
        let credentials: CredentialsFor = Arc::new(move |reference| {
            let (caller, domain) = (Arc::clone(&caller), reference.domain().to_owned());
            Box::pin(async move { caller.credentials(&domain).await })
        });
        Options {
            dockerfile: attributes.filename.clone(),
            args: attributes.args.clone(),
            labels: attributes.labels.clone(),
            target: attributes.target.clone(),
            no_cache: attributes.no_cache,
            no_cache_filter: attributes.no_cache_filter.clone(),
            pull: attributes.pull,
            platform: attributes.platform.clone(),
            network: attributes.network.clone(),
            host: attributes.host.clone(),
            credentials,
            contexts,
            session: Arc::new(Asked(Arc::clone(&self.caller))),
            insecure: self.build.entitlements.iter().any(|e| e == "security.insecure"),
            ..Options::default()
        }
    }

    /// Caches elsewhere are not read: a build says so and goes on, as BuildKit does with one it cannot reach.
    fn refuse_imports(&self, attributes: &Attributes) {
        for import in &attributes.imports {
            let source = import.attrs.get("ref").or_else(|| import.attrs.get("src")).unwrap_or(&import.kind);
            let step = self.build.progress.step(format!("importing cache manifest from {source}"));
            step.failed("not supported: the cache is this engine's own");
        }
    }

    async fn load(&self, attributes: &Attributes) -> Result<Loaded, Status> {
        let name = attributes.filename.as_str();
        let step = self.build.progress.step(format!("[internal] load build definition from {name}"));
        let loaded = match (&attributes.context, &attributes.dockerfile) {
            (Some(Source::Url(url)), None) => self.load_remote(url, name).await,
            (_, local) => self.load_local(local.as_deref().unwrap_or("dockerfile"), name, &step).await,
        };
        match loaded {
            Ok(loaded) => {
                step.done();
                Ok(loaded)
            }
            Err(why) => {
                step.failed(&why.message);
                Err(why)
            }
        }
    }

    /// The Dockerfile is in the context; an address may lead to a Dockerfile alone.
    async fn load_remote(&self, address: &str, name: &str) -> Result<Loaded, Status> {
        let fetched = upload::fetch(self.kit, &self.caller, address).await?;
        let name = fetched.dockerfile.as_deref().unwrap_or(name);
        let text = text(&fetched.context, name)?.ok_or_else(|| missing(name))?;
        Ok(Loaded { text, ignore: None, context: Some(fetched.context) })
    }

    async fn load_local(&self, local: &str, name: &str, step: &Step) -> Result<Loaded, Status> {
        let ignore = format!("{name}.dockerignore");
        // As BuildKit, which takes one in lower case as well.
        let (directory, base) = name.rsplit_once('/').map_or(("", name), |(d, base)| (d, base));
        let lower = (base == "Dockerfile").then(|| match directory {
            "" => "dockerfile".to_owned(),
            directory => format!("{directory}/dockerfile"),
        });
        let follow = [name.to_owned(), ignore.clone()].into_iter().chain(lower.clone()).collect();
        let wanted = Wanted { name: local.to_owned(), follow, ..Wanted::default() };
        let context = self.receive(&wanted, step, "transferring dockerfile:").await?;
        let mut found = text(&context, name)?;
        if let (None, Some(lower)) = (&found, lower) {
            found = text(&context, &lower)?;
        }
        let text_of_ignore = text(&context, &ignore)?;
        Ok(Loaded { text: found.ok_or_else(|| missing(name))?, ignore: text_of_ignore, context: None })
    }

    /// What of the context is left out. An archive has been filtered as it was read.
    async fn ignore(&self, attributes: &Attributes, loaded: &Loaded) -> Result<Ignore, Status> {
        if let Some(text) = &loaded.ignore {
            return Ok(Ignore::parse(text));
        }
        match &attributes.context {
            Some(Source::Local(name)) => self.local_ignore(name, "[internal]", "transferring context:").await,
            _ => Ok(Ignore::default()),
        }
    }

    async fn local_ignore(&self, name: &str, whose: &str, part: &str) -> Result<Ignore, Status> {
        const FILE: &str = ".dockerignore";
        let wanted = Wanted { name: name.to_owned(), follow: vec![FILE.to_owned()], ..Wanted::default() };
        let context = self.local(&wanted, &format!("{whose} load {FILE}"), part).await?;
        Ok(Ignore::parse(text(&context, FILE)?.as_deref().unwrap_or_default()))
    }

    /// What of the context there has to be.
    fn needs(
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

    async fn context(
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
                        return Ok(Arc::new(empty.finish(&Ignore::default())));
                    }
                    Needs::Paths(paths) => paths,
                };
                let wanted = Wanted { name: name.clone(), exclude, follow };
                self.local(&wanted, "[internal] load build context", "transferring context:").await
            }
            other => Err(Status::invalid(format!("a build context is expected, not {other:?}"))),
        }
    }

    async fn local(&self, wanted: &Wanted, said: &str, part: &str) -> Result<Arc<Context>, Status> {
        let step = self.build.progress.step(said);
        match self.receive(wanted, &step, part).await {
            Ok(context) => {
                step.done();
                Ok(context)
            }
            Err(why) => {
                step.failed(&why.message);
                Err(why)
            }
        }
    }

    /// Receives a directory, with a bar in a step.
    async fn receive(&self, wanted: &Wanted, step: &Step, said: &str) -> Result<Arc<Context>, Status> {
        let mut part = step.part(said);
        let (mut bar, mut last) = (part.clone(), 0);
        let scratch = self.kit.builder.scratch.clone();
        let moved = move |bytes| {
            // What a person can see; the end says the rest.
            if bytes - last >= BAR_STEP {
                last = bytes;
                bar.at(bytes, 0);
            }
        };
        let id = Kept::id(&self.caller.shared_key, &wanted.name, &[&wanted.exclude, &wanted.follow]);
        let base = id.as_ref().and_then(|id| self.kit.kept.last(id));
        let (received, bytes) = directory(&self.caller, wanted, base, scratch, moved).await?;
        let received = Arc::new(received);
        if let Some(id) = id {
            self.kit.kept.keep(id, &wanted.name, &received);
        }
        part.at(bytes, 0);
        part.done();
        Ok(received)
    }

    /// What names mean besides stages and images.
    async fn contexts(
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

/// Bytes between two moves of a bar.
const BAR_STEP: u64 = 256 << 10;

fn text(context: &Context, path: &str) -> Result<Option<String>, Status> {
    context.text(path).map_err(|e| status(&e))
}

fn missing(name: &str) -> Status {
    let message = format!("failed to read dockerfile: open {name}: no such file or directory");
    Status::new(Code::Unknown, message)
}
