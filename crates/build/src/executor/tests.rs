//! Builds over the seams' fakes; the runner writes files instead of running programs.

use super::*;
use bytes::Bytes;
use std::sync::Mutex;
use wharf_distribution::client::{Client, ClientConfig};
use wharf_engine::images::Import;
use wharf_model::blobs::fake::MemoryBlobs;
use wharf_model::records::fake::MemoryRecords;
use wharf_model::snapshots::conformance::{file, link, tar};
use wharf_model::snapshots::fake::MemorySnapshots;
use wharf_model::snapshots::{Tree, WriteOptions};
use wharf_oci::digest::Digest;
use wharf_oci::tar::{Entry, Kind};

/// `write PATH TEXT` makes a file, `fail N` ends with N, `hang` does not; all say so.
struct Runner {
    snapshots: Arc<MemorySnapshots>,
    steps: Mutex<Vec<Step>>,
}

#[async_trait::async_trait]
impl StepRunner for Runner {
    async fn run(&self, step: &Step, output: &(dyn Fn(Stream, Bytes) + Send + Sync)) -> Result<i32> {
        let hangs = step.argv.last().is_some_and(|line| line == "hang");
        let held = if hangs { step.held.clone() } else { Arc::new(()) };
        self.steps.lock().unwrap().push(Step { held, ..step.clone() });
        let line = step.argv.last().unwrap();
        output(Stream::Out, Bytes::from(format!("ran {line}\n")));
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["write", path, text] => {
                let bytes = tar(&[file(path, text)]).1;
                self.snapshots.write_tar(
                    &step.snapshot,
                    "/".as_ref(),
                    &mut &bytes[..],
                    WriteOptions::default(),
                )?;
                Ok(0)
            }
            ["hang"] => std::future::pending().await,
            ["fail", code] => Ok(code.parse().unwrap()),
            _ => Ok(0),
        }
    }
}

struct Site {
    builder: Builder,
    snapshots: Arc<MemorySnapshots>,
    runner: Arc<Runner>,
    scratch: tempfile::TempDir,
    _caches: tempfile::TempDir,
}

async fn site() -> Site {
    let records = Arc::new(MemoryRecords::default());
    let snapshots = Arc::new(MemorySnapshots::default());
    let client =
        Client::new(&ClientConfig { certs_dir: "/nonexistent".into(), ..ClientConfig::default() }).unwrap();
    let images =
        Images::open(records.clone(), Arc::new(MemoryBlobs::default()), snapshots.clone(), client).unwrap();
    let base = tar(&[
        file("etc/passwd", "me:x:7:8::/:/bin/sh\n"),
        file("etc/group", "staff:x:50:\n"),
        file("bin/sh", "#!"),
    ])
    .1;
    let import = Import { reference: Some("base".parse().unwrap()), ..Import::default() };
    images.import(std::io::Cursor::new(base), import).await.unwrap();
    let runner = Arc::new(Runner { snapshots: snapshots.clone(), steps: Mutex::default() });
    let (scratch, caches) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let builder = Builder {
        images,
        snapshots: snapshots.clone(),
        records,
        runner: runner.clone(),
        caches: Caches::new(caches.path().to_owned()),
        ending: Ending::default(),
        scratch: scratch.path().to_owned(),
    };
    Site { builder, snapshots, runner, scratch, _caches: caches }
}

impl Site {
    async fn build_with(
        &self,
        dockerfile: &str,
        files: &[(Entry, &[u8])],
        options: Options,
    ) -> (Result<Arc<Image>>, String) {
        let mut entries = vec![file("Dockerfile", dockerfile)];
        entries.extend_from_slice(files);
        let context = Context::receive(&tar(&entries).1[..], self.scratch.path()).unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let hearing = Arc::clone(&said);
        let sink: Sink = Arc::new(move |output| {
            if let Output::Said(text) | Output::Text(text) = output {
                hearing.lock().unwrap().push_str(&text);
            }
        });
        let result = self.builder.build(context, &options, &sink).await;
        assert!(self.snapshots.keys().unwrap().is_empty(), "no snapshot is left");
        assert_eq!(std::fs::read_dir(self.scratch.path()).unwrap().count(), 0, "no file is left");
        let said = said.lock().unwrap().clone();
        (result, said)
    }

    async fn build(&self, dockerfile: &str, files: &[(Entry, &[u8])]) -> (Arc<Image>, String) {
        let (image, said) = self.build_with(dockerfile, files, Options::default()).await;
        (image.unwrap_or_else(|e| panic!("{}\n{said}", e.full())), said)
    }

    async fn fails(&self, dockerfile: &str) -> String {
        self.build_with(dockerfile, &[file("a", "1")], Options::default()).await.0.unwrap_err().full()
    }

    fn content(&self, image: &Image, path: &str) -> Option<String> {
        let chain = image.chain().unwrap();
        let bytes = self.snapshots.read_file(Tree::Layer(&chain), path.as_ref(), 1 << 20).unwrap();
        bytes.map(|b| String::from_utf8(b).unwrap())
    }

    fn owner(&self, image: &Image, path: &str) -> (u32, u32, u32) {
        let stat =
            self.snapshots.stat(Tree::Layer(&image.chain().unwrap()), path.as_ref(), true).unwrap().unwrap();
        (stat.uid, stat.gid, stat.mode & 0o7777)
    }
}

#[tokio::test]
async fn every_instruction_of_the_configuration() {
    let site = site().await;
    let (image, said) = site
        .build(
            "FROM base\nMAINTAINER me\nARG v=1\nENV a=b c=\"$v d\"\nENV e=$a a=z\nLABEL x=y \"p q\"='r s'\n\
             EXPOSE 80 90-91/udp\nVOLUME /v \"/w x\"\nUSER me:staff\nWORKDIR /srv\nWORKDIR app\n\
             SHELL [\"/bin/bash\", \"-c\"]\nCMD run it\nENTRYPOINT [\"prog\"]\nSTOPSIGNAL SIGUSR1\n\
             HEALTHCHECK --interval=5s --retries=2 CMD check me\nONBUILD RUN write /t 1",
            &[],
        )
        .await;
    let config = &image.config.config;
    assert!(config.env.ends_with(&["a=z".into(), "c=1 d".into(), "e=b".into()]), "{:?}", config.env);
    assert!(config.env[0].starts_with("PATH="));
    assert_eq!(config.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["p q=r s", "x=y"]);
    assert_eq!(config.exposed_ports.iter().collect::<Vec<_>>(), ["80/tcp", "90/udp", "91/udp"]);
    assert_eq!(config.volumes.iter().collect::<Vec<_>>(), ["/v", "/w x"]);
    assert_eq!((&*config.user, &*config.working_dir), ("me:staff", "/srv/app"));
    assert_eq!(config.cmd.as_ref().unwrap(), &["/bin/bash", "-c", "run it"]);
    assert_eq!(config.entrypoint.as_ref().unwrap(), &["prog"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGUSR1"));
    let check = config.healthcheck.as_ref().unwrap();
    assert_eq!(
        (check.test.join(" "), check.interval, check.retries),
        ("CMD-SHELL check me".into(), 5_000_000_000, 2)
    );
    assert_eq!(image.config.author.as_deref(), Some("me"));
    assert!(said.starts_with("Step 1/17 : FROM base\n ---> "), "{said}");
    assert!(said.ends_with(&format!("Successfully built {}\n", &image.id.hex()[..12])), "{said}");
    let history = image.config.history.iter().filter(|h| !h.empty_layer).count();
    assert_eq!(history, image.layers.len());

    // The triggers run in the next build, once.
    site.builder.images.tag(image.id.as_str(), &"parent".parse().unwrap()).unwrap();
    let (child, said) = site.build("FROM parent", &[]).await;
    assert!(said.contains("# Executing 1 build trigger\n"), "{said}");
    assert_eq!(site.content(&child, "/t").as_deref(), Some("1"));
    assert!(child.config.config.on_build.is_empty());
}

#[tokio::test]
async fn files_are_copied_where_docker_copies_them() {
    let site = site().await;
    let inner = tar(&[file("packed/x", "X")]).1;
    let files = [
        file("one", "1"),
        file("dir/a.txt", "a"),
        file("dir/sub/b.txt", "b"),
        file("dir/c.md", "c"),
        link(Kind::Symlink, "link", "dir/a.txt"),
        (Entry::new(Kind::File, "inner.tar"), &inner[..]),
        file(".dockerignore", "dir/*.md\nDockerfile\n"),
    ];
    let (image, _) = site
        .build(
            "FROM scratch\nCOPY one /\nCOPY one /renamed\nCOPY dir /d\nCOPY dir/*.txt dir/sub /many/\nCOPY link /l\n\
             ADD inner.tar /unpacked\nCOPY inner.tar /packed\nWORKDIR /w\nCOPY one here\nCOPY . /all\n\
             COPY --chown=3:4 --chmod=750 one /owned\nARG n=N\nCOPY <<A <<'B' /docs/\n$n \"q\"\nA\n$n\nB",
            &files,
        )
        .await;
    for (path, content) in [
        ("/one", "1"),
        ("/renamed", "1"),
        ("/d/a.txt", "a"),
        ("/d/sub/b.txt", "b"),
        ("/many/a.txt", "a"),
        ("/many/b.txt", "b"),
        ("/l", "a"),
        ("/unpacked/packed/x", "X"),
        ("/w/here", "1"),
        ("/all/dir/a.txt", "a"),
        ("/docs/A", "N \"q\"\n"),
        ("/docs/B", "$n\n"),
    ] {
        assert_eq!(site.content(&image, path).as_deref(), Some(content), "{path}");
    }
    assert!(site.content(&image, "/packed").unwrap().contains("packed/x"));
    assert_eq!(site.content(&image, "/d/c.md"), None, "excluded");
    assert_eq!(site.content(&image, "/all/Dockerfile"), None, "excluded from copying, not from building");
    assert_eq!(site.owner(&image, "/owned"), (3, 4, 0o750));
    for (bad, why) in [
        ("FROM scratch\nCOPY absent /", "file does not exist"),
        ("FROM scratch\nCOPY ../a /", "outside the build context"),
        ("FROM scratch\nCOPY a a /x", "must be a directory"),
        ("FROM scratch\nCOPY --chown=nobody a /x", "nobody"),
        ("FROM scratch\nCOPY --from=0 a /x", "no build stage named"),
        ("FROM scratch\nADD git@example.org:x.git /", "not fetched by SSH"),
        ("FROM scratch\nADD --keep-git-dir=true http://127.0.0.1:1/x.git /", "--keep-git-dir"),
        ("FROM scratch\nADD http://127.0.0.1:1/x.git /", "127.0.0.1"),
        ("FROM scratch\nADD http://127.0.0.1:1/ /", "cannot determine a file name"),
        ("FROM scratch\nADD http://127.0.0.1:1/x /", "127.0.0.1"),
    ] {
        let error = site.fails(bad).await;
        assert!(error.contains(why) || bad.contains("--from"), "{bad}: {error}");
    }
}

#[tokio::test]
async fn parents_modes_and_archives() {
    let site = site().await;
    let inner = tar(&[file("packed/x", "X")]).1;
    let files = [
        file("x/a.txt", "xa"),
        file("x/y/b.txt", "b"),
        file("y/a.txt", "ya"),
        (Entry::new(Kind::File, "inner.tar"), &inner[..]),
    ];
    let (image, _) = site
        .build(
            "FROM base AS one\nCOPY x /deep/x\n\
             FROM scratch\nCOPY --parents ./x/a.txt y/a.txt /p/\nCOPY --parents x/./y/b.txt /q\n\
             COPY --parents x /d/\nCOPY --parents */a.txt /r/\nCOPY --from=one --parents /deep/x/y /s/\n\
             COPY --from=one --parents /deep/./x/y/b.txt /t/\n\
             COPY --chmod=u=rwX,go=rX x /modes\nADD --unpack=false inner.tar /packed\nCOPY --link x/a.txt /l",
            &files,
        )
        .await;
    for (path, content) in [
        ("/p/x/a.txt", "xa"),
        ("/p/y/a.txt", "ya"),
        ("/q/y/b.txt", "b"),
        ("/d/x/a.txt", "xa"),
        ("/d/x/y/b.txt", "b"),
        ("/r/x/a.txt", "xa"),
        ("/r/y/a.txt", "ya"),
        ("/s/deep/x/y/b.txt", "b"),
        ("/t/x/y/b.txt", "b"),
        ("/l", "xa"),
    ] {
        assert_eq!(site.content(&image, path).as_deref(), Some(content), "{path}");
    }
    assert_eq!(site.owner(&image, "/modes/a.txt").2, 0o644);
    assert!(site.content(&image, "/packed").unwrap().contains("packed/x"), "not unpacked");
    assert!(site.fails("FROM base\nCOPY --chmod=u=q a /").await.contains("invalid chmod parameter"));
    assert!(site.fails("FROM base\nCOPY --parents=x a /").await.contains("expecting boolean"));
}

#[tokio::test]
async fn stages_and_names() {
    let site = site().await;
    let options = Options {
        tags: vec!["me/app:1".parse().unwrap(), "other".parse().unwrap()],
        args: [("who".to_owned(), Some("you".to_owned())), ("unused".to_owned(), None)].into(),
        labels: [("l".to_owned(), "$v".to_owned())].into(),
        ..Options::default()
    };
    let dockerfile = "ARG img=base\nFROM $img AS Build\nARG who=me\nRUN write /out/hello $who\nRUN write /out/x.jar jar\n\
                      FROM base AS unneeded\nRUN fail 9\nFROM ${img}\nCOPY --from=build --chown=me:staff /out/hello /got\n\
                      COPY --from=0 /out/*.jar /jars/\nCOPY --from=base /etc/group /g\nCMD [\"x\"]";
    let (image, said) = site.build_with(dockerfile, &[], options).await;
    let image = image.unwrap_or_else(|e| panic!("{}\n{said}", e.full()));
    assert_eq!(site.content(&image, "/got").as_deref(), Some("$who"), "a shell expands it");
    let step = site.runner.steps.lock().unwrap()[0].clone();
    assert!(step.env.contains(&"who=you".to_owned()) && step.argv[..2] == ["/bin/sh", "-c"], "{step:?}");
    assert_eq!(site.owner(&image, "/got"), (7, 50, 0o644));
    assert_eq!(site.content(&image, "/jars/x.jar").as_deref(), Some("jar"));
    assert_eq!(site.content(&image, "/g").as_deref(), Some("staff:x:50:\n"));
    assert_eq!(image.config.config.labels["l"], "$v");
    assert!(said.contains("[Warning] One or more build-args [unused] were not consumed"), "{said}");
    assert!(said.ends_with("Successfully tagged me/app:1\nSuccessfully tagged other:latest\n"), "{said}");
    assert_eq!(site.builder.images.resolve("me/app:1").unwrap().id, image.id);

    let target = Options { target: Some("build".into()), ..Options::default() };
    let (built, said) = site.build_with(dockerfile, &[], target).await;
    assert_eq!(site.content(&built.unwrap(), "/out/x.jar").as_deref(), Some("jar"), "{said}");
    let absent = Options { target: Some("nope".into()), ..Options::default() };
    let error = site.build_with(dockerfile, &[], absent).await.0.unwrap_err();
    assert!(error.full().contains("failed to reach build target nope"));
}

#[tokio::test]
async fn what_did_not_change_is_not_done_again() {
    let site = site().await;
    let dockerfile = "FROM base\nRUN write /a 1\nCOPY f /f\nRUN write /b 2";
    let ran = || site.runner.steps.lock().unwrap().len();
    let (first, _) = site.build(dockerfile, &[file("f", "one")]).await;
    assert_eq!(ran(), 2);
    let (again, said) = site.build(dockerfile, &[file("f", "one")]).await;
    assert_eq!((again.id.clone(), ran()), (first.id.clone(), 2), "{said}");
    assert_eq!(said.matches(" ---> Using cache\n").count(), 3);
    let mut touched = file("f", "one");
    touched.0.mtime.seconds += 100;
    assert_eq!(site.build(dockerfile, &[touched]).await.0.id, first.id, "times do not count");
    let (changed, _) = site.build(dockerfile, &[file("f", "two")]).await;
    assert_eq!((site.content(&changed, "/f").as_deref(), ran()), (Some("two"), 3), "only what comes after");
    let anew = Options { no_cache: true, ..Options::default() };
    site.build_with(dockerfile, &[file("f", "one")], anew).await.0.unwrap();
    assert_eq!(ran(), 5);
    let argument = "FROM base\nARG v=1\nRUN write /v $v";
    site.build(argument, &[]).await;
    let with = Options { args: [("v".to_owned(), Some("2".to_owned()))].into(), ..Options::default() };
    site.build_with(argument, &[], with).await.0.unwrap();
    assert_eq!(ran(), 7, "an argument counts for RUN");
}

#[tokio::test]
async fn failures() {
    let site = site().await;
    let error = site.fails("FROM base\nRUN fail 3").await;
    assert_eq!(error, "The command '/bin/sh -c fail 3' returned a non-zero code: 3");
    assert!(site.fails("FROM base\nNOPE").await.contains("line 2: unknown instruction: NOPE"));
    assert!(site.fails("FROM ${none}").await.contains("should not be blank"));
    assert!(site.fails("FROM scratch").await.contains("No image was generated"));
    assert!(site.fails("FROM base\nEXPOSE x").await.contains("Invalid containerPort"));
    let absent = Options { dockerfile: "Other".into(), ..Options::default() };
    let error = site.build_with("FROM base", &[], absent).await.0.unwrap_err();
    assert!(error.full().contains("Cannot locate specified Dockerfile: Other"));
    let hostile = tar(&[file("../x", "")]).1;
    assert!(Context::receive(&hostile[..], site.scratch.path()).is_err());
    let heredoc = "FROM base\nRUN <<EOF\nwrite /h 1\nEOF";
    let (image, _) = site.build(heredoc, &[]).await;
    assert_eq!(site.content(&image, "/h").as_deref(), Some("1"));
}

/// Answers one request after another with the given answers, and tells its address.
async fn web(answers: Vec<String>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert_ne!(stream.read(&mut request).await.unwrap(), 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn documents_of_the_web_are_added() {
    let site = site().await;
    let ok = || answer("200 OK", "Last-Modified: Thu, 01 Jan 1970 00:01:40 GMT\r\n", "hello");
    let address = web(vec![ok(), ok(), answer("302 Found", "Location: /other\r\n", ""), ok(), ok()]).await;
    let sum = Digest::sha256(b"hello");
    let dockerfile = format!(
        "FROM base\nADD http://{address}/a/f%5B1%5D.txt?x=1 /d/\nADD --checksum={sum} http://{address}/a /named\n\
         ADD --chmod=755 http://{address}/moved /moved"
    );
    let (image, said) = site.build_with(&dockerfile, &[], Options::default()).await;
    let image = image.unwrap_or_else(|e| panic!("{}\n{said}", e.full()));
    for path in ["/d/f%5B1%5D.txt", "/named", "/moved"] {
        assert_eq!(site.content(&image, path).as_deref(), Some("hello"), "{path}");
    }
    assert_eq!(site.owner(&image, "/named"), (0, 0, 0o600));
    assert_eq!(site.owner(&image, "/moved"), (0, 0, 0o755));
    let other = Digest::sha256(b"other");
    let error = site.fails(&format!("FROM base\nADD --checksum={other} http://{address}/a /x")).await;
    assert!(error.contains("digest mismatch"), "{error}");
    let address = web(vec![answer("404 Not Found", "", "")]).await;
    let error = site.fails(&format!("FROM base\nADD http://{address}/a /x")).await;
    assert!(error.contains("404"), "{error}");
}

/// Secrets of a list; no agents.
struct Given(Vec<(&'static str, &'static [u8])>);

#[async_trait::async_trait]
impl Session for Given {
    async fn secret(&self, id: &str) -> Result<Option<Bytes>> {
        Ok(self.0.iter().find(|(name, _)| *name == id).map(|(_, bytes)| Bytes::from_static(bytes)))
    }

    async fn has_agent(&self, id: &str) -> Result<bool> {
        Ok(id == "default")
    }

    async fn agent(&self, id: &str) -> Result<crate::Connection> {
        Err(Error::not_found(id))
    }
}

#[tokio::test]
async fn what_is_mounted_into_a_command() {
    use wharf_engine::containers::StepSource;
    let site = site().await;
    let options = || Options {
        session: Arc::new(Given(vec![("token", b"hidden"), ("raw", b"\xff")])),
        contexts: [("other".to_owned(), NamedContext::Image("base".to_owned()))].into(),
        ..Options::default()
    };
    let dockerfile = "FROM base AS tools\nRUN write /tool T\nFROM base\nARG where=/run/x\nWORKDIR /w\n\
        RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=none \
        --mount=type=ssh --mount=from=tools,source=/tool,target=$where --mount=from=other,target=/o \
        --mount=type=tmpfs,target=t,size=1k --mount=type=cache,target=/c,uid=0 write /done yes";
    let (image, said) = site.build_with(dockerfile, &[], options()).await;
    let image = image.unwrap_or_else(|e| panic!("{}\n{said}", e.full()));
    let step = site.runner.steps.lock().unwrap().last().unwrap().clone();
    let shown: Vec<String> =
        step.mounts.iter().map(|m| format!("{} {} {:?}", m.target, m.read_only, m.source)).collect();
    assert!(shown[0].starts_with("/run/secrets/token true File(6)"), "{shown:?}");
    assert!(shown[1].starts_with("/run/buildkit/ssh_agent.0 false Socket"), "{shown:?}");
    assert!(shown[2].contains("/run/x true Image") && shown[2].contains("subpath: \"tool\""), "{shown:?}");
    assert!(shown[3].contains("/o true Image"), "{shown:?}");
    assert_eq!(shown[4], "/w/t false Tmpfs(Some(1024))");
    assert!(shown[5].starts_with("/c false Path"), "{shown:?}");
    assert!(step.env.contains(&"TOKEN=hidden".to_owned()), "{:?}", step.env);
    assert!(step.env.contains(&"SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0".to_owned()));
    let StepSource::Path(cache) = &step.mounts[5].source else { panic!("{shown:?}") };
    assert!(cache.is_dir(), "a cache stays");
    let whole = format!("{:?} {step:?}", image.config);
    assert!(!whole.contains("hidden"), "{whole}");
    // Another secret is no other step; another stage is.
    let before = site.runner.steps.lock().unwrap().len();
    let session: Arc<dyn Session> = Arc::new(Given(vec![("token", b"changed")]));
    let (again, _) = site.build_with(dockerfile, &[], Options { session, ..options() }).await;
    assert_eq!(
        (again.unwrap().id.clone(), site.runner.steps.lock().unwrap().len()),
        (image.id.clone(), before)
    );
    let other = dockerfile.replace("/tool T", "/tool U");
    site.build_with(&other, &[], options()).await.0.unwrap();
    assert_eq!(site.runner.steps.lock().unwrap().len(), before + 2);
    for (bad, why) in [
        ("RUN --mount=type=secret,id=absent,required x", "secret absent: not found"),
        ("RUN --mount=type=secret,id=raw,env=R x", "no text"),
        ("RUN --mount=type=ssh,id=deploy,required x", "no SSH key \"deploy\" forwarded"),
        ("RUN --mount=from=base,source=/nope,target=/x x", "/nope: not found"),
        ("RUN --mount=source=nope,target=/x x", "nope"),
        ("RUN --mount=type=cache,target=/x,uid=$u x", "invalid value for uid"),
        ("RUN --security=insecure x", "security.insecure is not allowed"),
        ("RUN --network=host x", "network.host is not allowed"),
    ] {
        let error = site.build_with(&format!("FROM base\n{bad}"), &[], options()).await.0.unwrap_err().full();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_command_does_not_wait_for_its_own_cache() {
    use wharf_engine::containers::StepSource;
    let site = site().await;
    let dockerfile = "FROM base\nRUN --mount=type=cache,id=x,target=/a --mount=type=cache,id=w,target=/w,sharing=locked \
        --mount=type=cache,id=x,target=/b,sharing=locked true\n";
    let done = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        site.build_with(dockerfile, &[], Options::default()).await.0.unwrap();
    });
    done.await.unwrap();
    let step = site.runner.steps.lock().unwrap().last().unwrap().clone();
    let [StepSource::Path(a), StepSource::Path(w), StepSource::Path(b)] =
        [0, 1, 2].map(|at| step.mounts[at].source.clone())
    else {
        panic!("{step:?}")
    };
    assert!(a == b && a != w, "one cache at two places, in the order they are named");
    assert_eq!(step.mounts[1].target, "/w");
}

#[tokio::test]
async fn a_cache_is_free_when_nothing_of_the_command_is_left() {
    let site = site().await;
    let dockerfile = "FROM base\nRUN --mount=type=cache,sharing=locked,target=/c hang\n";
    let entries = [file("Dockerfile", dockerfile)];
    let context = Context::receive(&tar(&entries).1[..], site.scratch.path()).unwrap();
    let (options, sink): (_, Sink) = (Options::default(), Arc::new(|_| {}));
    let mut build = Box::pin(site.builder.build(context, &options, &sink));
    // Until the command runs: the build itself does not end.
    std::future::poll_fn(|at| {
        let ended = build.as_mut().poll(at).is_ready();
        let runs = !site.runner.steps.lock().unwrap().is_empty();
        if ended || runs { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    drop(build);
    let in_use = || site.builder.caches.list().unwrap()[0].in_use;
    assert!(in_use(), "the command is not gone yet");
    site.runner.steps.lock().unwrap().clear();
    assert!(!in_use());
}

#[tokio::test]
async fn builds_end_with_the_engine() {
    let site = site().await;
    site.builder.ending.begin();
    let error = site.fails("FROM base\nRUN write /a 1").await;
    assert!(error.contains("the engine ends"), "{error}");
}

#[tokio::test]
async fn the_hosts_network_is_for_who_was_given_it() {
    let site = site().await;
    for options in [
        Options { host_network: true, ..Options::default() },
        Options { network: "host".to_owned(), ..Options::default() },
    ] {
        let built = site.build_with("FROM base\nRUN --network=host x", &[], options).await.0;
        assert!(built.is_ok());
    }
    assert!(site.runner.steps.lock().unwrap().iter().all(|step| step.network == "host"));
}

#[tokio::test]
async fn named_contexts() {
    let site = site().await;
    let directory = || {
        let files = tar(&[file("a", "A"), file("sub/b", "B")]).1;
        NamedContext::Directory(Arc::new(Context::receive(&files[..], site.scratch.path()).unwrap()))
    };
    let with =
        |name: &str, context| Options { contexts: [(name.to_owned(), context)].into(), ..Options::default() };
    let (image, said) =
        site.build_with("FROM scratch\nCOPY --from=src sub /s", &[], with("src", directory())).await;
    let image = image.unwrap_or_else(|e| panic!("{}\n{said}", e.full()));
    assert_eq!(site.content(&image, "/s/b").as_deref(), Some("B"));
    let (image, _) = site.build_with("FROM src\nCMD [\"a\"]", &[], with("src", directory())).await;
    assert_eq!(site.content(&image.unwrap(), "/a").as_deref(), Some("A"));
    // It goes before a stage of that name, which is then not built, and before an image in any of its spellings.
    let dockerfile = "FROM base AS src\nRUN fail 1\nFROM scratch\nCOPY --from=src /etc/group /g";
    let (image, _) = site.build_with(dockerfile, &[], with("src", NamedContext::Image("base".into()))).await;
    assert_eq!(site.content(&image.unwrap(), "/g").as_deref(), Some("staff:x:50:\n"));
    let named = with("docker.io/library/alpine:latest", NamedContext::Image("base".into()));
    let (image, _) = site.build_with("FROM alpine\nCMD [\"a\"]", &[], named).await;
    assert_eq!(site.content(&image.unwrap(), "/bin/sh").as_deref(), Some("#!"));
}
