//! RUN.

use super::stage::PROXY_ARGS;
use super::state::State;
use super::{Build, Output, blocking};
use crate::dockerfile::Instruction;
use crate::dockerfile::{Command, Heredoc};
use async_trait::async_trait;
use bytes::Bytes;
use std::any::Any;
use std::sync::Arc;
use wharf_engine::containers::{StepHost, StepMount};
use wharf_model::snapshots::Snapshots;
use wharf_model::{Error, Result};
use wharf_oci::digest::Digest;

/// Which of its outputs a command wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One command of a build.
#[derive(Clone)]
pub struct Step {
    /// 64 hex digits: names the container.
    pub id: String,
    /// The key of the snapshot it works in.
    pub snapshot: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// `user[:group]`; root when empty.
    pub user: String,
    /// Where it starts; `/` when empty. Made if it is not there.
    pub working_dir: String,
    /// `default`, `none`, `host`, `container:` and a container, or a network's name.
    pub network: String,
    /// What the user set for all commands.
    pub host: StepHost,
    /// What it sees besides its root.
    pub mounts: Vec<StepMount>,
    /// With all rights.
    pub privileged: bool,
    /// What its mounts show: kept until nothing of the command is left, which is after a build that is given up.
    pub held: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Step {
    /// Without the environment, which may have secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, argv, user, working_dir, network, mounts, privileged, .. } = self;
        f.debug_struct("Step")
            .field("id", id)
            .field("argv", argv)
            .field("user", user)
            .field("working_dir", working_dir)
            .field("network", network)
            .field("mounts", mounts)
            .field("privileged", privileged)
            .finish_non_exhaustive()
    }
}

/// Runs commands in snapshots.
#[async_trait]
pub trait StepRunner: Send + Sync {
    /// Runs a command to its end and returns its exit code. All processes of it are gone afterwards, and the
    /// snapshot is not mounted any more; also when the future is dropped, as soon as can be.
    async fn run(&self, step: &Step, output: &(dyn Fn(Stream, Bytes) + Send + Sync)) -> Result<i32>;
}

/// What a RUN says.
pub(super) struct RunStep<'a> {
    command: &'a Command,
    heredocs: &'a [Heredoc],
    network: Option<&'a str>,
    mounts: &'a [String],
    insecure: bool,
}

impl<'a> RunStep<'a> {
    /// `None` for another instruction.
    pub(super) fn of(instruction: &'a Instruction) -> Option<Self> {
        let Instruction::Run { command, heredocs, network, mounts, insecure } = instruction else {
            return None;
        };
        Some(Self { command, heredocs, network: network.as_deref(), mounts, insecure: *insecure })
    }
}

/// A snapshot that goes again unless it became a layer.
pub(super) struct Working {
    pub(super) key: String,
    snapshots: Arc<dyn Snapshots>,
    done: bool,
}

impl Working {
    pub(super) fn over(key: String, snapshots: Arc<dyn Snapshots>) -> Self {
        Self { key, snapshots, done: false }
    }

    pub(super) fn committed(mut self) {
        self.done = true;
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = self.snapshots.remove(&self.key)
        {
            tracing::warn!(key = self.key, error = error.full(), "a build step's snapshot is left");
        }
    }
}

impl Build<'_> {
    /// A snapshot on the stage's layers.
    pub(super) async fn working(&self, state: &State) -> Result<Working> {
        let key = Digest::sha256(format!("{} {}", self.id, self.step).as_bytes()).hex().to_owned();
        let (snapshots, chain, name) = (Arc::clone(&self.builder.snapshots), state.chain(), key.clone());
        blocking(move || snapshots.prepare(&name, chain.as_ref()).map(drop)).await?;
        Ok(Working::over(key, Arc::clone(&self.builder.snapshots)))
    }

    pub(super) async fn run_step(
        &mut self,
        state: &mut State,
        run: &RunStep<'_>,
        stage: usize,
    ) -> Result<()> {
        if run.insecure && !self.options.insecure {
            return Err(Error::new(
                wharf_model::ErrorKind::Forbidden,
                "security.insecure is not allowed: build with --allow security.insecure",
            ));
        }
        // Who names the host's network for the whole build knows of it; who wrote the Dockerfile may be anybody.
        let is_given = self.options.host_network || self.options.network == "host";
        if run.network == Some("host") && !is_given {
            return Err(Error::new(
                wharf_model::ErrorKind::Forbidden,
                "network.host is not allowed: build with --allow network.host",
            ));
        }
        let heredocs = run.heredocs;
        let argv = match run.command {
            Command::Exec(words) => words.clone(),
            Command::Shell(line) => state.shell().into_iter().chain([script(line, heredocs)]).collect(),
        };
        let mut args: Vec<String> =
            state.args.iter().map(|(name, value)| format!("{name}={value}")).collect();
        args.sort_unstable();
        let created_by = match args.len() {
            0 => argv.join(" "),
            count => format!("|{count} {} {}", args.join(" "), argv.join(" ")),
        };
        let network = run.network.filter(|n| *n != "default").unwrap_or(&self.options.network).to_owned();
        let (found, shown) = self.find_mounts(state, run.mounts, stage).await?;
        let mut content = network.clone();
        if !shown.is_empty() || run.insecure {
            content.push_str(&format!("\n{shown}{}", run.insecure));
        }
        if self.use_cached(state, &created_by, &content)? {
            return Ok(());
        }
        let mut env = state.config.config.env.clone();
        // The environment wins: an argument of the same name is not seen.
        let unset = |pair: &&String| {
            let name = pair.split('=').next().unwrap_or_default();
            !state.config.config.env.iter().any(|set| set.split('=').next() == Some(name))
        };
        env.extend(args.iter().filter(unset).cloned());
        for name in PROXY_ARGS {
            if let Some(Some(value)) = self.options.args.get(name) {
                env.push(format!("{name}={value}"));
            }
        }
        let working = self.working(state).await?;
        let made = Arc::new(self.make_mounts(&working.key, found).await?);
        env.extend(made.env.iter().cloned());
        let stubs = self.missing(state.chain(), &made.mounts).await?;
        let step = Step {
            id: working.key.clone(),
            snapshot: working.key.clone(),
            argv: argv.clone(),
            env,
            user: state.config.config.user.clone(),
            working_dir: state.config.config.working_dir.clone(),
            network: network.clone(),
            host: self.options.host.clone(),
            mounts: made.mounts.clone(),
            privileged: run.insecure,
            held: made.clone(),
        };
        let short = step.id[..12].to_owned();
        self.say(format!(" ---> Running in {short}\n"));
        let sink = Arc::clone(self.sink);
        let output = move |stream, bytes: Bytes| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            sink(match stream {
                Stream::Out => Output::Text(text),
                Stream::Err => Output::ErrorText(text),
            });
        };
        let code = self.builder.runner.run(&step, &output).await?;
        if code != 0 {
            let shown = argv.join(" ");
            return Err(Error::invalid(format!("The command '{shown}' returned a non-zero code: {code}")));
        }
        self.say(format!(" ---> Removed intermediate container {short}\n"));
        drop((step, made));
        self.remove_stubs(&working.key, stubs).await?;
        let layer = self.builder.images.commit_snapshot(&working.key).await?;
        working.committed();
        self.finish_step(state, &created_by, &content, Some(layer)).await
    }
}

/// A shell line with its heredocs; a heredoc alone is the script itself.
fn script(line: &str, heredocs: &[Heredoc]) -> String {
    if let [only] = heredocs
        && line.trim_start_matches("<<").trim_start_matches('-').trim_matches(['"', '\'']) == only.name
    {
        return only.content.clone();
    }
    let mut text = line.to_owned();
    for heredoc in heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    text
}
