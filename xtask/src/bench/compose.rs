//! `cargo xtask bench compose`: projects brought up and taken down, beside Docker's plugin.

use super::{Engine, Ours, each, peers, table, write};
use anyhow::Context;
use std::path::{Path, PathBuf};

const RUNS: usize = 10;
const BEGIN: &str = "<!-- compose -->";
const END: &str = "<!-- /compose -->";

/// Three services that need each other, as a usual project has them.
const THREE: &str = "services:
  web: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, depends_on: [api]}
  api: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, depends_on: [db]}
  db: {image: busybox, command: sleep 1000, stop_signal: SIGKILL}
";

/// A service that waits for another's health, which is looked at each second.
const HEALTHY: &str = "services:
  web: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, depends_on: {db: {condition: service_healthy}}}
  db: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, healthcheck: {test: 'true', interval: 1s}}
";

/// Measures and writes the table.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let binary = crate::build_release(root)?;
    let ours = Ours::start(&binary, "10.212.4.1/22")?;
    // A peer without the plugin has nothing to compare.
    let peers: Vec<Engine> =
        peers().into_iter().filter(|peer| peer.time(&["compose", "version"]).is_ok()).collect();
    let engines: Vec<&Engine> = std::iter::once(&ours.engine).chain(&peers).collect();
    let file = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
        let path = ours.directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    };
    let fifty: String = std::iter::once("services:\n".to_owned())
        .chain(
            (0..50)
                .map(|n| format!("  s{n}: {{image: busybox, command: sleep 1000, stop_signal: SIGKILL}}\n")),
        )
        .collect();
    let mut rows = Vec::new();
    for (what, name, text, runs) in [
        ("3 services", "three.yaml", THREE, RUNS),
        ("2 services, one waiting for the other's health", "healthy.yaml", HEALTHY, 3),
        ("50 services", "fifty.yaml", fifty.as_str(), 3),
    ] {
        let path = file(name, text)?;
        let mut ups = Vec::new();
        let mut agains = Vec::new();
        let mut downs = Vec::new();
        for engine in &engines {
            let [up, again, down] = cycle(engine, &path, runs)?;
            ups.push((engine.name.clone(), up));
            agains.push((engine.name.clone(), again));
            downs.push((engine.name.clone(), down));
        }
        rows.push((format!("`compose up -d`, {what}"), ups, "ms"));
        rows.push(("the same again, nothing changed".to_owned(), agains, "ms"));
        rows.push(("`compose down`".to_owned(), downs, "ms"));
    }
    let path = file("three.yaml", THREE)?;
    let shown = path.display().to_string();
    rows.push((
        "`compose config`, 3 services".to_owned(),
        each(&engines, |e| e.median(RUNS, &["compose", "-f", &shown, "config"]))?,
        "ms",
    ));
    let table = table(&rows);
    print!("{table}");
    write(root, BEGIN, END, &table)
}

/// Medians of up, up again and down.
fn cycle(engine: &Engine, file: &Path, runs: usize) -> anyhow::Result<[f64; 3]> {
    let file = file.display().to_string();
    let verb = |words: &[&str]| engine.time(&[&["compose", "-p", "bench", "-f", &file], words].concat());
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..=runs {
        times[0].push(verb(&["up", "-d"])?);
        times[1].push(verb(&["up", "-d"])?);
        times[2].push(verb(&["down"])?);
    }
    Ok(times.map(|mut all| {
        // The first is not counted: it fills caches.
        all.remove(0);
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }))
}
