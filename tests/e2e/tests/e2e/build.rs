//! `build`, and images in and out as files.

use wharf_e2e::Engine;

fn context(e: &Engine, dockerfile: &str) -> String {
    let directory = e.path("context");
    std::fs::create_dir_all(directory.join("sub")).unwrap();
    std::fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(directory.join("file"), "copied\n").unwrap();
    std::fs::write(directory.join("sub/other"), "other\n").unwrap();
    directory.display().to_string()
}

#[test]
fn stages_run_and_copy() {
    let Some(e) = Engine::start() else { return };
    let path = context(
        &e,
        "ARG WHO=nobody\nFROM busybox AS base\nMAINTAINER somebody\nARG WHO\nENV A=1 B=two\nWORKDIR /work\n\
         RUN echo built for $WHO > /made && id -u >> /made\nCOPY file sub ./\n\
         FROM scratch\nCOPY --from=base /bin/busybox /bin/cat\nCOPY --from=base /made /work/file /\nLABEL l=v\n\
         USER 1000\nVOLUME /data\nEXPOSE 80\nENTRYPOINT [\"/bin/cat\"]\nCMD [\"/made\", \"/file\"]\n",
    );
    let out = e.run(&["build", "-t", "me/app", "--build-arg", "WHO=me", &path]).ok();
    assert!(out.contains("Successfully tagged me/app:latest"), "{out}");
    assert_eq!(e.run(&["run", "--rm", "me/app"]).ok(), "built for me\n0\ncopied");
    let config: serde_json::Value = serde_json::from_str(&e.run(&["inspect", "me/app"]).ok()).unwrap();
    assert_eq!(config[0]["Config"]["User"], "1000");
    assert_eq!(config[0]["Config"]["Labels"]["l"], "v");
    let again = e.run(&["build", "-t", "me/app", "--build-arg", "WHO=me", &path]).ok();
    assert!(again.contains("Using cache"), "{again}");
}

#[test]
fn failures_say_which_step() {
    let Some(e) = Engine::start() else { return };
    for (dockerfile, word) in [
        ("FROM busybox\nRUN exit 4\n", "returned a non-zero code: 4"),
        ("FROM busybox\nCOPY missing /\n", "missing"),
        ("FROM busybox\nNONSENSE x\n", "NONSENSE"),
        ("RUN true\n", "FROM"),
    ] {
        let done = e.run(&["build", &context(&e, dockerfile)]);
        assert_ne!(done.code, 0, "{dockerfile}");
        assert!(format!("{}{}", done.out, done.err).contains(word), "{dockerfile}: {}{}", done.out, done.err);
    }
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
}

#[test]
fn images_travel_as_files() {
    let Some(e) = Engine::start() else { return };
    let tar = e.path("image.tar").display().to_string();
    e.run(&["tag", "busybox", "other/name:1"]).ok();
    e.run(&["save", "-o", &tar, "other/name:1"]).ok();
    e.run(&["rmi", "other/name:1", "busybox"]).ok();
    assert_eq!(e.run(&["images", "-q"]).ok(), "");
    assert!(e.run(&["load", "-i", &tar]).ok().contains("other/name:1"));
    assert_eq!(e.run(&["run", "--rm", "other/name:1", "echo", "back"]).ok(), "back");
    let broken = e.run_with(&["load"], "this is no archive");
    assert_ne!(broken.code, 0);
}

#[test]
fn a_container_becomes_an_image() {
    let Some(e) = Engine::start() else { return };
    let script = "echo made > /made; rm /etc/group; exec sleep 1000";
    e.run(&["run", "-d", "--name", "c1", "-e", "A=b", "-w", "/srv", "busybox", "sh", "-c", script]).ok();
    wharf_e2e::eventually("the changes", || e.run(&["diff", "c1"]).out.contains("D /etc/group"));
    let commit = ["commit", "-m", "why", "-a", "me", "-c", "CMD [\"cat\",\"/made\"]", "-c", "ENV C=d"];
    e.run(&[&commit[..], &["c1", "kept:1"]].concat()).ok();
    assert_eq!(e.run(&["inspect", "--format", "{{.State.Status}}", "c1"]).ok(), "running");
    assert_eq!(e.run(&["run", "--rm", "kept:1"]).ok(), "made");
    let seen = e.run(&["run", "--rm", "kept:1", "sh", "-c", "echo $A $C; pwd; ls /etc/group"]);
    assert_eq!(seen.out, "b d\n/srv\n", "{}", seen.err);
    let of_image = e.run(&["image", "inspect", "--format", "{{.Author}} {{.Comment}}", "kept:1"]).ok();
    assert_eq!(of_image, "me why");
    assert_ne!(e.run(&["commit", "nothing"]).code, 0);
    assert_ne!(e.run(&["commit", "-c", "RUN x", "c1"]).code, 0);
    e.run(&["rm", "-f", "c1"]).ok();
    assert_eq!(e.run(&["run", "--rm", "kept:1"]).ok(), "made", "it does not need the container");
}
