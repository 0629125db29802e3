//! `cargo xtask bench`: measures Wharf beside its peers in one run and refreshes the table in BENCHMARKS.md.
//!
//! Peers are named by the environment: `WHARF_BENCH_DOCKER` and `WHARF_BENCH_PODMAN` are commands to put before
//! `run`, such as `docker -H unix:///path`, whose engines have an image `busybox`; `WHARF_BENCH_RUNTIMES` is a
//! list of OCI runtimes by path, separated by commas; `WHARF_BENCH_DOCKER_PID` is the process whose memory, with that of
//! all it started, is Docker's.

pub(crate) mod compose;
pub(crate) mod images;
mod load;
pub(crate) mod registry;

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 30;
/// What counts as idle: a little longer than it takes the engine to notice.
const QUIET: Duration = Duration::from_secs(3);
const BEGIN: &str = "<!-- measured -->";
const END: &str = "<!-- /measured -->";

/// One engine under test: the words before the verb, and who it is.
pub(crate) struct Engine {
    name: String,
    prefix: Vec<String>,
}

impl Engine {
    fn from_env(name: &str, variable: &str) -> Option<Self> {
        let prefix: Vec<String> =
            std::env::var(variable).ok()?.split_whitespace().map(str::to_owned).collect();
        (!prefix.is_empty()).then(|| Self { name: name.to_owned(), prefix })
    }

    /// Milliseconds of one command.
    pub(crate) fn time(&self, args: &[&str]) -> anyhow::Result<f64> {
        let start = Instant::now();
        let status = Command::new(&self.prefix[0])
            .args(&self.prefix[1..])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("run {}", self.prefix[0]))?;
        ensure!(status.success(), "{}: {} ended with {status}", self.name, args.join(" "));
        Ok(start.elapsed().as_secs_f64() * 1000.0)
    }

    /// What one command prints.
    fn output(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.prefix[0]).args(&self.prefix[1..]).args(args).output();
        let output = output.with_context(|| format!("run {}", self.prefix[0]))?;
        ensure!(output.status.success(), "{}: {} ended with {}", self.name, args.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    pub(crate) fn median(&self, runs: usize, args: &[&str]) -> anyhow::Result<f64> {
        self.time(args)?;
        let mut all = (0..runs).map(|_| self.time(args)).collect::<anyhow::Result<Vec<_>>>()?;
        all.sort_by(f64::total_cmp);
        Ok(all[all.len() / 2])
    }
}

/// Our engine, private to this run, ended when dropped.
pub(crate) struct Ours {
    pub(crate) engine: Engine,
    process: Child,
    directory: PathBuf,
}

impl Ours {
    /// `block` is where the containers get addresses.
    pub(crate) fn start(binary: &Path, block: &str) -> anyhow::Result<Self> {
        use std::io::{BufRead, BufReader};
        let directory = std::env::temp_dir().join(format!("wharf-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let host = format!("unix://{}", directory.join("s.sock").display());
        let mut process = Command::new(binary)
            .args(["daemon", "--tell-ready", "--bip", block, "-H", &host])
            .arg("--data-root")
            .arg(directory.join("data"))
            .arg("--exec-root")
            .arg(exec_root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start the engine")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no standard output")?).read_line(&mut line)?;
        ensure!(line.trim() == "ready", "the engine did not start: it needs root");
        let prefix = vec![binary.display().to_string(), "-H".to_owned(), host];
        let ours = Self { engine: Engine { name: "Wharf".to_owned(), prefix }, process, directory };
        let tar = ours.directory.join("busybox.tar");
        crate::busybox::tar(&tar)?;
        ours.engine.time(&["import", &tar.display().to_string(), "busybox"])?;
        Ok(ours)
    }

    /// Proportional memory in KiB of the engine and all it started, after a time without requests.
    pub(crate) fn memory(&self) -> u64 {
        std::thread::sleep(QUIET);
        // The programs inside containers are not ours to count.
        memory_of(self.process.id(), |name| name.starts_with("wharf") || name.starts_with("exe"))
    }
}

/// Proportional memory in KiB of a process and those it started whose names are `counted`.
fn memory_of(root: u32, counted: impl Fn(&str) -> bool) -> u64 {
    let mut wanted = vec![root];
    let mut total = 0;
    while let Some(pid) = wanted.pop() {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = rollup
            .lines()
            .find_map(|l| l.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<u64>().ok());
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if pid == root || counted(&name) {
            total += pss.unwrap_or(0);
        }
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            wanted.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
        }
    }
    total
}

impl Drop for Ours {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        // The benchmark's own figures are what its result is about; a failed clean-up shows in the directory.
        let _ = Command::new("kill").arg(&pid).status();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
        let _ = std::fs::remove_dir_all(exec_root());
    }
}

/// Where engines keep what lives only while containers run: in memory, as by default.
fn exec_root() -> PathBuf {
    Path::new("/run").join(format!("wharf-bench-{}", std::process::id()))
}

/// One row: what was measured, our figure, the peers' figures, the unit.
type Row = (String, Vec<(String, f64)>, &'static str);

/// Measures and writes the table.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let binary = crate::build_release(root)?;
    let ours = Ours::start(&binary, "10.212.0.1/24")?;
    let mut engines = vec![&ours.engine];
    let peers = peers();
    engines.extend(&peers);
    let mut rows: Vec<Row> = Vec::new();
    let bundle = Bundle::unpack(&ours.directory)?;
    rows.push((
        "floor: `unshare -mnpiuf chroot . true`".to_owned(),
        vec![("Wharf".to_owned(), bundle.floor()?)],
        "ms",
    ));
    let idle = ours.memory() as f64 / 1024.0;
    for (what, args) in [
        ("`run --rm busybox true`, bridge", &["run", "--rm", "busybox", "true"][..]),
        ("the same, `--network none`", &["run", "--rm", "--network", "none", "busybox", "true"]),
        ("the same, `-p`", &["run", "--rm", "-p", "127.0.0.1:48080:80", "busybox", "true"]),
    ] {
        rows.push((what.to_owned(), each(&engines, |e| e.median(RUNS, args))?, "ms"));
    }
    for engine in &engines {
        engine.time(&["run", "-d", "--name", "bench", "busybox", "sleep", "1000"])?;
    }
    rows.push((
        "`exec true`".to_owned(),
        each(&engines, |e| e.median(RUNS, &["exec", "bench", "true"]))?,
        "ms",
    ));
    rows.push(("`ps`".to_owned(), each(&engines, |e| e.median(RUNS, &["ps"]))?, "ms"));
    for engine in &engines {
        engine.time(&["rm", "-f", "bench"])?;
    }
    rows.push(("50 × `run -d`, one after another".to_owned(), each(&engines, fifty)?, "ms"));
    let fifty_running = ours.memory() as f64 / 1024.0;
    let names: Vec<String> = (0..50).map(|n| format!("bench{n}")).collect();
    let remove: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
    rows.push(("`rm -f` of 50".to_owned(), each(&engines, |e| e.time(&remove))?, "ms"));
    rows.push(("50 × `run -d`, 8 at a time".to_owned(), each(&engines, load::fifty_at_once)?, "ms"));
    each(&engines, |e| e.time(&remove))?;
    let direct = each(&engines, |e| load::requests(e, load::Way::Direct))?;
    rows.push(("requests to a container's own address, one after another".to_owned(), direct, "req/s"));
    let published = each(&engines, |e| load::requests(e, load::Way::Published))?;
    rows.push(("the same to its port on 127.0.0.1".to_owned(), published, "req/s"));
    let mut memory = vec![("Wharf".to_owned(), idle)];
    if let Some(pid) = std::env::var("WHARF_BENCH_DOCKER_PID").ok().and_then(|p| p.parse().ok()) {
        memory.push(("Docker".to_owned(), memory_of(pid, |_| true) as f64 / 1024.0));
    }
    rows.push(("memory idle (PSS, all processes)".to_owned(), memory, "MiB"));
    let each_container = (fifty_running - idle) / 50.0;
    rows.push(("memory a running container".to_owned(), vec![("Wharf".to_owned(), each_container)], "MiB"));
    rows.push(("OCI runtime alone, `run` of a bundle".to_owned(), bundle.runtimes(&binary)?, "ms"));
    let size = std::fs::metadata(&binary)?.len() as f64 / 1_048_576.0;
    rows.push(("size of the binary".to_owned(), vec![("Wharf".to_owned(), size)], "MiB"));
    let table = table(&rows);
    print!("{table}");
    write(root, BEGIN, END, &table)
}

/// The engines that the environment names.
fn peers() -> Vec<Engine> {
    [("Docker", "WHARF_BENCH_DOCKER"), ("Podman", "WHARF_BENCH_PODMAN")]
        .into_iter()
        .filter_map(|(name, variable)| Engine::from_env(name, variable))
        .collect()
}

fn each(
    engines: &[&Engine],
    measure: impl Fn(&Engine) -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<(String, f64)>> {
    engines.iter().map(|e| Ok((e.name.clone(), measure(e)?))).collect()
}

fn fifty(engine: &Engine) -> anyhow::Result<f64> {
    let start = Instant::now();
    for n in 0..50 {
        engine.time(&["run", "-d", "--name", &format!("bench{n}"), "busybox", "sleep", "1000"])?;
    }
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// A root file system with a configuration beside it.
struct Bundle(PathBuf);

impl Bundle {
    fn unpack(directory: &Path) -> anyhow::Result<Self> {
        let bundle = directory.join("bundle");
        let rootfs = bundle.join("rootfs");
        std::fs::create_dir_all(&rootfs)?;
        let status = Command::new("tar")
            .arg("-C")
            .arg(&rootfs)
            .arg("-xf")
            .arg(directory.join("busybox.tar"))
            .status()?;
        ensure!(status.success(), "unpacking the bundle failed");
        std::fs::write(bundle.join("config.json"), include_str!("bundle.json"))?;
        Ok(Self(bundle))
    }

    /// What the kernel needs for namespaces and programs alone: tells a slow minute of the machine from a slow engine.
    fn floor(&self) -> anyhow::Result<f64> {
        let rootfs = self.0.join("rootfs").display().to_string();
        let floor = Engine { name: "floor".to_owned(), prefix: vec!["unshare".to_owned()] };
        floor.median(RUNS, &["-mnpiuf", "chroot", &rootfs, "/bin/true"])
    }

    /// OCI runtimes by their command line.
    fn runtimes(&self, binary: &Path) -> anyhow::Result<Vec<(String, f64)>> {
        let mut all = vec![Engine {
            name: "Wharf".to_owned(),
            prefix: vec![binary.display().to_string(), "oci".to_owned()],
        }];
        let peers = std::env::var("WHARF_BENCH_RUNTIMES").unwrap_or_default();
        for path in peers.split(',').filter(|p| !p.is_empty()) {
            let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.push(Engine { name, prefix: vec![path.to_owned()] });
        }
        let bundle = self.0.display().to_string();
        all.iter()
            .map(|e| Ok((e.name.clone(), e.median(RUNS, &["run", "-b", &bundle, "wharf-bench"])?)))
            .collect()
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from("| work | Wharf | peers | ratio |\n|---|---|---|---|\n");
    for (what, figures, unit) in rows {
        let ours = figures.first().map_or(0.0, |(_, f)| *f);
        let peers: Vec<String> =
            figures[1..].iter().map(|(name, f)| format!("{name} {f:.1} {unit}")).collect();
        // How many times better: less time, or more requests.
        let better = |f: f64| if unit.ends_with("/s") { ours / f } else { f / ours };
        let ratios: Vec<String> = figures[1..].iter().map(|(_, f)| format!("{:.1} ×", better(*f))).collect();
        text += &format!("| {what} | {ours:.1} {unit} | {} | {} |\n", peers.join(", "), ratios.join(", "));
    }
    text
}

/// Puts a table between two marks in BENCHMARKS.md.
pub(crate) fn write(root: &Path, begin: &str, end: &str, table: &str) -> anyhow::Result<()> {
    let file = root.join("BENCHMARKS.md");
    let text = std::fs::read_to_string(&file).context("read BENCHMARKS.md")?;
    let (head, rest) = text.split_once(begin).context("BENCHMARKS.md has no place for the table")?;
    let (_, tail) = rest.split_once(end).context("BENCHMARKS.md has no end of the table")?;
    std::fs::write(&file, format!("{head}{begin}\n{table}{end}{tail}")).context("write BENCHMARKS.md")
}
