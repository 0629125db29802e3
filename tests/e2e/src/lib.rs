//! Fixtures of the end-to-end tests: a private engine, commands with a time limit, what the host holds.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)] // Tests say why they are skipped.

mod command;
mod disk;
mod engine;
mod host;
mod image;
mod terminal;

pub use command::{Done, run_limited};
pub use disk::{Disk, program};
pub use engine::{Engine, docker_for};
pub use host::{Holdings, Identity};
pub use terminal::Terminal;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The binary under test: `WHARF_BIN`, or the one built beside the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("WHARF_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    let built = own.ancestors().nth(2).unwrap_or(Path::new("/")).join("wharf");
    assert!(built.exists(), "{} is not there: run `cargo build -p wharf` first", built.display());
    built
}

/// Whether the tests that need root can run; says why when not.
pub fn can_run() -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        "not root"
    } else if !Path::new(image::BUSYBOX).exists() {
        "/bin/busybox is not there: install busybox-static"
    } else {
        return true;
    };
    println!("skipped: {missing}");
    false
}

/// Writes a file below a directory, with the directories that it is in.
///
/// # Panics
/// When that cannot be.
pub fn put(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap_or(dir)).expect("make a directory");
    std::fs::write(path, content).expect("write a file");
}

/// Asks again until it is so. For what has no event, such as a service that begins to listen.
///
/// # Panics
/// When it is not so within a minute.
pub fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    assert!(within(is_so), "{what}: not within {} s", PATIENCE.as_secs());
}

/// How long a thing may take that has no event to wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until it is so; whether it became so.
pub(crate) fn within(mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// The body of `http://ADDRESS/`.
pub fn get(address: &str) -> Option<String> {
    use std::io::{Read, Write};
    let address = address.parse().ok()?;
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}
