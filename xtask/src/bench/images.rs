//! Pull and push of an image of real files in three layers, from and to a registry on the same machine.

use super::{Engine, Ours, Row};
use anyhow::{Context, ensure};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of files in the two large layers; the third is busybox.
const LAYERS: [(&str, u64); 2] = [("one", 150 << 20), ("two", 270 << 20)];
/// Where the files are from: what every Debian has, in the order that images have it.
const SOURCES: [&str; 3] = ["/usr/lib", "/usr/bin", "/usr/share"];
/// Ports of the registries: what is pushed to the second has not been in it.
const PORTS: [u16; 2] = [48085, 48086];
const RUNS: usize = 3;
const START_LIMIT: Duration = Duration::from_secs(10);

struct Registry(Child);

impl Registry {
    fn start(binary: &Path, root: &Path, port: u16) -> anyhow::Result<Self> {
        let child = Command::new(binary)
            .args(["registry", "serve", "--listen", &format!("127.0.0.1:{port}"), "--root"])
            .arg(root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start a registry")?;
        let registry = Self(child);
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(begun.elapsed() < START_LIMIT, "the registry on port {port} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // What is left of it shows in the directory.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures and writes the table.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let binary = crate::build_release(root)?;
    let ours = Ours::start(&binary, "10.212.0.1/24")?;
    let table = super::table(&rows(&binary, &ours, &super::peers())?);
    print!("{table}");
    super::write(root, "<!-- images -->", "<!-- /images -->", &table)
}

/// Measures all engines.
fn rows(binary: &Path, ours: &Ours, peers: &[Engine]) -> anyhow::Result<Vec<Row>> {
    let directory = ours.directory.join("images");
    std::fs::create_dir_all(&directory)?;
    let context = context(&directory)?;
    let _registries = PORTS
        .iter()
        .map(|port| Registry::start(binary, &directory.join(port.to_string()), *port))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let [first, second] = PORTS.map(|port| format!("127.0.0.1:{port}/bench/image:1"));
    let engine = &ours.engine;
    engine.time(&["build", "-q", "-t", &first, &context.display().to_string()])?;
    let mut pushes = vec![(engine.name.clone(), engine.time(&["push", "-q", &first])?)];
    let size: u64 = engine.output(&["inspect", "--format", "{{.Size}}", &first])?.parse()?;
    let mut pulls = vec![(engine.name.clone(), pull(engine, &first)?)];
    let peak = peak_of(ours.process.id(), || engine.time(&["pull", "-q", &first]))?;
    engine.time(&["rmi", "-f", &first])?;
    for peer in peers {
        pulls.push((peer.name.clone(), pull(peer, &first)?));
        peer.time(&["pull", "-q", &first])?;
        peer.time(&["tag", &first, &second])?;
        pushes.push((peer.name.clone(), peer.time(&["push", "-q", &second])?));
        peer.time(&["rmi", "-f", &first, &second])?;
    }
    let compressed = size_of(&directory.join(PORTS[0].to_string()))?;
    let what = format!("{} MB gzip / {} MB, 3 layers", compressed / 1_000_000, size / 1_000_000);
    let memory = vec![(engine.name.clone(), peak)];
    Ok(vec![
        (format!("pull of {what}, to a container's first output"), pulls, "ms"),
        ("push of the same".to_owned(), pushes, "ms"),
        ("peak memory of the engine in that pull".to_owned(), memory, "MiB"),
    ])
}

/// The median of the time from the pull's beginning to what a container prints.
fn pull(engine: &Engine, image: &str) -> anyhow::Result<f64> {
    let mut all = Vec::new();
    for _ in 0..RUNS {
        // The first time it may not be there.
        let _ = engine.time(&["rmi", "-f", image]);
        let start = Instant::now();
        engine.time(&["pull", "-q", image])?;
        engine.time(&["run", "--rm", "--network", "none", image, "echo", "here"])?;
        all.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    engine.time(&["rmi", "-f", image])?;
    all.sort_by(f64::total_cmp);
    Ok(all[RUNS / 2])
}

/// MiB that a process has at most while something is done (proc(5), `clear_refs`, `VmHWM`).
fn peak_of(pid: u32, work: impl FnOnce() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forget the peak so far")?;
    work()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<f64>().ok());
    Ok(peak.context("no VmHWM")? / 1024.0)
}

fn context(directory: &Path) -> anyhow::Result<PathBuf> {
    let context = directory.join("context");
    std::fs::create_dir_all(&context)?;
    let mut files = Vec::new();
    for source in SOURCES {
        collect(Path::new(source), &mut files)?;
    }
    let mut files = files.into_iter();
    let mut dockerfile = "FROM busybox\n".to_owned();
    for (name, limit) in LAYERS {
        let list = directory.join(name);
        let mut out = std::io::BufWriter::new(std::fs::File::create(&list)?);
        let mut bytes = 0;
        for (path, size) in files.by_ref() {
            out.write_all(path.as_os_str().as_encoded_bytes())?;
            out.write_all(b"\0")?;
            bytes += size;
            if bytes >= limit {
                break;
            }
        }
        out.flush()?;
        let tar = context.join(format!("{name}.tar"));
        let status = Command::new("tar")
            .args(["-C", "/", "--null", "--no-recursion", "-T"])
            .arg(&list)
            .arg("-cf")
            .arg(&tar)
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "tar of the files of a layer failed");
        dockerfile += &format!("ADD {name}.tar /{name}\n");
    }
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    Ok(context)
}

fn collect(directory: &Path, files: &mut Vec<(PathBuf, u64)>) -> anyhow::Result<()> {
    let mut entries = std::fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push((entry.path(), entry.metadata()?.len()));
        }
    }
    Ok(())
}

fn size_of(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
