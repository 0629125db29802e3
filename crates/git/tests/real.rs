//! Fetches from real Git servers: `git daemon`, and `git upload-pack` behind a small HTTP server.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wharf_distribution::client::{Client, ClientConfig};
use wharf_git::{Access, Address, Repository};
use wharf_oci::tar::{Kind, Reader};

/// A directory with repositories that is served on two ports.
struct Site {
    root: tempfile::TempDir,
    daemon: String,
    http: String,
}

fn git(at: &Path, args: &[&str]) -> Option<String> {
    let done = Command::new("git")
        .current_dir(at)
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000")
        .output()
        .ok()?;
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8(done.stdout).unwrap().trim().to_owned())
}

impl Site {
    /// `None` where there is no Git.
    fn new() -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        if Command::new("git").arg("--version").output().is_err() {
            eprintln!("skipped: no git here");
            return None;
        }
        let base = root.path().to_owned();
        let daemon = serve(move |stream| {
            let (input, output): (OwnedFd, OwnedFd) = (stream.try_clone().unwrap().into(), stream.into());
            let mut child = Command::new("git")
                .args(["daemon", "--inetd", "--export-all", "--informative-errors"])
                .arg(format!("--base-path={}", base.display()))
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "safe.directory")
                .env("GIT_CONFIG_VALUE_0", "*")
                .stdin(input)
                .stdout(output)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            child.wait().unwrap();
        });
        let base = root.path().to_owned();
        let http = serve(move |stream| answer(stream, &base));
        Some(Self { root, daemon: format!("git://{daemon}"), http: format!("http://{http}") })
    }

    fn make(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        std::fs::create_dir_all(path.join("sub/deep")).unwrap();
        git(&path, &["init", "-q", "-b", "main"]).unwrap();
        let big: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(path.join("big"), &big).unwrap();
        std::fs::write(path.join("sub/deep/file"), "one").unwrap();
        std::fs::write(path.join("run.sh"), "#!/bin/sh\n").unwrap();
        Command::new("chmod").args(["+x", "run.sh"]).current_dir(&path).status().unwrap();
        std::os::unix::fs::symlink("sub/deep/file", path.join("link")).unwrap();
        git(&path, &["add", "."]).unwrap();
        git(&path, &["commit", "-qm", "first"]).unwrap();
        git(&path, &["tag", "-a", "v1", "-m", "told"]).unwrap();
        // Another version of a large file is a difference in the pack.
        std::fs::write(path.join("big"), format!("{big}more\n")).unwrap();
        git(&path, &["checkout", "-qb", "next"]).unwrap();
        git(&path, &["commit", "-qam", "second"]).unwrap();
        git(&path, &["checkout", "-q", "main"]).unwrap();
        path
    }
}

fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handle = std::sync::Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(stream));
        }
    });
    address
}

/// Git's smart HTTP protocol for one request; repositories in `private` want a token.
fn answer(mut stream: TcpStream, base: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length, mut version, mut token) = (String::new(), 0, String::new(), String::new());
    reader.read_line(&mut head).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "git-protocol" => value.clone_into(&mut version),
            "authorization" => value.clone_into(&mut token),
            _ => {}
        }
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    if path.starts_with("/private") && token != Access::token("t0ken") {
        stream.write_all(b"HTTP/1.1 401 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        return;
    }
    if let Some(rest) = path.strip_prefix("/moved") {
        let moved = format!(
            "HTTP/1.1 301 moved\r\nlocation: {rest}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        return stream.write_all(moved.as_bytes()).unwrap();
    }
    let (repository, is_greeting) = match path.split_once("/info/refs") {
        Some((repository, _)) => (repository, true),
        None => (path.strip_suffix("/git-upload-pack").unwrap(), false),
    };
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut command = Command::new("git");
    command.args(["upload-pack", "--stateless-rpc"]).env("GIT_PROTOCOL", version);
    if is_greeting {
        command.arg("--http-backend-info-refs");
    }
    command
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    let child = command
        .arg(base.join(repository.trim_start_matches('/')))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = child.stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&body).unwrap();
    let mut out = if is_greeting { b"001e# service=git-upload-pack\n0000".to_vec() } else { Vec::new() };
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    child.wait().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", out.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&out).unwrap();
}

fn access() -> Access {
    let config = ClientConfig { certs_dir: "/nonexistent".into(), ..ClientConfig::default() };
    Access { client: Client::new(&config).unwrap(), authorisation: None }
}

/// Names with kind, mode and content.
async fn files(
    address: &str,
    access: Access,
) -> Result<(String, BTreeMap<String, (Kind, u32, String)>), String> {
    let scratch = tempfile::tempdir().unwrap();
    let address = Address::parse(address).map_err(|e| e.full())?;
    let fetched = Repository::new(address, access, scratch.path()).fetch().await.map_err(|e| e.full())?;
    let commit = fetched.commit();
    let mut tar = Vec::new();
    fetched.write(&mut tar).map_err(|e| e.full())?;
    let mut reader = Reader::new(&tar[..]);
    let mut found = BTreeMap::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = String::new();
        reader.read_to_string(&mut content).unwrap();
        let link = String::from_utf8_lossy(&entry.link).into_owned();
        let text = if entry.kind == Kind::Symlink { link } else { content };
        found.insert(
            entry.name().trim_start_matches("./").trim_end_matches('/').to_owned(),
            (entry.kind, entry.mode, text),
        );
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left");
    Ok((commit, found))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_name_a_commit() {
    let Some(site) = Site::new() else { return };
    let path = site.make("repo.git");
    let main = git(&path, &["rev-parse", "main"]).unwrap();
    let next = git(&path, &["rev-parse", "next"]).unwrap();
    git(&path, &["gc", "-q"]).unwrap();
    for base in [&site.daemon, &site.http, &format!("{}/moved", site.http)] {
        let url = format!("{base}/repo.git");
        for (fragment, commit) in [
            ("", &main),
            ("#main", &main),
            ("#v1", &main),
            ("#refs/tags/v1", &main),
            ("#next", &next),
            ("?branch=next", &next),
            (&format!("#{next}"), &next),
            (&format!("#{}", &next[..9]), &next),
            (&format!("#next&commit={next}").replace('&', "?").replacen("#next?", "?ref=next&", 1), &next),
        ] {
            let (found, files) = files(&format!("{url}{fragment}"), access())
                .await
                .unwrap_or_else(|e| panic!("{url}{fragment}: {e}"));
            assert_eq!(&found, commit, "{url}{fragment}");
            assert_eq!(files["run.sh"], (Kind::File, 0o755, "#!/bin/sh\n".into()));
            assert_eq!(files["link"].2, "sub/deep/file");
            assert_eq!(files["sub/deep/file"], (Kind::File, 0o644, "one".into()));
            assert_eq!(files["big"].2.ends_with("more\n"), *commit == next, "{fragment}");
        }
        let (_, inner) = files(&format!("{url}#:sub/deep"), access()).await.unwrap();
        assert_eq!(inner.keys().collect::<Vec<_>>(), ["file"]);
        for (fragment, why) in [
            ("#nope", "has no branch"),
            ("#main:nope", "no directory nope"),
            ("?commit=1234567", "expected commit"),
        ] {
            let error = files(&format!("{url}{fragment}"), access()).await.unwrap_err();
            assert!(error.contains(why), "{fragment}: {error}");
        }
    }
    assert!(files(&format!("{}/absent", site.daemon), access()).await.unwrap_err().contains("says"));
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_and_tokens() {
    let Some(site) = Site::new() else { return };
    let inner = site.make("inner.git");
    let inner_commit = git(&inner, &["rev-parse", "main"]).unwrap();
    let outer = site.make("private/outer.git");
    let text = "[submodule \"lib\"]\n\tpath = sub/lib\n\turl = ../../inner.git\n";
    std::fs::write(outer.join(".gitmodules"), text).unwrap();
    git(&outer, &["add", ".gitmodules"]).unwrap();
    git(&outer, &["update-index", "--add", "--cacheinfo", &format!("160000,{inner_commit},sub/lib")])
        .unwrap();
    git(&outer, &["commit", "-qm", "with a module"]).unwrap();
    let url = format!("{}/private/outer.git", site.http);
    assert!(files(&url, access()).await.unwrap_err().contains("401"));
    let with = || Access { authorisation: Some(Access::token("t0ken")), ..access() };
    let (_, found) = files(&url, with()).await.unwrap();
    assert_eq!(found["sub/lib/sub/deep/file"].2, "one");
    assert_eq!(found["sub/lib"].0, Kind::Directory);
    let (_, below) = files(&format!("{url}#main:sub"), with()).await.unwrap();
    assert_eq!(below["lib/run.sh"].1, 0o755);
    let (_, without) = files(&format!("{url}?submodules=false"), with()).await.unwrap();
    assert!(!without.keys().any(|name| name.starts_with("sub/lib")));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_server_leads_nobody_is_told_the_password() {
    let Some(site) = Site::new() else { return };
    site.make("repo.git");
    let (base, seen) =
        (site.root.path().to_owned(), std::sync::Arc::new(std::sync::Mutex::new(String::new())));
    let heard = seen.clone();
    let other = serve(move |stream| {
        let mut head = [0; 4096];
        let length = stream.peek(&mut head).unwrap();
        heard.lock().unwrap().push_str(&String::from_utf8_lossy(&head[..length]).to_ascii_lowercase());
        answer(stream, &base);
    });
    let first = serve(move |mut stream| {
        let mut head = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut head).unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let moved = format!(
            "HTTP/1.1 302 moved\r\nlocation: http://{other}{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(moved.as_bytes()).unwrap();
    });
    let with = Access { authorisation: Some(Access::token("t0ken")), ..access() };
    let (_, found) = files(&format!("http://{first}/repo.git"), with).await.unwrap();
    assert_eq!(found["sub/deep/file"].2, "one");
    let seen = seen.lock().unwrap();
    assert!(seen.contains("post /repo.git/git-upload-pack") && !seen.contains("authorization"), "{seen}");
}
