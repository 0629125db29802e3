//! Garbage collection by a policy: what nobody uses goes by itself.
//!
//! It decides by facts of one moment, and everything is asked again when it goes: a container that was started, an image
//! that was used and a volume that somebody has by then stay. While images are built none is removed.

mod plan;
mod policy;

pub use policy::{Policy, words};

use crate::clock::now_ns;
use crate::containers::Containers;
use crate::events::Events;
use crate::images::{Images, Removed, User};
use crate::volumes::VolumeService;
use plan::{Facts, Plan, plan};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use wharf_model::container::ContainerRecord;
use wharf_model::state::Status;
use wharf_model::{Error, ErrorKind, Result};

/// What one run removed.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// When it ended, nanoseconds since the epoch.
    pub at_ns: i128,
    /// Ids.
    pub containers: Vec<String>,
    /// Names and ids.
    pub images: Vec<Removed>,
    /// Names.
    pub volumes: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}

/// The service.
pub struct Gc {
    containers: Arc<Containers>,
    images: Images,
    volumes: Arc<VolumeService>,
    events: Events,
    /// On the disk that must not be full.
    data_root: PathBuf,
    policy: Mutex<Policy>,
    changed: Notify,
    /// One run at a time.
    running: tokio::sync::Mutex<()>,
    last: Mutex<Option<Report>>,
}

impl Gc {
    /// The service; it does nothing by itself before [`Gc::keep_running`].
    pub fn new(
        containers: Arc<Containers>,
        images: Images,
        volumes: Arc<VolumeService>,
        events: Events,
        data_root: PathBuf,
        policy: Policy,
    ) -> Arc<Self> {
        let policy = Mutex::new(policy);
        let (changed, running, last) = (Notify::new(), tokio::sync::Mutex::default(), Mutex::default());
        Arc::new(Self { containers, images, volumes, events, data_root, policy, changed, running, last })
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another policy from now on.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
        self.changed.notify_one();
    }

    /// What the last run removed.
    pub fn last(&self) -> Option<Report> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs each time the policy's interval is over. Never ends.
    pub async fn keep_running(self: Arc<Self>) {
        loop {
            let policy = self.policy();
            let due = async {
                if policy.enabled {
                    tokio::time::sleep(policy.interval).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = due => if let Err(e) = self.run().await {
                    tracing::warn!("garbage collection: {}", e.full());
                },
            }
        }
    }

    /// Removes now what the policy says.
    ///
    /// # Errors
    /// `Invalid` when the policy has no rule.
    pub async fn run(self: &Arc<Self>) -> Result<Report> {
        let policy = self.policy();
        if policy.rules().is_empty() {
            return Err(Error::invalid(
                "no rule for garbage collection is configured: give one in \"gc\" of the daemon's configuration file",
            ));
        }
        let _running = self.running.lock().await;
        let (this, rules) = (Arc::clone(self), policy.clone());
        let (facts, plan) = politely(move || {
            let facts = this.facts()?;
            let plan = plan(&facts, &rules);
            Ok((facts, plan))
        })
        .await?;
        let mut report = Report::default();
        self.remove_containers(&facts, &plan, &mut report).await;
        let this = Arc::clone(self);
        let report = politely(move || {
            this.remove_images(&facts, &plan, &mut report)?;
            this.remove_volumes(&facts, &plan, &mut report)?;
            report.at_ns = now_ns();
            Ok(report)
        })
        .await?;
        self.tell(&report);
        Ok(report)
    }

    fn tell(&self, report: &Report) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
        let counts = [report.containers.len(), report.images.len(), report.volumes.len()];
        if counts.iter().all(|count| *count == 0) {
            return;
        }
        let names = ["containers", "images", "volumes", "reclaimed"];
        let values = counts.map(|count| count.to_string()).into_iter().chain([report.reclaimed.to_string()]);
        let attributes: BTreeMap<String, String> = names.map(str::to_owned).into_iter().zip(values).collect();
        let images: Vec<String> = report.images.iter().map(shown).collect();
        tracing::info!(
            containers = ?report.containers, ?images, volumes = ?report.volumes,
            "garbage collection freed {} bytes", report.reclaimed
        );
        self.events.publish("daemon", "gc", "", attributes);
    }

    fn facts(&self) -> Result<Facts> {
        let pieces = self.images.pieces()?;
        let image = |listed: crate::images::Listed| {
            let tags = &listed.tags;
            plan::Image {
                names: tags.iter().flat_map(|t| [t.familiar(), t.familiar_name()]).collect(),
                labels: listed.image.config.config.labels.clone(),
                parent: listed.image.parent.as_ref().map(ToString::to_string),
                last_used_ns: self.images.last_used_ns(&listed.image.id).into(),
                pieces: pieces.get(&listed.image.id).cloned().unwrap_or_default(),
                id: listed.image.id.to_string(),
            }
        };
        let volume = |record: crate::volumes::VolumeRecord| plan::Volume {
            name: record.name,
            labels: record.labels,
            anonymous: record.anonymous,
            unused_since_ns: record.unused_since_ns,
        };
        let disk = rustix::fs::statvfs(&self.data_root).map_err(|e| {
            Error::wrap(ErrorKind::Internal, format!("look at the disk of {}", self.data_root.display()), e)
        })?;
        let used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize;
        Ok(Facts {
            now_ns: now_ns(),
            containers: self.records().iter().map(|record| container(record)).collect(),
            images: self.images.list().into_iter().map(image).collect(),
            volumes: self.volumes.list()?.into_iter().map(volume).collect(),
            disk: (used, used + disk.f_bavail * disk.f_frsize),
        })
    }

    fn records(&self) -> Vec<Arc<ContainerRecord>> {
        self.containers.list().iter().map(|handle| handle.record()).collect()
    }

    async fn remove_containers(&self, facts: &Facts, plan: &Plan, report: &mut Report) {
        for id in &plan.containers {
            let Ok(handle) = self.containers.find(id) else { continue };
            let record = handle.record();
            let planned = facts.containers.iter().find(|c| c.id == *id).and_then(|c| c.ended_ns);
            if container(&record).ended_ns != planned {
                continue;
            }
            let size = self.containers.size(&record).await.unwrap_or_default();
            // One that was started meanwhile refuses.
            match handle.remove(false, false).await {
                Ok(()) => {
                    report.containers.push(id.clone());
                    report.reclaimed += size;
                }
                Err(e) => tracing::debug!(container = %id, "garbage collection: {}", e.full()),
            }
        }
    }

    fn remove_images(&self, facts: &Facts, plan: &Plan, report: &mut Report) -> Result<()> {
        if plan.images.is_empty() {
            return Ok(());
        }
        let Some(_no_builds) = self.images.no_builds() else {
            tracing::debug!("garbage collection: images are being built, the next time then");
            return Ok(());
        };
        let before = self.images.disk_usage()?;
        for id in &plan.images {
            let Some(planned) = facts.images.iter().find(|image| image.id == *id) else { continue };
            // Asked while nobody can begin to use it.
            let in_use = |image: &wharf_oci::digest::Digest, last_used_ns: i64| {
                if let Some((id, running)) = self.containers.user_of_image(image) {
                    return Some(User { container: id.short().to_owned(), running });
                }
                let touched = image.as_str() == id && i128::from(last_used_ns) != planned.last_used_ns;
                touched.then(|| User { container: "somebody".to_owned(), running: true })
            };
            match self.images.remove_unused(id, &in_use) {
                Ok(gone) => {
                    for item in &gone {
                        let (action, id) = match item {
                            Removed::Untagged(_) => ("untag", id.clone()),
                            Removed::Deleted(digest) => ("delete", digest.to_string()),
                        };
                        self.events.publish("image", action, &id, [("name".to_owned(), id.clone())].into());
                    }
                    report.images.extend(gone);
                }
                Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                    tracing::debug!("garbage collection: {}", e.full());
                }
                Err(e) => return Err(e),
            }
        }
        report.reclaimed += before.saturating_sub(self.images.disk_usage()?);
        Ok(())
    }

    fn remove_volumes(&self, facts: &Facts, plan: &Plan, report: &mut Report) -> Result<()> {
        let users = || Ok(self.records());
        for name in &plan.newly_unused {
            self.volumes.mark_unused(name, facts.now_ns, &users)?;
        }
        for name in &plan.volumes {
            if self.volumes.inspect(name).is_ok_and(|record| record.unused_since_ns.is_none()) {
                continue;
            }
            let size = self.volumes.size(name).unwrap_or_default();
            match self.volumes.remove(name, &users, true) {
                Ok(()) => {
                    report.volumes.push(name.clone());
                    report.reclaimed += size;
                }
                // Somebody began to use it.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn shown(removed: &Removed) -> String {
    match removed {
        Removed::Untagged(name) => name.familiar(),
        Removed::Deleted(digest) => digest.to_string(),
    }
}

fn container(record: &ContainerRecord) -> plan::Container {
    let images = record.mounts.iter().filter_map(|m| m.image.as_ref()).chain([&record.image]);
    let volumes = record.mounts.iter().filter(|m| m.kind == "volume").map(|m| m.name.clone());
    plan::Container {
        id: record.id.to_string(),
        labels: record.spec.labels.clone(),
        images: images.map(ToString::to_string).collect(),
        volumes: volumes.collect(),
        ended_ns: (record.status == Status::Exited).then_some(record.finished_ns),
    }
}

/// Work on a thread of its own behind everybody else's: the priority of one of the pool's would stay with it.
async fn politely<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, done) = tokio::sync::oneshot::channel();
    let run = move || {
        // Without the right to say so it is just not as polite.
        let _ = rustix::process::setpriority_process(None, 19);
        // Nobody waits any more when the engine ends.
        let _ = sender.send(work());
    };
    let thread = std::thread::Builder::new().name("wharf-gc".into()).stack_size(1 << 20).spawn(run);
    thread.map_err(|e| Error::wrap(ErrorKind::Internal, "start the garbage collection", e))?;
    done.await.map_err(|_| Error::internal("the garbage collection broke off"))?
}
