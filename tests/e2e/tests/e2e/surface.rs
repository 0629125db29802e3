//! What Docker's client has, ours has: verbs, flags, and what they do where the two are easily told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use wharf_e2e::{Done, Engine, run_limited};

/// Groups of Docker's that are refused by name, and what our help does not show.
const ABSENT: [&str; 12] = [
    "swarm",
    "service",
    "stack",
    "node",
    "secret",
    "config",
    "plugin",
    "trust",
    "checkpoint",
    "buildx",
    "bake",
    "compose",
];

fn help(command: &mut Command, words: &[String]) -> String {
    run_limited(command.args(words).arg("--help"), "").ok()
}

/// The words below a title, and the long flags, of a help.
fn parse(help: &str) -> (Vec<String>, Vec<String>) {
    let (mut verbs, mut flags, mut title) = (Vec::new(), Vec::new(), "");
    for line in help.lines() {
        if !line.starts_with(' ') {
            title = line;
        } else if title.contains("Commands") {
            let word = line.split_whitespace().next().unwrap_or_default().trim_end_matches('*');
            if line.starts_with("  ") && !line.starts_with("   ") {
                verbs.push(word.to_owned());
            }
        } else if title.contains("Options") {
            let flag = line.split_whitespace().take(2).find_map(|word| word.strip_prefix("--"));
            flags.extend(flag.map(str::to_owned));
        }
    }
    (verbs, flags)
}

#[test]
fn every_verb_and_flag_of_dockers_is_there() {
    let Some(e) = Engine::start() else { return };
    if e.docker_command().is_none() {
        println!("skipped: DOCKER_BIN names no docker client");
        return;
    }
    let mut pending = vec![Vec::new()];
    let (mut verbs_seen, mut missing) = (0, Vec::new());
    while let Some(words) = pending.pop() {
        let words: Vec<String> = words;
        let (verbs, flags) = parse(&help(&mut e.docker_command().unwrap(), &words));
        let group = verbs.is_empty();
        for verb in verbs.into_iter().filter(|verb| !words.is_empty() || !ABSENT.contains(&verb.as_str())) {
            pending.push([words.clone(), vec![verb]].concat());
        }
        if !group {
            continue;
        }
        verbs_seen += 1;
        let (_, ours) = parse(&help(&mut e.wharf(), &words));
        for flag in flags.iter().filter(|flag| !ours.contains(flag)) {
            // Those without effect are not in the help.
            let asked = e.wharf().args(&words).arg(format!("--{flag}=?")).output().unwrap();
            let unknown = String::from_utf8_lossy(&asked.stderr).contains("unknown flag");
            if unknown {
                missing.push(format!("{} --{flag}", words.join(" ")));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(verbs_seen > 100, "{verbs_seen}");
    for group in ABSENT.into_iter().filter(|group| !["compose", "plugin"].contains(group)) {
        let done = e.run(&[group, "ls"]);
        assert!(done.code == 1 && done.err.starts_with(&format!("wharf {group}: ")), "{group}: {}", done.err);
    }
}

#[test]
fn of_plugins_there_is_an_empty_list() {
    let Some(e) = Engine::start() else { return };
    assert_eq!(e.run(&["plugin", "ls"]).ok(), "ID        NAME      DESCRIPTION   ENABLED");
    for flags in [&["-q"][..], &["--filter", "enabled=true", "--format", "{{.Name}}"]] {
        assert_eq!(e.run(&[&["plugin", "ls"], flags].concat()).ok(), "");
    }
    for wrong in ["enabled=xx", "foo=bar"] {
        let done = e.run(&["plugin", "ls", "-f", wrong]);
        assert!(done.code == 1 && done.err.contains("invalid filter"), "{}", done.err);
    }
    let done = e.run(&["plugin", "install", "x"]);
    assert!(done.code == 1 && done.err.contains("plugins are not supported"), "{}", done.err);
}

/// What bash would offer after a line.
fn offered(e: &Engine, line: &str) -> BTreeSet<String> {
    let script = "source <(wharf completion bash); COMP_LINE=$1; COMP_POINT=${#1}
        read -ra COMP_WORDS <<< \"$1\"; [[ $1 == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); read -r _ _ _ _ _ _ last _ < <(complete -p wharf)
        $last wharf \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let binary = wharf_e2e::binary();
    let path =
        format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["-c", script, "bash", line]).env("PATH", path).env("WHARF_HOST", e.host());
    run_limited(&mut bash, "").ok().lines().map(str::to_owned).collect()
}

#[test]
fn shells_are_offered_names() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "live", "busybox", "sleep", "1000"]).ok();
    e.run(&["create", "--name", "made", "busybox", "true"]).ok();
    e.run(&["volume", "create", "vol"]).ok();
    e.run(&["tag", "busybox", "box:one"]).ok();
    for (line, names) in [
        ("wharf stop ", &["live"][..]),
        ("wharf start ", &["made"]),
        ("wharf container rm -f ", &["live", "made"]),
        ("wharf logs m", &["made"]),
        ("wharf volume rm ", &["vol"]),
        ("wharf network disconnect ", &["bridge", "host", "none"]),
        ("wharf network disconnect bridge l", &["live"]),
        ("wharf run --network=b", &["bridge"]),
        ("wharf run --network container:", &["live"]),
        ("wharf rmi box", &["box:one"]),
        ("wharf rmi box:", &["one"]),
        ("wharf run -v x:/x --restart un", &["unless-stopped"]),
        // Verbs and flags as before.
        ("wharf plug", &["plugin"]),
        ("wharf stop --sig", &["--signal"]),
    ] {
        assert_eq!(offered(&e, line), names.iter().map(ToString::to_string).collect(), "{line}");
    }
}

#[test]
fn switches_that_are_on_can_be_turned_off() {
    let Some(e) = Engine::start() else { return };
    let shown = e.run(&["history", "-H=false", "busybox"]).ok();
    assert!(shown.starts_with("IMAGE          CREATED AT") || !shown.contains(" ago"), "{shown}");
    // A container is paused while it is committed, unless told otherwise.
    e.run(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"]).ok();
    let now = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
    };
    let events = |flag: &str| {
        let since = now();
        e.run(&["commit", flag, "c1"]).ok();
        let now = now();
        let filter = ["--filter", "event=pause", "--format", "{{.Action}}"];
        e.run(&[&["events", "--since", &since, "--until", &now][..], &filter].concat()).ok()
    };
    assert_eq!(
        (events("--pause=false"), events("-p=false"), events("--pause")),
        ("".into(), "".into(), "pause".into())
    );
}

#[test]
fn inspect_in_json_is_an_array() {
    let Some(e) = Engine::start() else { return };
    e.run(&["create", "--name", "c1", "busybox", "true"]).ok();
    e.run(&["create", "--name", "c2", "busybox", "true"]).ok();
    let text = e.run(&["inspect", "--format", "json", "c1", "c2"]).ok();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((json[0]["Name"].as_str(), json[1]["Name"].as_str()), (Some("/c1"), Some("/c2")));
    assert_eq!(text.lines().count(), 1);
    for verb in [&["image", "inspect"][..], &["history", "-q"]] {
        e.run(&[verb, &["--platform", "linux/amd64", "busybox"]].concat()).ok();
        let done = e.run(&[verb, &["--platform", "linux/s390x", "busybox"]].concat());
        assert!(done.code == 1 && done.err.contains("linux/s390x"), "{}", done.err);
    }
}

#[test]
fn a_wrong_value_names_its_flag() {
    let Some(e) = Engine::start() else { return };
    for (flags, why) in [
        (
            &["--dns", "foo"][..],
            "invalid argument \"foo\" for \"--dns\" flag: IP address is not correctly formatted: foo",
        ),
        (
            &["--mount", "type=bind"],
            "invalid argument \"type=bind\" for \"--mount\" flag: target is required",
        ),
        (&["--mac-address", "foo"], "foo is not a valid mac address"),
        (&["--shm-size", "foo"], "invalid argument \"foo\" for \"--shm-size\" flag: invalid size: 'foo'"),
        (&["-a", "foo"], "\"foo\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR"),
        (&["-p", "foo"], "Invalid containerPort: foo"),
    ] {
        for verb in ["create", "run"] {
            let done = e.run(&[&[verb], flags, &["busybox", "true"]].concat());
            assert!(
                done.code == 125 && done.err.contains(why),
                "{verb} {flags:?}: {} {}",
                done.code,
                done.err
            );
        }
    }
}

#[test]
fn a_container_may_have_the_engine_and_the_credentials() {
    let Some(e) = Engine::start() else { return };
    let config = e.path("config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.json"), r#"{"auths": {"reg.x": {"auth": "YTpi"}}, "psFormat": "x"}"#)
        .unwrap();
    let script = "stat -c %F /var/run/docker.sock; stat -c %a $DOCKER_CONFIG/config.json; cat $DOCKER_CONFIG/config.json";
    let shown = e.run(&["run", "--rm", "--use-api-socket", "busybox", "sh", "-c", script]).ok();
    let (head, json) = shown.split_once('{').unwrap();
    assert_eq!(head, "socket\n600\n");
    let json: serde_json::Value = serde_json::from_str(&format!("{{{json}")).unwrap();
    assert_eq!(json, serde_json::json!({"auths": {"reg.x": {"auth": "YTpi"}}}));
    let own = ["run", "--rm", "--use-api-socket", "-e", "DOCKER_CONFIG=/own", "busybox", "sh", "-c"];
    let shown = e.run(&[&own[..], &["ls /run/secrets 2>/dev/null; echo $DOCKER_CONFIG"]].concat()).ok();
    assert_eq!(shown, "/own");
}

#[test]
fn contexts_travel_between_the_clients() {
    let Some(e) = Engine::start() else { return };
    let (config, file) = (e.path("config"), e.path("far.dockercontext"));
    let (ca, file) = (e.path("ca.pem"), file.display().to_string());
    std::fs::write(&ca, "a certificate").unwrap();
    let with = |mut command: Command, args: &[&str]| -> Done {
        command.env_remove("WHARF_HOST").env_remove("DOCKER_HOST").env("DOCKER_CONFIG", &config);
        run_limited(command.args(args), "")
    };
    let wharf = |args: &[&str]| with(e.wharf(), args);
    let docker = |args: &[&str]| with(e.docker_command().unwrap_or_else(|| e.wharf()), args);
    let engine = format!("host=tcp://far:2376,ca={}", ca.display());
    wharf(&["context", "create", "far", "--description", "some words", "--docker", &engine]).ok();
    let inspect = |name: &str| {
        let shown: serde_json::Value =
            serde_json::from_str(&wharf(&["context", "inspect", name]).ok()).unwrap();
        let of = |path: &str| shown[0].pointer(path).cloned().unwrap_or_default();
        BTreeMap::from(
            ["/Metadata/Description", "/Endpoints/docker/Host", "/TLSMaterial/docker"].map(|p| (p, of(p))),
        )
    };
    let before = inspect("far");
    assert_eq!(before["/TLSMaterial/docker"], serde_json::json!(["ca.pem"]));
    wharf(&["context", "export", "far", &file]).ok();
    assert!(wharf(&["context", "export", "far", &file]).err.contains("File exists"));
    docker(&["context", "import", "near", &file]).ok();
    assert_eq!(inspect("near"), before);
    std::fs::remove_file(&file).unwrap();
    docker(&["context", "export", "near", &file]).ok();
    wharf(&["context", "import", "third", &file]).ok();
    assert_eq!(inspect("third"), before);
    assert!(wharf(&["context", "import", "third", &file]).err.contains("already exists"));
    // Another engine has other certificates; other words have not.
    wharf(&["context", "update", "third", "--description", "others"]).ok();
    assert_eq!(inspect("third")["/TLSMaterial/docker"], serde_json::json!(["ca.pem"]));
    wharf(&["context", "update", "third", "--docker", "host=unix:///x.sock"]).ok();
    let after = inspect("third");
    assert_eq!(
        (&after["/Metadata/Description"], &after["/Endpoints/docker/Host"]),
        (&"others".into(), &"unix:///x.sock".into())
    );
    assert_eq!(after["/TLSMaterial/docker"], serde_json::Value::Null);
    // With --from everything is taken over.
    wharf(&["context", "create", "fourth", "--from", "near"]).ok();
    assert_eq!(inspect("fourth"), before);
    assert!(wharf(&["context", "update", "nope", "--description", "x"]).err.contains("does not exist"));
}
