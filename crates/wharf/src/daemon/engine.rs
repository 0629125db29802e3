//! Opens the engine's services in the order they depend on each other, and closes them.

use super::config::Config;
use super::steps::Steps;
use crate::launcher::MonitorLauncher;
use anyhow::{Context, anyhow};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use wharf_build::Builder;
use wharf_build::caches::Caches;
use wharf_buildkit::BuildKit;
use wharf_distribution::client::{Client, ClientConfig};
use wharf_docker_server::{About, Api};
use wharf_engine::containers::{Collaborators, Containers, ImageSource, ImageView, kept};
use wharf_engine::events::Events;
use wharf_engine::gc::Gc;
use wharf_engine::images::Images;
use wharf_engine::networks::{DefaultBridge, Networks};
use wharf_engine::security::Modules;
use wharf_engine::security::apparmor::AppArmor;
use wharf_engine::security::selinux::Selinux;
use wharf_engine::volumes::VolumeService;
use wharf_model::launcher::Launcher;
use wharf_model::network::Network;
use wharf_model::records::{Change, Durability, RecordKind, Records};
use wharf_model::snapshots::Snapshots;
use wharf_network::BridgeNetwork;
use wharf_oci::digest::Digest;
use wharf_storage::blobs::FileBlobs;
use wharf_storage::records::SqliteRecords;
use wharf_storage::root::DataRoot;
use wharf_storage::snapshots::DiskSnapshots;
use wharf_storage::snapshots::layout::{self, Layout as LayersLayout};
use wharf_storage::volumes::LocalVolumes;
use wharf_sys::cgroup::Layout;
use wharf_sys::erofs::Mounts;

/// An open engine.
pub(super) struct Engine {
    pub(super) api: Api,
    network: Arc<BridgeNetwork>,
    /// Keeps other engines out of the data root.
    _root: DataRoot,
}

/// How long a pull that was broken off is kept to be resumed: until the next working day.
const RESUME_AGE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// The image service as containers see it.
struct Source(Images);

impl ImageSource for Source {
    fn find(&self, name: &str) -> wharf_model::Result<ImageView> {
        let image = self.0.resolve(name)?;
        Ok(ImageView { id: image.id.clone(), config: image.config.config.clone(), chain: image.chain() })
    }

    fn used(&self, image: &Digest) {
        self.0.used(image);
    }
}

fn plain(error: wharf_model::Error) -> anyhow::Error {
    anyhow!(error.full())
}

fn directory(path: PathBuf) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}

impl Engine {
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let layout = Layout::detect().context("find the cgroup hierarchies")?;
        let cgroup_version = layout.version();
        directory(config.data_root.clone())?;
        let group = config.remap.as_ref().and_then(|map| map.outside((0, 0))).map_or(0, |(_, group)| group);
        let root = DataRoot::open(&config.data_root, group).map_err(plain)?;
        directory(config.exec_root.clone())?;
        // Before any thread does anything: the spawner is started by fork and exec.
        let security = security(config);
        let label = security.selinux.as_ref().and_then(Selinux::image_label);
        let mounts = Arc::new(label.map_or_else(Mounts::default, Mounts::labelled));
        let launcher =
            Arc::new(MonitorLauncher::new(&config.exec_root, layout, mounts.clone()).map_err(plain)?);

        let file = config.data_root.join("state.db");
        if config.mend_records
            && let Some(aside) = SqliteRecords::mend(&file).map_err(plain)?
        {
            tracing::warn!("the damaged records are kept in {}", aside.display());
        }
        let records: Arc<dyn Records> = Arc::new(SqliteRecords::open(&file).map_err(plain)?);
        kept::restore(records.as_ref(), &config.exec_root.join("containers")).map_err(plain)?;
        let mut blobs = FileBlobs::open(&directory(config.data_root.join("content"))?).map_err(plain)?;
        if let Some(registry) = &config.live.registry {
            blobs = blobs.beside(&super::registry::content(registry, &config.data_root));
        }
        let blobs = Arc::new(blobs);
        blobs.sweep("pull", RESUME_AGE).map_err(plain)?;
        let snapshots_root = directory(config.data_root.join("snapshots"))?;
        if let Some(selinux) = &security.selinux {
            selinux.label_layers(&snapshots_root).map_err(plain)?;
        }
        let (layers, shown) = layers(config, &snapshots_root)?;
        let snapshots =
            DiskSnapshots::open(&snapshots_root, records.clone(), layers, mounts).map_err(plain)?;
        let snapshots: Arc<dyn Snapshots> = Arc::new(snapshots);
        snapshots.recover().map_err(plain)?;
        let client = Client::new(&ClientConfig {
            settings: config.live.registries.clone(),
            certs_dir: config.certs_dir.clone(),
            ..ClientConfig::default()
        });
        let images =
            Images::open(records.clone(), blobs, snapshots.clone(), client.map_err(plain)?).map_err(plain)?;
        let images = images.with_compressed(config.compressed_layers);

        images.set_signature_policy(config.live.signatures.clone());

        let events = Events::default();
        let network = Arc::new(open_network(config)?);
        let own = DefaultBridge { interface: config.bridge.clone(), subnet: config.subnet.clone() };
        let networks =
            Networks::open(network.clone(), records.clone(), events.clone(), &own).map_err(plain)?;
        let networks = Arc::new(networks);
        let store = LocalVolumes::open(&directory(config.data_root.join("volumes"))?).map_err(plain)?;
        let volumes = Arc::new(VolumeService::new(Arc::new(store), records.clone(), events.clone()));
        volumes.recover().map_err(plain)?;
        let execs = Arc::default();
        let labels_containers = security.selinux.is_some();
        let containers = Containers::new(Collaborators {
            steps: Default::default(),
            records: records.clone(),
            snapshots: snapshots.clone(),
            launcher: launcher.clone() as Arc<dyn Launcher>,
            images: Arc::new(Source(images.clone())),
            networks: networks.clone(),
            volumes: volumes.clone(),
            events: events.clone(),
            execs: Arc::clone(&execs),
            directory: directory(config.data_root.join("containers"))?,
            cgroup_parent: config.cgroup_parent.clone(),
            remap: config.remap.clone(),
            cdi_spec_dirs: config.cdi_spec_dirs.clone(),
            security,
        });
        containers.recover().await.map_err(plain)?;
        let known: Vec<_> = containers.list().iter().map(|h| h.id().clone()).collect();
        launcher.sweep(&known, &config.cgroup_parent).await.map_err(plain)?;
        images.collect_garbage().map_err(plain)?;
        images.apply_compressed();
        let about = Arc::new(About {
            id: engine_id(records.as_ref())?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data_root: config.data_root.clone(),
            cgroup_version,
            storage: "overlay2".to_owned(),
            layers: shown,
            debug: AtomicBool::new(config.live.debug),
            labels: Mutex::new(config.live.labels.clone()),
            log: config.log.clone(),
            remaps_users: config.remap.is_some(),
            cdi_spec_dirs: config.cdi_spec_dirs.clone(),
            labels_containers,
        });
        let builder = Builder {
            images: images.clone(),
            snapshots: snapshots.clone(),
            records: records.clone(),
            runner: Arc::new(Steps(containers.clone())),
            ending: wharf_build::Ending::default(),
            caches: Caches::new(config.data_root.join("build-caches")),
            scratch: directory(config.data_root.join("tmp"))?,
        };
        let gc = Gc::new(
            containers.clone(),
            images.clone(),
            volumes.clone(),
            events.clone(),
            config.data_root.clone(),
            config.live.gc.clone(),
        );
        let gateway = Arc::clone(&networks);
        let buildkit = BuildKit::new(
            builder.clone(),
            events.clone(),
            about.id.clone(),
            Arc::new(move || gateway.host_gateway()),
        );
        let api = Api { gc, builder, buildkit, containers, execs, images, networks, volumes, events, about };
        Ok(Self { api, network, _root: root })
    }

    /// Ends the engine. While containers run, everything of theirs stays; else nothing is left in the kernel.
    pub(super) fn close(&self, config: &Config) -> anyhow::Result<()> {
        self.api.images.write_uses().map_err(plain)?;
        if self.api.containers.list().iter().any(|h| h.record().status.is_running()) {
            return Ok(());
        }
        self.network.teardown().map_err(plain)?;
        let layout = Layout::detect().context("find the cgroup hierarchies")?;
        let parent =
            wharf_sys::cgroup::Cgroup::at(layout, &config.cgroup_parent).context("name the cgroup")?;
        parent.remove().context("remove the cgroup")
    }
}

/// How layers are kept, and how to say it.
fn layers(config: &Config, root: &Path) -> anyhow::Result<(LayersLayout, String)> {
    let probed = layout::probe(root).map_err(plain)?;
    let wanted = config.layers.unwrap_or(probed.layout);
    for refused in &probed.refused {
        tracing::info!("layers cannot be kept as {refused}");
        anyhow::ensure!(!refused.starts_with(&format!("{wanted}:")), "--layers {wanted}: {refused}");
    }
    let mut shown = wanted.to_string();
    if config.layers.is_none() && !probed.refused.is_empty() {
        shown = format!("{shown} ({})", probed.refused.join("; "));
    }
    Ok((wanted, shown))
}

/// What the kernel's security modules do for containers.
fn security(config: &Config) -> Modules {
    let apparmor = AppArmor::detect(config.apparmor_profile.clone());
    let selinux = config.selinux_enabled.then(Selinux::detect).flatten();
    if config.selinux_enabled && selinux.is_none() {
        // As dockerd, which goes on.
        tracing::warn!(
            "--selinux-enabled: SELinux is not enabled in the kernel, or no policy is loaded: containers get no labels"
        );
    }
    for warning in apparmor.warning().into_iter().chain(selinux.as_ref().and_then(Selinux::warning)) {
        tracing::warn!("{warning}");
    }
    Modules { apparmor, selinux }
}

fn open_network(config: &Config) -> anyhow::Result<BridgeNetwork> {
    BridgeNetwork::new(wharf_network::Config {
        table: config.table.clone(),
        resolv_conf: "/etc/resolv.conf".into(),
        runtime: Some(tokio::runtime::Handle::current()),
    })
    .map_err(plain)
}

/// The engine's own id, made once.
fn engine_id(records: &dyn Records) -> anyhow::Result<String> {
    if let Some(id) = records.get(RecordKind::Engine, "id").map_err(plain)? {
        return Ok(String::from_utf8_lossy(&id).into_owned());
    }
    let bytes = wharf_engine::random::bytes().map_err(plain)?;
    let hex = wharf_model::ContainerId::from_bytes(bytes).to_string();
    let (a, b) = (&hex[..8], &hex[8..12]);
    let id = format!("{a}-{b}-{}-{}-{}", &hex[12..16], &hex[16..20], &hex[20..32]);
    let put = Change::Put { kind: RecordKind::Engine, id: "id".to_owned(), body: id.clone().into_bytes() };
    records.commit(vec![put], Durability::Power).map_err(plain)?;
    Ok(id)
}
