//! What a RUN sees besides its root.
//!
//! First what a mount shows is found, which the cache depends on; then, when the step is to be done, it is made.

use super::copy::{TREE, absolute, digest_of, put_selection};
use super::run::Working;
use super::sources::resolved;
use super::state::State;
use super::{Build, NamedContext, blocking};
use crate::Context;
use crate::caches::{Beginning, Lease};
use crate::dockerfile::{MountKind, RunMount, Sharing};
use crate::session::Session;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wharf_engine::containers::{StepMount, StepSource};
use wharf_engine::images::Image;
use wharf_model::snapshots::{RootMount, Snapshots, Tree, WriteOptions};
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::{ChainId, Digest};

/// Where secrets are unless said otherwise.
const SECRETS: &str = "/run/secrets";
/// Where agents' sockets are unless said otherwise; a number follows.
const AGENTS: &str = "/run/buildkit/ssh_agent.";
/// Bytes a secret may have, as with BuildKit.
const MAX_SECRET: usize = 500 << 10;

/// A mount of which is known what it shows.
pub(super) struct Found {
    mount: RunMount,
    target: String,
    source: Source,
}

/// A tree that is made for a mount.
struct Grown {
    /// The snapshot.
    key: String,
    /// Where in it what is meant is.
    inside: PathBuf,
    /// The same on the host.
    path: PathBuf,
}

enum Source {
    /// A path of the context or a named one.
    Files { context: Arc<Context>, path: String },
    /// A path of an image or stage.
    Image { image: Arc<Image>, path: String },
    /// Nothing but what the mount itself says.
    None,
}

/// Mounts that are made, for as long as this is kept.
#[derive(Default)]
pub(super) struct Made {
    pub(super) mounts: Vec<StepMount>,
    /// Variables of the step.
    pub(super) env: Vec<String>,
    leases: BTreeMap<String, Lease>,
    trees: Vec<Working>,
}

impl Build<'_> {
    /// Finds what the mounts show; also a text that says it whole, for the cache.
    pub(super) async fn find_mounts(
        &mut self,
        state: &State,
        texts: &[String],
        stage: usize,
    ) -> Result<(Vec<Found>, String)> {
        let (mut found, mut depends) = (Vec::new(), String::new());
        for text in texts {
            let expand = |text: &str| self.expand(state, text).map_err(|e| e.full());
            let mount = RunMount::parse(text, Some(&expand)).map_err(Error::invalid)?;
            let target = absolute(&state.config.config.working_dir, &mount.target);
            let target = if mount.target.is_empty() { String::new() } else { target };
            let (source, content) = self.find_source(&mount, stage).await?;
            // A secret's value is not part of it: another one does not make another image.
            depends.push_str(&format!("{mount:?} {target:?} {content}\n"));
            found.push(Found { mount, target, source });
        }
        Ok((found, depends))
    }

    async fn find_source(&mut self, mount: &RunMount, stage: usize) -> Result<(Source, String)> {
        let from = match (mount.kind, &mount.from) {
            (MountKind::Bind, None) => return files(Arc::clone(&self.context), &mount.source).await,
            (MountKind::Bind | MountKind::Cache, Some(from)) => from.clone(),
            _ => return Ok((Source::None, String::new())),
        };
        if let Some(NamedContext::Directory(context)) = self.named_context(&from) {
            return files(Arc::clone(context), &mount.source).await;
        }
        let image = self.image_of(&from, stage).await?;
        let content = image.as_ref().map(|image| image.id.to_string()).unwrap_or_default();
        let image = image
            .ok_or_else(|| Error::not_found(format!("RUN --mount=from={from}: there are no files in it")))?;
        let chain = image.chain();
        let (snapshots, wanted) = (Arc::clone(&self.builder.snapshots), absolute("/", &mount.source));
        let path = blocking(move || match chain {
            Some(chain) => resolved(&*snapshots, &chain, &wanted),
            None => Err(Error::not_found(format!("{wanted}: there are no files in the image"))),
        });
        Ok((Source::Image { path: path.await?, image }, content))
    }

    /// Makes what the step's mounts show.
    pub(super) async fn make_mounts(&self, key: &str, found: Vec<Found>) -> Result<Made> {
        let mut made = Made { leases: self.take_caches(&found).await?, ..Made::default() };
        let mut agents = 0;
        for (at, found) in found.into_iter().enumerate() {
            let Found { mount, target, source } = found;
            match mount.kind {
                MountKind::Bind => {
                    let read_only = !mount.writable.unwrap_or(false);
                    let source = match source {
                        Source::Image { image, path } if read_only => {
                            let subpath = path.trim_start_matches('/').to_owned();
                            StepSource::Image { id: image.id.clone(), subpath }
                        }
                        source => StepSource::Path(self.tree(key, at, source, &mut made).await?.path),
                    };
                    made.mounts.push(StepMount { target, read_only, source });
                }
                MountKind::Cache => self.cache(key, at, mount, target, source, &mut made).await?,
                MountKind::Tmpfs => {
                    let source = StepSource::Tmpfs(mount.size);
                    made.mounts.push(StepMount { target, read_only: false, source });
                }
                MountKind::Secret => self.secret(&mount, target, &mut made).await?,
                MountKind::Ssh => {
                    self.agent(&mount, target, agents, &mut made).await?;
                    agents += 1;
                }
            }
        }
        Ok(made)
    }

    /// A directory or file that can be written to, and that goes with the step.
    async fn tree(&self, key: &str, at: usize, source: Source, made: &mut Made) -> Result<Grown> {
        let name = Digest::sha256(format!("{key} mount {at}").as_bytes()).hex().to_owned();
        let snapshots = Arc::clone(&self.builder.snapshots);
        let (store, wanted) = (Arc::clone(&snapshots), name.clone());
        let root = blocking(move || store.prepare(&wanted, None)).await?;
        made.trees.push(Working::over(name.clone(), Arc::clone(&snapshots)));
        // On no layer, what is written is all there is.
        let (RootMount::Bind { path: root } | RootMount::Overlay { upper: root, .. }) = root;
        let filled = blocking(move || fill(&*snapshots, &name, source).map(|inside| (name, inside)));
        let (key, inside) = filled.await?;
        Ok(Grown { path: root.join(&inside), key, inside })
    }

    async fn cache(
        &self,
        key: &str,
        at: usize,
        mount: RunMount,
        target: String,
        source: Source,
        made: &mut Made,
    ) -> Result<()> {
        let id = cache_id(&mount, &target);
        let lease = made.leases.remove(&id);
        let mut lease = lease.ok_or_else(|| Error::internal(format!("the cache {id} was not taken")))?;
        let from = match source {
            Source::None => None,
            source if lease.is_new => Some(self.tree(key, at, source, made).await?),
            _ => None,
        };
        let snapshots = Arc::clone(&self.builder.snapshots);
        // The lease goes along: the copying goes on when nobody waits for it any more.
        let lease = blocking(move || {
            if let Some(from) = from {
                snapshots.populate(Tree::Snapshot(&from.key), &from.inside, &lease.path)?;
            }
            lease.begun()?;
            Ok(lease)
        });
        let lease = lease.await?;
        let read_only = mount.writable == Some(false);
        let source = StepSource::Path(lease.path.clone());
        made.mounts.push(StepMount { target, read_only, source });
        made.leases.insert(id, lease);
        Ok(())
    }

    /// Takes the caches of a step: each once, and all steps in the same order, or they would wait for each other forever.
    async fn take_caches(&self, found: &[Found]) -> Result<BTreeMap<String, Lease>> {
        let mut wanted = BTreeMap::<String, (Sharing, Beginning)>::new();
        for Found { mount, target, .. } in found.iter().filter(|f| f.mount.kind == MountKind::Cache) {
            let beginning = Beginning { mode: mount.mode.unwrap_or(0o755), owner: (mount.uid, mount.gid) };
            let entry = wanted.entry(cache_id(mount, target)).or_insert((mount.sharing, beginning));
            entry.0 = entry.0.max(mount.sharing);
        }
        let mut leases = BTreeMap::new();
        for (id, (sharing, beginning)) in wanted {
            let lease = self.builder.caches.take(&id, sharing, beginning).await?;
            leases.insert(id, lease);
        }
        Ok(leases)
    }

    async fn secret(&self, mount: &RunMount, target: String, made: &mut Made) -> Result<()> {
        let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let id = match (&*mount.id, &*mount.source) {
            ("", "") => base(&target),
            ("", source) => source.to_owned(),
            (id, _) => id.to_owned(),
        };
        let Some(content) = self.options.session.secret(&id).await? else {
            if mount.required {
                return Err(Error::not_found(format!("secret {id}: not found")));
            }
            return Ok(());
        };
        if content.len() > MAX_SECRET {
            return Err(Error::invalid(format!("secret {id} is larger than {MAX_SECRET} bytes")));
        }
        if let Some(name) = &mount.env {
            let text = std::str::from_utf8(&content).ok().filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| {
                Error::invalid(format!("secret {id} is no text: it cannot be a variable, only a file"))
            })?;
            made.env.push(format!("{name}={text}"));
            if target.is_empty() {
                return Ok(());
            }
        }
        let target = if target.is_empty() { format!("{SECRETS}/{}", base(&id)) } else { target };
        let (mode, owner) = (mount.mode.unwrap_or(0o400), (mount.uid, mount.gid));
        let source = StepSource::File { content, mode, owner };
        made.mounts.push(StepMount { target, read_only: true, source });
        Ok(())
    }

    async fn agent(&self, mount: &RunMount, target: String, number: usize, made: &mut Made) -> Result<()> {
        let id = if mount.id.is_empty() { "default".to_owned() } else { mount.id.clone() };
        let session = Arc::clone(&self.options.session);
        if !session.has_agent(&id).await? {
            if mount.required {
                return Err(Error::not_found(format!("no SSH key {id:?} forwarded from the client")));
            }
            return Ok(());
        }
        let target = if target.is_empty() { format!("{AGENTS}{number}") } else { target };
        if number == 0 {
            made.env.push(format!("SSH_AUTH_SOCK={target}"));
        }
        let connected = Arc::new(move |stream| {
            tokio::spawn(forward(Arc::clone(&session), id.clone(), stream));
        });
        let (mode, owner) = (mount.mode.unwrap_or(0o600), (mount.uid, mount.gid));
        let source = StepSource::Socket { connected, mode, owner };
        made.mounts.push(StepMount { target, read_only: false, source });
        Ok(())
    }

    /// Which of the paths that mounts need the step's root does not have, the deepest first: they are made for it, and are
    /// no part of what it changes.
    pub(super) async fn missing(&self, chain: Option<ChainId>, mounts: &[StepMount]) -> Result<Vec<PathBuf>> {
        let targets: Vec<String> = mounts.iter().map(|mount| mount.target.clone()).collect();
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let snapshots = Arc::clone(&self.builder.snapshots);
        blocking(move || {
            let mut missing = Vec::new();
            for target in &targets {
                for path in Path::new(target).ancestors().filter(|path| *path != Path::new("/")) {
                    let there = match &chain {
                        Some(chain) => snapshots.stat(Tree::Layer(chain), path, true)?.is_some(),
                        None => false,
                    };
                    if there {
                        break;
                    }
                    missing.push(path.to_owned());
                }
            }
            missing.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
            missing.dedup();
            Ok(missing)
        })
        .await
    }

    /// Takes away what was made for the mounts, unless the step put something there.
    pub(super) async fn remove_stubs(&self, key: &str, paths: Vec<PathBuf>) -> Result<()> {
        let (snapshots, key) = (Arc::clone(&self.builder.snapshots), key.to_owned());
        blocking(move || paths.iter().try_for_each(|path| snapshots.remove_stub(&key, path).map(drop))).await
    }
}

/// What a cache is known by; what it began with makes another one of it.
fn cache_id(mount: &RunMount, target: &str) -> String {
    let id = if mount.id.is_empty() { target } else { &mount.id };
    match &mount.from {
        Some(from) => format!("{id} from {from}:{}", mount.source),
        None => id.to_owned(),
    }
}

/// A path of a context, and the digest of what is there.
async fn files(context: Arc<Context>, path: &str) -> Result<(Source, String)> {
    let path = path.to_owned();
    blocking(move || {
        let content = digest_of(&context, &path)?;
        Ok((Source::Files { context, path }, content))
    })
    .await
}

/// Puts files into an empty tree, and tells where in it they are.
fn fill(snapshots: &dyn Snapshots, key: &str, source: Source) -> Result<PathBuf> {
    match source {
        Source::Files { context, path } => put_selection(snapshots, key, &context, &path),
        Source::Image { image, path } => {
            let chain = image.chain().ok_or_else(|| Error::not_found("there are no files in the image"))?;
            let (mut output, mut input) =
                std::io::pipe().map_err(|e| Error::wrap(ErrorKind::Internal, "make a pipe", e))?;
            let (read, written) = std::thread::scope(|scope| {
                let (chain, path) = (&chain, Path::new(&path));
                let reading =
                    scope.spawn(move || snapshots.read_tar(Tree::Layer(chain), path, Some(TREE), &mut input));
                let options = WriteOptions::default();
                let written = snapshots.write_tar(key, Path::new("/"), &mut output, options);
                drop(output);
                (reading.join(), written)
            });
            written?;
            read.map_err(|_| Error::internal("reading a stage's files broke off"))??;
            Ok(PathBuf::from(TREE))
        }
        Source::None => Err(Error::internal("a mount of nothing")),
    }
}

/// Connects a step to an agent until either ends.
async fn forward(session: Arc<dyn Session>, id: String, mut stream: tokio::net::UnixStream) {
    let passed = async {
        let mut agent = session.agent(&id).await?;
        // Either side may end at any time; that is no fault.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut agent).await;
        Ok::<_, Error>(())
    };
    if let Err(e) = passed.await {
        tracing::warn!("forward an SSH agent to a build step: {}", e.full());
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("mounts", &self.mounts).finish_non_exhaustive()
    }
}
