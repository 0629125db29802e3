//! What prune commands ask, refuse and tell: as Docker's own command line does.

use wharf_e2e::{Engine, eventually};

fn split(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
fn questions_are_dockers() {
    let Some(e) = Engine::start() else { return };
    for line in [
        "system prune",
        "system prune -a --volumes",
        "system prune --filter until=24h --filter label!=y",
        "image prune",
        "image prune -a --filter until=24h",
        "container prune",
        "network prune",
        "volume prune",
        "volume prune -a",
        "builder prune",
        "builder prune -a",
    ] {
        let ours = e.run_with(&split(line), "n\n");
        assert!(ours.out.contains("Are you sure you want to continue? [y/N]"), "{line}: {}", ours.out);
        if let Some(theirs) = e.docker(&split(line), "n\n") {
            assert_eq!(ours.out, theirs.out, "{line}");
        }
    }
    assert_eq!(e.run(&["images", "-q"]).ok().lines().count(), 1, "nothing went");
}

#[test]
fn refusals_are_dockers() {
    let Some(e) = Engine::start() else { return };
    for (line, said) in [
        ("container prune -f --filter foo=1", "invalid filter 'foo'"),
        ("container prune -f --filter until=xx", "failed to parse value as time or duration: \"xx\""),
        ("image prune -f --filter until=1h --filter until=2h", "more than one until filter specified"),
        ("network prune -f --filter foo=1", "invalid filter 'foo'"),
        ("volume prune -f --filter until=1h", "invalid filter 'until'"),
        (
            "volume prune -f --filter all=x",
            "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "volume prune -f -a --filter all=1",
            "conflicting options: cannot specify both --all and --filter all=1",
        ),
        ("builder prune -f --filter foo=1", "failed to prune build cache: invalid filter 'foo'"),
        (
            "system prune -f --volumes --filter until=1h",
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ),
        ("container prune -f --filter bad", "bad format of filter (expected name=value)"),
    ] {
        let ours = e.run(&split(line));
        assert!(ours.code != 0 && ours.err.contains(said), "{line}: {}", ours.err);
        if let Some(theirs) = e.docker(&split(line), "") {
            assert!(theirs.err.contains(said), "{line}: {}", theirs.err);
            assert_eq!(ours.code, theirs.code, "{line}");
        }
    }
    for line in ["image prune -f --filter dangling=x", "builder prune -f --keep-storage 1GB"] {
        assert_eq!(e.run(&split(line)).ok(), "Total reclaimed space: 0B", "{line}");
    }
}

#[test]
fn what_goes_is_told_and_no_more_goes() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "--name", "old", "--label", "a=b", "--network", "none", "-v", "/data", "busybox", "true"])
        .ok();
    e.run(&["run", "--name", "other", "--network", "none", "busybox", "true"]).ok();
    e.run(&["volume", "create", "named"]).ok();
    e.run(&["network", "create", "n1"]).ok();
    e.run(&["network", "create", "--label", "a=b", "n2"]).ok();
    assert_eq!(
        e.run(&["container", "prune", "-f", "--filter", "until=24h"]).ok(),
        "Total reclaimed space: 0B"
    );
    let done = e.run(&["container", "prune", "-f", "--filter", "label=a=b"]).ok();
    assert!(
        done.starts_with("Deleted Containers:\n") && done.ends_with("Total reclaimed space: 0B"),
        "{done}"
    );
    assert_eq!(e.run(&["ps", "-a", "--format", "{{.Names}}"]).ok(), "other");
    assert_eq!(e.run(&["network", "prune", "-f", "--filter", "label!=a"]).ok(), "Deleted Networks:\nn1");
    assert_eq!(e.run(&["volume", "prune", "-f", "--filter", "label=x"]).ok(), "Total reclaimed space: 0B");
    assert!(e.run(&["volume", "prune", "-f"]).ok().starts_with("Deleted Volumes:\n"));
    assert_eq!(e.run(&["volume", "ls", "-q"]).ok(), "named");
    assert!(e.run(&["volume", "prune", "-af"]).ok().starts_with("Deleted Volumes:\nnamed\n"));
    let done = e.run(&["system", "prune", "-af"]).ok();
    assert!(done.contains("Deleted Networks:\nn2\n") && done.contains("deleted: sha256:"), "{done}");
    assert!(done.contains("untagged: busybox:latest"), "{done}");
    // The time that ends the list is one of whole seconds.
    eventually("the events are told", || {
        let events = e.run(&["events", "--since", "1h", "--until", "0s", "--filter", "event=prune"]).ok();
        let told = |kind| events.contains(&format!("{kind} prune"));
        ["container", "network", "volume", "image", "builder"].into_iter().all(told)
    });
}
