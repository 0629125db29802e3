//! `build` by BuildKit's API where the context, the Dockerfile or the result is not what people expect.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wharf_e2e::{Done, Engine, put, run_limited};

/// What a refusal may take: far less than a build is waited for.
const AT_ONCE: Duration = Duration::from_secs(4);

struct Site {
    e: Engine,
    at: PathBuf,
}

impl Site {
    fn open() -> Option<Self> {
        let e = Engine::start()?;
        let at = e.path("site");
        std::fs::create_dir(&at).unwrap();
        Some(Self { e, at })
    }

    fn write(&self, name: &str, text: &str) {
        put(&self.at, name, text);
    }

    fn build(&self, args: &[&str]) -> Done {
        let mut command = self.e.wharf();
        command.current_dir(&self.at).env("DOCKER_HOST", self.e.host()).arg("build").args(args);
        run_limited(&mut command, "")
    }
}

#[test]
fn links_and_what_is_no_file() {
    let Some(site) = Site::open() else { return };
    site.write("docker/real", "FROM scratch\nCOPY first /got\nCOPY empty /empty\nCOPY some/ /some/\n");
    site.write("some/data", "data");
    std::fs::create_dir(site.at.join("empty")).unwrap();
    for (to, name) in
        [("second", "Dockerfile"), ("docker/real", "second"), ("third", "first"), ("some/data", "third")]
    {
        symlink(to, site.at.join(name)).unwrap();
    }
    let _socket = UnixListener::bind(site.at.join("some/socket")).unwrap();
    let built = site.build(&["-o", "out", "."]);
    assert_eq!(built.code, 0, "{}", built.err);
    assert_eq!(std::fs::read_to_string(site.at.join("out/got")).unwrap(), "data");
    assert!(site.at.join("out/empty").is_dir() && !site.at.join("out/some/socket").exists());
    // What leads out of the context is not found in it.
    std::fs::remove_file(site.at.join("third")).unwrap();
    symlink("/etc/hostname", site.at.join("third")).unwrap();
    let built = site.build(&["-o", "out2", "."]);
    assert!(built.code != 0 && built.err.contains("first"), "{}", built.err);
    // A name that is no text.
    site.write("Dockerfile.all", "FROM scratch\nCOPY . /\n");
    std::fs::write(site.at.join(OsStr::from_bytes(b"odd\xff")), "").unwrap();
    let built = site.build(&["-f", "Dockerfile.all", "-o", "out3", "."]);
    assert!(built.code != 0 && built.err.contains("no UTF-8"), "{}", built.err);
    site.write("Dockerfile.all.dockerignore", "odd*\n");
    let built = site.build(&["-f", "Dockerfile.all", "-o", "out3", "."]);
    assert_eq!(built.code, 0, "{}", built.err);
}

#[test]
fn a_result_with_a_pipe_comes() {
    let Some(site) = Site::open() else { return };
    site.write(
        "Dockerfile",
        "FROM busybox AS b\nRUN mkdir /o && mkfifo /o/pipe\nFROM scratch\nCOPY --from=b /o /\n",
    );
    let built = site.build(&["-o", "out", "."]);
    assert_eq!(built.code, 0, "{}", built.err);
    assert!(std::fs::symlink_metadata(site.at.join("out/pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn the_hosts_network_has_to_be_allowed() {
    let Some(site) = Site::open() else { return };
    site.write("Dockerfile", "FROM busybox\nRUN --network=host true\n");
    for args in [&["."][..], &["-o", "type=cacheonly", "."]] {
        let refused = site.build(args);
        assert!(refused.code != 0, "{args:?}");
        assert!(
            refused.err.contains("network.host is not allowed"),
            "{args:?}: {}{}",
            refused.out,
            refused.err
        );
    }
    for args in [&["--network", "host", "."][..], &["--allow", "network.host", "."]] {
        let built = site.build(args);
        assert_eq!(built.code, 0, "{args:?}: {}", built.err);
    }
}

#[test]
fn refusals_come_at_once() {
    let Some(site) = Site::open() else { return };
    site.write("Dockerfile", "FROM busybox\n");
    let began = Instant::now();
    let refused = site.build(&["--cache-to", "type=local,dest=cache", "."]);
    assert!(refused.code != 0 && refused.err.contains("type local is not supported"), "{}", refused.err);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[test]
fn outputs_that_make_no_sense() {
    let Some(site) = Site::open() else { return };
    site.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /got\n");
    for (args, why) in [
        (&["-o", "", "."][..], "invalid output"),
        (&["-o", "type=local,dest=", "."], "dest is required"),
        (&["--push", "-o", "out", "."], "output can't be used together"),
        (&["--push", "."], "tag is needed"),
    ] {
        let refused = site.build(args);
        assert!(refused.code != 0 && refused.err.contains(why), "{args:?}: {}", refused.err);
    }
    assert!(!site.at.join("got").exists() && !site.at.join("out").exists());
}

#[test]
fn an_engine_without_buildkit_is_told() {
    let Some(site) = Site::open() else { return };
    site.write("Dockerfile", "FROM scratch\n");
    let socket = site.e.path("old.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut head = String::new();
            let mut lines = BufReader::new(connection.try_clone().unwrap());
            while lines.read_line(&mut head).is_ok_and(|length| length > 2) {}
            let body = r#"{"message":"page not found"}"#;
            let status = if head.contains("/_ping") { "200 OK" } else { "404 Not Found" };
            let answer = format!(
                "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    let mut command = site.e.wharf();
    let host = format!("unix://{}", socket.display());
    command.current_dir(&site.at).args(["-H", &host, "build", "-o", "type=cacheonly", "."]);
    let refused = run_limited(&mut command, "");
    assert!(refused.code != 0 && refused.err.contains("has no BuildKit"), "{}", refused.err);
}
