//! Several commands at once, and requests to a service in a container.

use super::Engine;
use anyhow::{Context, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TOGETHER: usize = 8;
const PORT: u16 = 48081;
/// Enough for a second or so on a slow machine.
const REQUESTS: u32 = 2000;
/// How long the service may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Milliseconds until fifty containers run that are started eight at a time.
pub(super) fn fifty_at_once(engine: &Engine) -> anyhow::Result<f64> {
    let (next, start) = (AtomicUsize::new(0), Instant::now());
    let worker = || -> anyhow::Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= 50 {
                return Ok(());
            }
            let name = format!("bench{number}");
            engine.time(&["run", "-d", "--name", &name, "busybox", "sleep", "1000"])?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..TOGETHER).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| anyhow::bail!("a worker failed")))
    })?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// To the container's own address.
    Direct,
    /// To its published port.
    Published,
}

/// Requests a second, each with a connection of its own, one after another.
pub(super) fn requests(engine: &Engine, way: Way) -> anyhow::Result<f64> {
    let port = format!("127.0.0.1:{PORT}:80");
    let service =
        ["run", "-d", "--name", "bench", "-p", &port, "busybox", "httpd", "-f", "-p", "80", "-h", "/etc"];
    engine.time(&service)?;
    let measured = measure(engine, way);
    engine.time(&["rm", "-f", "bench"])?;
    measured
}

fn measure(engine: &Engine, way: Way) -> anyhow::Result<f64> {
    let address = match way {
        Way::Published => format!("127.0.0.1:{PORT}"),
        Way::Direct => {
            let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
            format!("{}:80", engine.output(&["inspect", "--format", format, "bench"])?)
        }
    };
    let deadline = Instant::now() + START_LIMIT;
    while let Err(e) = request(&address) {
        ensure!(Instant::now() < deadline, "{}: {address} does not answer: {e}", engine.name);
    }
    let start = Instant::now();
    for _ in 0..REQUESTS {
        request(&address).with_context(|| format!("ask {address}"))?;
    }
    Ok(f64::from(REQUESTS) / start.elapsed().as_secs_f64())
}

fn request(address: &str) -> std::io::Result<()> {
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.") { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}
