//! Log drivers.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;
use wharf_e2e::{Engine, eventually};

/// How long a receiver of a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(20);

fn run(e: &Engine, name: &str, driver: &[&str], script: &str) {
    let head = ["run", "--name", name, "--network", "none"];
    e.run(&[&head[..], driver, &["busybox", "sh", "-c", script]].concat()).ok();
}

fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn datagram(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 65536];
    let length = socket.recv(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn rotated_and_compressed_files_are_read_as_one() {
    let Some(e) = Engine::start() else { return };
    for driver in ["local", "json-file"] {
        let options = ["--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=40"];
        let options = [&options[..], &["--log-opt", "compress=true"]].concat();
        run(&e, driver, &options, "i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done");
        let all = e.run(&["logs", driver]).ok();
        let expected: Vec<String> = (0..3000).map(|n| format!("line-{n}")).collect();
        assert_eq!(all.lines().collect::<Vec<_>>(), expected, "{driver}");
        assert_eq!(e.run(&["logs", "--tail", "2500", driver]).ok().lines().next(), Some("line-500"));
        let id = e.run(&["inspect", "--format", "{{.Id}}", driver]).ok();
        let directory = e.path("data/containers").join(id);
        let files =
            std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        assert!(files.filter(|f| f.ends_with(".gz")).count() > 3, "{driver}");
    }
    assert_eq!(e.run(&["inspect", "--format", "{{.HostConfig.LogConfig.Type}}", "local"]).ok(), "local");
    // Followed while it is written, rotated and compressed.
    let options = ["--log-driver", "local", "--log-opt", "max-size=10k", "--log-opt", "max-file=400"];
    let script = "sleep 0.3; i=0; while [ $i -lt 5000 ]; do echo line-$i; i=$((i+1)); done";
    let head = ["run", "-d", "--name", "followed", "--network", "none"];
    e.run(&[&head[..], &options, &["busybox", "sh", "-c", script]].concat()).ok();
    let followed = e.run(&["logs", "-f", "followed"]).ok();
    let expected: Vec<String> = (0..5000).map(|n| format!("line-{n}")).collect();
    assert_eq!(followed.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn details_and_refusals() {
    let Some(e) = Engine::start() else { return };
    let options = ["--log-opt", "labels=zone", "--log-opt", "env-regex=^C", "--log-opt", "tag={{.Name}}"];
    let told = [&options[..], &["--label", "zone=b", "--label", "x=y", "-e", "COLOUR=red"]].concat();
    run(&e, "c1", &told, "echo hello");
    assert_eq!(e.run(&["logs", "--details", "c1"]).ok().trim_end(), "COLOUR=red,tag=c1,zone=b hello");
    assert_eq!(e.run(&["logs", "c1"]).ok().trim_end(), "hello");
    for (flags, text) in [
        (["--log-driver", "asdf", "--log-opt", "a=b"], "plugin \"asdf\" not found"),
        (["--log-driver", "json-file", "--log-opt", "a=b"], "unknown log opt 'a' for json-file log driver"),
        (["--log-driver", "gelf", "--log-opt", "tag=x"], "gelf-address is a required parameter"),
        (["--log-driver", "syslog", "--log-opt", "tag={{.Nope}}"], "invalid tag template"),
        (["--log-driver", "syslog", "--log-opt", "syslog-format=odd"], "Invalid syslog format"),
    ] {
        let done = e.run(&[&["run", "--network", "none"][..], &flags, &["busybox", "true"]].concat());
        assert!(done.code != 0 && done.err.contains(text), "{flags:?}: {}", done.err);
    }
    // A receiver that is not there is seen at the start.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("fluentd-address={closed}");
    let flags = ["run", "--rm", "--network", "none", "--log-driver", "fluentd", "--log-opt", &address];
    let done = e.run(&[&flags[..], &["busybox", "true"]].concat());
    assert!(done.err.contains("failed to initialize logging driver: dial tcp"), "{}", done.err);
    e.run(&[&flags[..], &["--log-opt", "fluentd-async=true", "busybox", "true"]].concat()).ok();
}

#[test]
fn remote_drivers_send_each_line_and_logs_shows_them_too() {
    let Some(e) = Engine::start() else { return };
    let (socket, address) = udp();
    let syslog = format!("syslog-address=udp://{address}");
    let options = ["--log-driver", "syslog", "--log-opt", &syslog, "--log-opt", "tag={{.Name}}"];
    run(
        &e,
        "c1",
        &[&options[..], &["--log-opt", "syslog-format=rfc5424"]].concat(),
        "echo out; echo err >&2",
    );
    let mut lines = [datagram(&socket), datagram(&socket)].map(|d| String::from_utf8(d).unwrap());
    lines.sort();
    assert!(lines[0].starts_with("<27>1 ") && lines[0].ends_with(" c1 - err\n"), "{lines:?}");
    assert!(lines[1].starts_with("<30>1 ") && lines[1].ends_with(" c1 - out\n"), "{lines:?}");
    assert!(e.run(&["logs", "c1"]).ok().contains("out"));

    let (socket, address) = udp();
    let gelf = format!("gelf-address=udp://{address}");
    let options = ["--log-driver", "gelf", "--log-opt", &gelf, "--log-opt", "gelf-compression-type=none"];
    run(&e, "c2", &[&options[..], &["--log-opt", "cache-disabled=true"]].concat(), "echo hello");
    let message: serde_json::Value = serde_json::from_slice(&datagram(&socket)).unwrap();
    assert_eq!((&message["short_message"], &message["_container_name"]), (&"hello".into(), &"c2".into()));
    let done = e.run(&["logs", "c2"]);
    assert!(done.err.contains("configured logging driver does not support reading"), "{}", done.err);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let fluentd = format!("fluentd-address={}", listener.local_addr().unwrap());
    let options =
        ["--log-driver", "fluentd", "--log-opt", &fluentd, "--log-opt", "labels=zone", "--label", "zone=b"];
    run(&e, "c3", &options, "echo hello");
    // The first connection only saw whether somebody is there.
    drop(listener.accept().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut bytes = vec![0; 1024];
    let length = stream.read(&mut bytes).unwrap();
    assert!(bytes[..length].ends_with(b"\xa3log\xa5hello\xa4zone\xa1b"), "{:?}", &bytes[..length]);
}

#[test]
fn a_receiver_and_an_engine_that_go_away_lose_no_line() {
    let Some(mut e) = Engine::start() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let syslog = format!("syslog-address=tcp://{address}");
    let script = "i=0; while [ $i -lt 300 ]; do echo line-$i; i=$((i+1)); sleep 0.005; done";
    let options =
        ["run", "-d", "--name", "c1", "--network", "none", "--log-driver", "syslog", "--log-opt", &syslog];
    e.run(&[&options[..], &["busybox", "sh", "-c", script]].concat()).ok();
    drop(listener.accept().unwrap());
    let numbers = |stream: std::net::TcpStream, count: usize| -> Vec<u32> {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let lines = BufReader::new(stream).lines().take(count).map_while(Result::ok);
        lines.filter_map(|l| l.rsplit_once("line-")?.1.parse().ok()).collect()
    };
    let first = numbers(listener.accept().unwrap().0, 20);
    assert_eq!(first, (0..20).collect::<Vec<_>>());
    e.kill();
    e.launch();
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut seen = first;
    for line in BufReader::new(stream).lines() {
        let number: u32 = line.unwrap().rsplit_once("line-").unwrap().1.parse().unwrap();
        seen.push(number);
        if number == 299 {
            break;
        }
    }
    // What was on its way to the receiver that went may come twice or, with TCP, not at all; nothing else may miss.
    let missing: Vec<u32> = (0..300).filter(|n| !seen.contains(n)).collect();
    assert!(missing.iter().all(|n| (20..300).contains(n)) && missing.len() < 150, "{missing:?}");
    eventually("the end", || e.run(&["inspect", "--format", "{{.State.Running}}", "c1"]).ok() == "false");
    assert_eq!(e.run(&["logs", "c1"]).ok().lines().count(), 300);
}
