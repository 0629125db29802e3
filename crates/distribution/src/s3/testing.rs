//! A real S3-compatible server for tests: s3rver of the npm registry, which `cargo xtask clients` installs.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The server, ended when dropped.
pub(crate) struct Server {
    process: Child,
    endpoint: String,
    dir: tempfile::TempDir,
    next: AtomicU32,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the server takes; it has no others.
const KEYS: &str = "aws_access_key_id = S3RVER\naws_secret_access_key = S3RVER\n";

fn program() -> PathBuf {
    let installed = std::env::var_os("WHARF_CLIENTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/clients"), PathBuf::from);
    installed.join("node_modules/.bin/s3rver")
}

impl Server {
    /// Starts it; `None` when it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = program();
        if !program.exists() {
            println!("skipped: {} is not there: cargo xtask clients installs it", program.display());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keys"), KEYS).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["--address", "127.0.0.1", "--silent", "--configure-bucket", "images", "--port"])
            .arg(port.to_string())
            .arg("--directory")
            .arg(dir.path().join("store"))
            // Its tokens are of a cipher that OpenSSL 3 calls old.
            .env("NODE_OPTIONS", "--openssl-legacy-provider")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let endpoint = format!("http://127.0.0.1:{port}");
        let server = Self { process, endpoint, dir, next: AtomicU32::new(0) };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "s3rver does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// The section `storage` of a registry's configuration, each with a prefix of its own.
    pub(crate) fn settings(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!(
            r#"{{"s3": {{"endpoint": "{}", "bucket": "images", "prefix": "p{number}", "credentials-file": "{}"}}}}"#,
            self.endpoint,
            self.dir.path().join("keys").display()
        )
    }
}
