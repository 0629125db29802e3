//! Running a Dockerfile: one image a step, each found again in the cache when nothing it depends on changed.
//!
//! What is printed is what Docker's classic builder prints, as tools read it.

mod cache;
mod copy;
mod metadata;
mod mode;
mod mounts;
mod run;
mod sources;
mod stage;
mod state;
mod users;

#[cfg(test)]
mod tests;

pub(crate) use metadata::apply_to;
pub use run::{Step, StepRunner, Stream};

use crate::Ending;
use crate::caches::Caches;
use crate::dockerfile::{Dockerfile, Instruction, Statement};
use crate::{Context, NoSession, Session};
use futures_util::future::BoxFuture;
use state::State;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use wharf_distribution::client::Credentials;
use wharf_engine::containers::StepHost;
use wharf_engine::images::{Event, Image, Images};
use wharf_model::records::Records;
use wharf_model::snapshots::Snapshots;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::platform::Platform;
use wharf_oci::reference::Reference;

/// Builds images. Cheap to clone.
#[derive(Clone)]
pub struct Builder {
    /// Where images come from and go to.
    pub images: Images,
    /// Where steps work.
    pub snapshots: Arc<dyn Snapshots>,
    /// Where the cache is kept.
    pub records: Arc<dyn Records>,
    /// Runs commands.
    pub runner: Arc<dyn StepRunner>,
    /// What `RUN --mount=type=cache` keeps.
    pub caches: Caches,
    /// Whether the engine ends.
    pub ending: Ending,
    /// A directory for temporary files, on a disk with room for what COPY moves.
    pub scratch: PathBuf,
}

/// Finds the credentials for an image's registry; who builds may have to be asked.
pub type CredentialsFor = Arc<dyn Fn(&Reference) -> BoxFuture<'static, Credentials> + Send + Sync>;

/// How an image is built.
#[derive(Clone)]
pub struct Options {
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// Names for the image.
    pub tags: Vec<Reference>,
    /// Values for `ARG`; `None` takes a name without a value.
    pub args: BTreeMap<String, Option<String>>,
    /// Labels added at the end.
    pub labels: BTreeMap<String, String>,
    /// The stage to build; the last unless given.
    pub target: Option<String>,
    /// Run every step anew.
    pub no_cache: bool,
    /// Run the steps of these stages anew.
    pub no_cache_filter: Vec<String>,
    /// Images whose steps may be taken over; without any, those of all builds.
    pub cache_from: Vec<String>,
    /// Look for newer base images.
    pub pull: bool,
    /// What the image shall run on.
    pub platform: Option<Platform>,
    /// The network of RUN steps: `default`, `none`, `host`, `container:` and a container, or a network's name.
    pub network: String,
    /// What RUN steps run with.
    pub host: StepHost,
    /// Credentials for base images.
    pub credentials: CredentialsFor,
    /// What FROM, `COPY --from` and `RUN --mount=from` mean by a name, before stages and images.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Who is asked for secrets and SSH agents.
    pub session: Arc<dyn Session>,
    /// `RUN --security=insecure` is done with all rights; refused without.
    pub insecure: bool,
    /// `RUN --network=host` is done there; refused without, unless `network` is the host's.
    pub host_network: bool,
}

/// What else than the build context files come from.
#[derive(Clone)]
pub enum NamedContext {
    /// An image.
    Image(String),
    /// Files.
    Directory(Arc<Context>),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dockerfile: "Dockerfile".to_owned(),
            tags: Vec::new(),
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            target: None,
            no_cache: false,
            no_cache_filter: Vec::new(),
            cache_from: Vec::new(),
            pull: false,
            platform: None,
            network: "default".to_owned(),
            host: StepHost::default(),
            credentials: Arc::new(|_| Box::pin(async { Credentials::Anonymous })),
            contexts: BTreeMap::new(),
            session: Arc::new(NoSession),
            insecure: false,
            host_network: false,
        }
    }
}

/// What a build tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A step begins.
    Step(StepNews),
    /// The step was found in the cache.
    Cached,
    /// The step came to its good end.
    Done,
    /// What the classic builder says of itself, lines not always whole.
    Said(String),
    /// What a command wrote to its standard output, lines not always whole.
    Text(String),
    /// What a command wrote to its standard error.
    ErrorText(String),
    /// News of a pull.
    Pull(Event),
    /// The finished image.
    Built(Digest),
}

/// One step, as it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepNews {
    /// Counted through the whole build, from 1.
    pub number: usize,
    /// The stage's name, or `stage-N`.
    pub stage: String,
    /// Its place, from 1, among the steps of its stage that may make files, and their count; `None` for one that only
    /// changes the configuration.
    pub place: Option<(usize, usize)>,
    /// The line it begins on, counted from 1; 0 for one that is not in the file.
    pub line: usize,
    /// The instruction as written, continuations joined.
    pub text: String,
    /// Of a FROM that names an image: which, variables expanded.
    pub image: Option<String>,
}

/// Where that goes. It must not block.
pub type Sink = Arc<dyn Fn(Output) + Send + Sync>;

/// One build in progress.
struct Build<'a> {
    builder: &'a Builder,
    context: Arc<Context>,
    options: &'a Options,
    file: &'a Dockerfile,
    globals: BTreeMap<String, String>,
    sink: &'a Sink,
    /// The images of the stages that are built.
    stages: BTreeMap<usize, State>,
    /// Names this build's snapshots.
    id: String,
    step: usize,
    total: usize,
    /// The stage's steps are run anew.
    anew: bool,
    consumed: std::collections::BTreeSet<String>,
}

impl Builder {
    /// Builds an image and gives it its names; returns it.
    pub async fn build(&self, context: Context, options: &Options, sink: &Sink) -> Result<Arc<Image>> {
        let text = context.text(&options.dockerfile)?.ok_or_else(|| {
            let text = format!("Cannot locate specified Dockerfile: {}", options.dockerfile);
            Error::invalid(text)
        })?;
        self.build_file(&text, Arc::new(context), options, sink).await
    }

    /// The same with a Dockerfile that need not be in the context.
    pub async fn build_file(
        &self,
        text: &str,
        context: Arc<Context>,
        options: &Options,
        sink: &Sink,
    ) -> Result<Arc<Image>> {
        let file = Dockerfile::parse(text)
            .map_err(|e| Error::wrap(ErrorKind::Invalid, format!("read {}", options.dockerfile), e))?;
        let _building = self.images.building().await;
        let mut build = Build {
            builder: self,
            context,
            options,
            file: &file,
            globals: BTreeMap::new(),
            sink,
            stages: BTreeMap::new(),
            id: build_id(),
            step: 0,
            total: 0,
            anew: false,
            consumed: std::collections::BTreeSet::new(),
        };
        tokio::select! {
            biased;
            () = self.ending.begun() => Err(Error::conflict("the engine ends: the build was given up")),
            result = build.run() => result,
        }
    }
}

fn build_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{}", std::process::id(), now.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Build<'_> {
    fn say(&self, text: impl Into<String>) {
        (self.sink)(Output::Said(text.into()));
    }

    async fn run(&mut self) -> Result<Arc<Image>> {
        self.set_globals()?;
        let target = match &self.options.target {
            None => self.file.stages.len() - 1,
            Some(name) => self.file.find(name, self.file.stages.len()).ok_or_else(|| {
                Error::invalid(format!("failed to reach build target {name} in Dockerfile"))
            })?,
        };
        let globals = self.globals.clone();
        let needed = self
            .file
            .needed(target, &|name| globals.get(name).cloned(), &|name| self.named_context(name).is_some());
        let labels = self.label_statement();
        self.total = needed.iter().map(|at| self.file.stages[*at].statements.len()).sum::<usize>()
            + labels.iter().len();
        for at in needed {
            let mut state = State::default();
            self.anew = self.is_anew(at);
            for statement in &self.file.stages[at].statements {
                self.statement(&mut state, statement, at).await?;
            }
            if let Some(statement) = labels.as_ref().filter(|_| at == target) {
                self.statement(&mut state, statement, at).await?;
            }
            self.stages.insert(at, state);
        }
        self.warn_about_args();
        let image = self.stages.get(&target).and_then(|state| state.image.clone());
        let image = image
            .ok_or_else(|| Error::invalid("No image was generated. Is your Dockerfile empty?".to_owned()))?;
        (self.sink)(Output::Built(image.id.clone()));
        self.say(format!("Successfully built {}\n", &image.id.hex()[..12]));
        for tag in &self.options.tags {
            let tag = tag.clone().or_latest();
            self.builder.images.tag(image.id.as_str(), &tag)?;
            self.say(format!("Successfully tagged {}\n", tag.familiar()));
        }
        Ok(image)
    }

    fn is_anew(&self, stage: usize) -> bool {
        let name = self.file.stages[stage].name.as_deref().unwrap_or_default();
        let filter = &self.options.no_cache_filter;
        self.options.no_cache || !name.is_empty() && filter.iter().any(|f| f.eq_ignore_ascii_case(name))
    }

    /// `--label` is a LABEL after all others.
    fn label_statement(&self) -> Option<Statement> {
        if self.options.labels.is_empty() {
            return None;
        }
        // Quoted so that nothing in them is expanded.
        let quote = |text: &str| format!("'{}'", text.replace('\'', "'\"'\"'"));
        let pairs: Vec<(String, String)> =
            self.options.labels.iter().map(|(name, value)| (quote(name), quote(value))).collect();
        let shown: Vec<String> =
            self.options.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some(Statement {
            line: 0,
            text: format!("LABEL {}", shown.join(" ")),
            instruction: Instruction::Label(pairs),
        })
    }

    async fn statement(&mut self, state: &mut State, statement: &Statement, stage: usize) -> Result<()> {
        self.step += 1;
        self.say(format!("Step {}/{} : {}\n", self.step, self.total, statement.text));
        (self.sink)(Output::Step(self.news(statement, stage)));
        let triggers = match &statement.instruction {
            Instruction::From { image, platform, .. } => {
                self.from(state, image, platform.as_deref(), stage).await?
            }
            instruction => {
                self.execute(state, instruction, &statement.text, stage).await?;
                Vec::new()
            }
        };
        if !triggers.is_empty() {
            let plural = if triggers.len() == 1 { "" } else { "s" };
            self.say(format!("# Executing {} build trigger{plural}\n", triggers.len()));
        }
        for trigger in triggers {
            let instruction = Dockerfile::parse_trigger(&trigger)
                .map_err(|e| Error::wrap(ErrorKind::Invalid, "read the base image's triggers", e))?;
            self.execute(state, &instruction, &trigger, stage).await?;
        }
        (self.sink)(Output::Done);
        Ok(())
    }

    fn news(&self, statement: &Statement, stage: usize) -> StepNews {
        let found = &self.file.stages[stage];
        let makers = || found.statements.iter().filter(|s| self.may_make_files(s, stage));
        let place = makers().position(|s| std::ptr::eq(s, statement)).map(|at| (at + 1, makers().count()));
        StepNews {
            number: self.step,
            stage: found.name.clone().unwrap_or_else(|| format!("stage-{stage}")),
            place,
            line: statement.line,
            text: statement.text.clone(),
            image: match &statement.instruction {
                Instruction::From { image, .. } if place.is_some() => {
                    let name = self.expand_global(image).ok();
                    name.map(|name| match self.named_context(&name) {
                        Some(NamedContext::Image(other)) => other.clone(),
                        _ => name,
                    })
                }
                _ => None,
            },
        }
    }

    /// A FROM brings files only when it names an image.
    fn may_make_files(&self, statement: &Statement, stage: usize) -> bool {
        match &statement.instruction {
            Instruction::From { image, .. } => {
                let name = self.expand_global(image).unwrap_or_default();
                name != "scratch" && self.file.find_named(&name, stage).is_none()
            }
            instruction => instruction.may_make_files(),
        }
    }
}

/// Disk work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::wrap(ErrorKind::Internal, "a task of the build ended early", e))?
}
