//! `cargo xtask scale`: many containers at once, and what one more costs then. Refreshes the second table in BENCHMARKS.md.

use crate::bench::{Ours, write};
use anyhow::ensure;
use std::path::Path;
use std::time::Instant;

/// How many containers there are when it is measured.
const STEPS: [usize; 3] = [10, 100, 1000];
/// Starts whose mean counts: the last ones of each step.
const LAST: usize = 10;
/// A thousand containers have addresses in it.
const BLOCK: &str = "10.208.0.1/20";
const BEGIN: &str = "<!-- scale -->";
const END: &str = "<!-- /scale -->";

/// Measures and writes the table.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let binary = crate::build_release(root)?;
    let ours = Ours::start(&binary, BLOCK)?;
    let mut table = String::from(
        "| containers | one more `run -d` | `ps` | `logs` of one | `exec true` | memory each |\n|---|---|---|---|---|---|\n",
    );
    let idle = ours.memory();
    let mut running = 0;
    for step in STEPS {
        let mut times = Vec::new();
        while running < step {
            let name = format!("scale{running}");
            let args =
                ["run", "-d", "--name", &name, "busybox", "sh", "-c", "echo started; exec sleep 100000"];
            times.push(ours.engine.time(&args)?);
            running += 1;
        }
        let last = &times[times.len() - LAST..];
        let start = last.iter().sum::<f64>() / LAST as f64;
        let name = format!("scale{}", step - 1);
        let ps = ours.engine.median(LAST, &["ps"])?;
        let logs = ours.engine.median(LAST, &["logs", &name])?;
        let exec = ours.engine.median(LAST, &["exec", &name, "true"])?;
        let each = ours.memory().saturating_sub(idle) as f64 / 1024.0 / step as f64;
        table += &format!(
            "| {step} | {start:.1} ms | {ps:.1} ms | {logs:.1} ms | {exec:.1} ms | {each:.2} MiB |\n"
        );
        print!("{}", table.lines().last().unwrap_or_default());
        println!();
    }
    let names: Vec<String> = (0..running).map(|n| format!("scale{n}")).collect();
    let remove: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let begin = Instant::now();
    ours.engine.time(&remove)?;
    let all = begin.elapsed().as_secs_f64();
    ensure!(all > 0.0, "the clock stands still");
    table += &format!("\n`rm -f` of all {running}: {all:.1} s.\n");
    print!("{table}");
    write(root, BEGIN, END, &table)
}
