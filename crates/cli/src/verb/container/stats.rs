//! `stats`.

use super::path;
use crate::context::{Context, print};
use crate::failure::{Failure, Outcome};
use crate::format::list::{ID_WIDTH, Listing, Row, cut};
use crate::format::size::{binary, decimal_with};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use wharf_docker_api::client::{Call, Client, Query};
use wharf_docker_api::types::container::Summary;
use wharf_docker_api::types::stats::{CpuStats, Stats};
use wharf_docker_api::types::system::Event;

/// Flags of `stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All of them, not the running alone
    #[arg(short = 'a', long)]
    all: bool,
    /// Show as table, json or with a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show once and end
    #[arg(long)]
    no_stream: bool,
    /// Show everything in full
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "CONTAINER", hide = true)]
    containers: Vec<String>,
}

const LISTING: Listing = Listing {
    columns: &[
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    table: &["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"],
};

/// How often the table is drawn.
const REFRESH: Duration = Duration::from_millis(500);

/// What the readers tell the drawer.
enum News {
    Stats(String, Box<Stats>),
    Failed(String, String),
    Started(String),
    Gone(String),
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let names = match options.containers.as_slice() {
        [] => {
            let query = Query::new().flag("all", options.all);
            let all: Vec<Summary> = context.client.json(Call::get("/containers/json").query(query)).await?;
            all.into_iter().map(|container| container.id).collect()
        }
        named => named.to_vec(),
    };
    let (sender, mut news) = mpsc::unbounded_channel();
    let follow = |name: &str| {
        tokio::spawn(read(fresh(&context.client), name.to_owned(), !options.no_stream, sender.clone()))
    };
    names.iter().for_each(|name| drop(follow(name)));
    let mut order = names;
    let mut latest: BTreeMap<String, Stats> = BTreeMap::new();
    if options.no_stream {
        while latest.len() < order.len() {
            match news.recv().await {
                Some(News::Stats(name, stats)) => drop(latest.insert(name, *stats)),
                Some(News::Failed(_, why)) => return Err(Failure::new(why)),
                Some(News::Gone(name)) => order.retain(|known| *known != name),
                Some(News::Started(_)) => {}
                None => break,
            }
        }
        print(table(&order, &latest, &options)?)?;
        return Ok(0);
    }
    let named = !options.containers.is_empty();
    if !named {
        tokio::spawn(watch(fresh(&context.client), sender.clone()));
    }
    let mut tick = tokio::time::interval(REFRESH);
    tick.tick().await;
    loop {
        tokio::select! {
            received = news.recv() => match received {
                Some(News::Stats(name, stats)) => drop(latest.insert(name, *stats)),
                Some(News::Started(id)) if !order.contains(&id) => {
                    drop(follow(&id));
                    order.push(id);
                }
                Some(News::Gone(name)) if !named && !options.all => {
                    order.retain(|known| *known != name);
                    latest.remove(&name);
                }
                Some(News::Failed(_, why)) if named => return Err(Failure::new(why)),
                Some(News::Failed(name, _)) => order.retain(|known| *known != name),
                Some(_) => {}
                None => return Ok(0),
            },
            _ = tick.tick() => {
                // Home, the table with each line's rest cleared, and everything below cleared.
                let text = table(&order, &latest, &options)?.replace('\n', "\x1b[K\n");
                let text = if options.format.is_none() { format!("\x1b[H{text}\x1b[J") } else { text };
                print(text)?;
            }
        }
    }
}

fn fresh(client: &Client) -> Client {
    Client::with_version(client.endpoint().clone(), &client.version())
}

async fn read(client: Client, name: String, stream: bool, news: mpsc::UnboundedSender<News>) {
    let query = Query::new().with("stream", u8::from(stream));
    let opened = client.stream(Call::get(path(&name, "/stats")).query(query)).await;
    let mut samples = match opened {
        Ok(stream) => stream.json::<Stats>(),
        // Nobody listens any more when sending fails: the command has ended.
        Err(error) => return drop(news.send(News::Failed(name, error.to_string()))),
    };
    loop {
        let message = match samples.next().await {
            Ok(Some(stats)) => News::Stats(name.clone(), Box::new(stats)),
            Ok(None) => return drop(news.send(News::Gone(name))),
            Err(error) => return drop(news.send(News::Failed(name, error.to_string()))),
        };
        if news.send(message).is_err() || !stream {
            return;
        }
    }
}

async fn watch(client: Client, news: mpsc::UnboundedSender<News>) {
    let query = Query::new().filters([("type", "container"), ("event", "start"), ("event", "die")]);
    let Ok(stream) = client.stream(Call::get("/events").query(query)).await else { return };
    let mut events = stream.json::<Event>();
    while let Ok(Some(event)) = events.next().await {
        let message = match event.action.as_str() {
            "start" => News::Started(event.actor.id),
            _ => News::Gone(event.actor.id),
        };
        if news.send(message).is_err() {
            return;
        }
    }
}

fn table(order: &[String], latest: &BTreeMap<String, Stats>, options: &Options) -> Result<String, Failure> {
    let none = Stats::default();
    let rows: Vec<Row> =
        order.iter().map(|name| row(name, latest.get(name).unwrap_or(&none), options.no_trunc)).collect();
    LISTING.show(&rows, options.format.as_deref())
}

fn row(name: &str, stats: &Stats, full: bool) -> Row {
    let memory = used_memory(stats);
    let limit = stats.memory_stats.limit as f64;
    let percent = if limit > 0.0 { memory / limit * 100.0 } else { 0.0 };
    let sum = |field: fn(&wharf_docker_api::types::stats::NetworkStats) -> u64| {
        stats.networks.iter().flatten().map(|(_, network)| field(network)).sum::<u64>() as f64
    };
    let size = |bytes: f64| decimal_with(bytes, 3);
    let block = |wanted: &str| {
        let entries = stats.blkio_stats.io_service_bytes_recursive.iter().flatten();
        entries.filter(|e| e.op.eq_ignore_ascii_case(wanted)).map(|e| e.value).sum::<u64>() as f64
    };
    Row::new([
        ("Container", name.into()),
        ("ID", cut(&stats.id, if full { usize::MAX } else { ID_WIDTH }).into()),
        ("Name", stats.name.trim_start_matches('/').into()),
        ("CPUPerc", format!("{:.2}%", cpu_percent(&stats.cpu_stats, &stats.precpu_stats)).into()),
        ("MemUsage", format!("{} / {}", binary(memory), binary(limit)).into()),
        ("MemPerc", format!("{percent:.2}%").into()),
        ("NetIO", format!("{} / {}", size(sum(|n| n.rx_bytes)), size(sum(|n| n.tx_bytes))).into()),
        ("BlockIO", format!("{} / {}", size(block("read")), size(block("write"))).into()),
        ("PIDs", stats.pids_stats.current.to_string().into()),
    ])
}

/// Use without the page cache that the kernel would give up at once.
fn used_memory(stats: &Stats) -> f64 {
    let memory = &stats.memory_stats;
    let field = |name: &str| memory.stats.as_ref().and_then(|all| all.get(name)).copied();
    let cache = field("total_inactive_file").or_else(|| field("inactive_file")).unwrap_or(0);
    let used = if cache < memory.usage { memory.usage - cache } else { memory.usage };
    used as f64
}

fn cpu_percent(now: &CpuStats, before: &CpuStats) -> f64 {
    let used = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let passed = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let listed = now.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len);
    let cpus = if now.online_cpus == 0 { listed as f64 } else { f64::from(now.online_cpus) };
    if used > 0.0 && passed > 0.0 { used / passed * cpus * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_of_cpu() {
        let mut now = CpuStats { system_cpu_usage: 2_000, online_cpus: 2, ..CpuStats::default() };
        now.cpu_usage.total_usage = 500;
        let before = CpuStats { system_cpu_usage: 1_000, ..CpuStats::default() };
        assert_eq!(cpu_percent(&now, &before), 100.0);
        assert_eq!(cpu_percent(&before, &now), 0.0);
    }
}
