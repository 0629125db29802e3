//! Published ports in all their forms, and their change while a container runs.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use wharf_e2e::{Engine, eventually, get};

const SERVE: &str = "mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www";

/// Ports of the host from here on are these tests' own: below those that the kernel chooses from.
const FIRST: u16 = 21_700;

fn web(e: &Engine, name: &str, flags: &[&str]) {
    e.run(&[&["run", "-d", "--name", name][..], flags, &["busybox", "sh", "-c", SERVE]].concat()).ok();
}

fn shows_page(address: &str) -> bool {
    get(address).as_deref() == Some("page\n")
}

#[test]
fn ports_change_while_it_runs() {
    let Some(mut e) = Engine::start() else { return };
    let [a, b, c] = [0, 1, 2].map(|n| FIRST + n);
    let on = |port: u16| format!("127.0.0.1:{port}");
    web(&e, "web", &["-p", &format!("{a}:80")]);
    eventually("the page", || shows_page(&on(a)));
    e.run(&["update", "--publish-add", &format!("{b}:80"), "web"]).ok();
    assert!(shows_page(&on(a)) && shows_page(&on(b)), "without a restart");
    let port = e.run(&["port", "web", "80"]).ok();
    assert!(port.contains(&a.to_string()) && port.contains(&b.to_string()), "{port}");
    assert!(e.run(&["ps", "--format", "{{.Ports}}"]).ok().contains(&format!("0.0.0.0:{b}->80/tcp")));

    // A port that is taken changes nothing.
    web(&e, "other", &["-p", &format!("{c}:80")]);
    let before = e.run(&["port", "web"]).ok();
    let taken = e.run(&[
        "update",
        "--publish-rm",
        &format!("{a}:80"),
        "--publish-add",
        &format!("{c}:80"),
        "--memory",
        "64m",
        "web",
    ]);
    assert_eq!(taken.code, 1);
    assert!(
        taken.err.contains(&format!("Bind for 0.0.0.0:{c} failed: port is already allocated")),
        "{}",
        taken.err
    );
    assert_eq!(e.run(&["port", "web"]).ok(), before);
    assert!(shows_page(&on(a)) && shows_page(&on(b)));
    let shown = e
        .run(&["inspect", "--format", "{{.HostConfig.Memory}} {{json .HostConfig.PortBindings}}", "web"])
        .ok();
    assert!(shown.starts_with("0 ") && !shown.contains(&c.to_string()), "{shown}");

    // A port that moves to one address has its own old place in the way.
    let local = format!("127.0.0.1:{a}:80");
    e.run(&["update", "--publish-rm", &format!("{a}:80"), "--publish-add", &local, "web"]).ok();
    assert!(shows_page(&on(a)));
    let gateway = e.run(&["inspect", "--format", "{{.NetworkSettings.Gateway}}", "web"]).ok();
    assert!(!shows_page(&format!("{gateway}:{a}")) && shows_page(&format!("{gateway}:{b}")));

    e.run(&["update", "--publish-rm", &format!("{b}:80"), "web"]).ok();
    assert_eq!(get(&on(b)), None);
    e.kill();
    e.launch();
    assert!(shows_page(&on(a)) && get(&on(b)).is_none(), "a new engine");
    e.run(&["restart", "-t", "0", "web"]).ok();
    eventually("the page after a restart", || shows_page(&on(a)));
    assert_eq!(e.run(&["port", "web"]).ok(), format!("80/tcp -> 127.0.0.1:{a}"));

    e.run(&["stop", "-t", "0", "web"]).ok();
    e.run(&["update", "--publish-add", &format!("{b}:80"), "web"]).ok();
    assert_eq!(get(&on(b)), None);
    e.run(&["start", "web"]).ok();
    eventually("the page of a port added while stopped", || shows_page(&on(b)));
    let unknown = e.run(&["update", "--publish-rm", &format!("{c}:80"), "web"]);
    assert!(unknown.code != 0 && unknown.err.contains("is not published"), "{}", unknown.err);
    e.run(&["rm", "-f", "web", "other"]).ok();
    assert_eq!(get(&on(b)), None);
}

#[test]
fn all_forms_of_ports() {
    let Some(e) = Engine::start() else { return };
    let p = FIRST + 20;
    let lines = |name: &str| e.run(&["port", name]).ok();
    web(&e, "range", &["-p", &format!("{p}-{}:80", p + 2)]);
    web(&e, "range2", &["-p", &format!("{p}-{}:80", p + 2)]);
    assert!(lines("range").contains(&format!("80/tcp -> 0.0.0.0:{p}")));
    assert!(lines("range2").contains(&format!("80/tcp -> 0.0.0.0:{}", p + 1)), "the next one of the range");
    let q = p + 5;
    web(&e, "many", &["-p", &format!("{q}-{}:80-82", q + 2)]);
    assert!(lines("many").contains(&format!("82/tcp -> 0.0.0.0:{}", q + 2)));
    eventually("the page", || shows_page(&format!("127.0.0.1:{q}")));

    // The same port for three protocols, and on single addresses.
    let r = p + 10;
    let kinds = [format!("{r}:80"), format!("{r}:80/udp"), format!("{r}:80/sctp")];
    let single = [format!("127.0.0.2:{}:80", r + 1), format!("[::1]:{}:80", r + 2), "0:80".to_owned()];
    let flags: Vec<&str> = kinds.iter().chain(&single).flat_map(|f| ["-p", f.as_str()]).collect();
    web(&e, "kinds", &flags);
    let shown = lines("kinds");
    for line in [
        format!("80/tcp -> 0.0.0.0:{r}"),
        format!("80/udp -> 0.0.0.0:{r}"),
        format!("80/udp -> [::]:{r}"),
        format!("80/sctp -> 0.0.0.0:{r}"),
        format!("80/tcp -> 127.0.0.2:{}", r + 1),
        format!("80/tcp -> [::1]:{}", r + 2),
    ] {
        assert!(shown.contains(&line), "{line} in {shown}");
    }
    eventually("the page", || shows_page(&format!("127.0.0.2:{}", r + 1)));
    assert!(!shows_page(&format!("127.0.0.1:{}", r + 1)));
    assert!(shows_page(&format!("[::1]:{}", r + 2)));

    e.run(&[
        "run", "-d", "--name", "all", "-P", "--expose", "90-92", "--expose", "53/udp", "busybox", "sleep",
        "100",
    ])
    .ok();
    let all = lines("all");
    for port in ["53/udp", "90/tcp", "91/tcp", "92/tcp"] {
        assert!(all.contains(&format!("{port} -> 0.0.0.0:")), "{all}");
    }

    let refused = |flags: &[&str]| e.run(&[&["run", "--rm"][..], flags, &["busybox", "true"]].concat());
    let clash = refused(&["--name", "clash", "-p", &format!("{r}:80")]);
    assert_eq!(clash.code, 125);
    let words = "failed to set up container networking: driver failed programming external connectivity on endpoint clash (";
    assert!(clash.err.contains(words), "{}", clash.err);
    assert!(
        clash.err.contains(&format!("): Bind for 0.0.0.0:{r} failed: port is already allocated")),
        "{}",
        clash.err
    );
    let foreign = refused(&["-p", "99.9.9.9:8099:80"]);
    assert!(foreign.err.contains("failed to bind host port for 99.9.9.9:8099:10."), "{}", foreign.err);
    assert!(foreign.err.contains(":80/tcp: cannot assign requested address"), "{}", foreign.err);
    assert!(refused(&["-p", "8-5:80"]).err.contains("Invalid hostPort: 8-5"));
    assert!(
        refused(&["-p", "80-82:80-81"]).err.contains("Invalid ranges specified for container and host Ports")
    );
}

/// A listener or a connection of SCTP, made inside of a network namespace: a thread enters it, and ends.
fn sctp(namespace: &str, of: impl FnOnce(OwnedFd) -> OwnedFd + Send) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
    let file = std::fs::File::open(namespace).unwrap();
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(file.as_fd(), kind).unwrap();
            let (family, flags) = (AddressFamily::INET, SocketFlags::CLOEXEC);
            of(socket_with(family, SocketType::STREAM, flags, Some(ipproto::SCTP)).unwrap())
        });
        inside.join().unwrap()
    })
}

#[test]
fn sctp_passes_through_a_published_port() {
    use rustix::net::{AddressFamily, SocketType, ipproto, socket};
    let Some(e) = Engine::start() else { return };
    if let Err(why) = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::SCTP)) {
        println!("skipped: the kernel has no SCTP ({why}): its module is not there");
        return;
    }
    let port = FIRST + 60;
    e.run(&["run", "-d", "--name", "s", "-p", &format!("{port}:80/sctp"), "busybox", "sleep", "1000"]).ok();
    let pid = e.run(&["inspect", "-f", "{{.State.Pid}}", "s"]).ok();
    let listener = sctp(&format!("/proc/{pid}/ns/net"), |fd| {
        rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80)).unwrap();
        rustix::net::listen(&fd, 1).unwrap();
        fd
    });
    let gateway = e.run(&["inspect", "-f", "{{.NetworkSettings.Gateway}}", "s"]).ok();
    let address = SocketAddrV4::new(gateway.parse().unwrap(), port);
    let client = sctp("/proc/self/ns/net", |fd| {
        rustix::net::connect(&fd, &address).unwrap();
        fd
    });
    let server = rustix::net::accept(&listener).unwrap();
    rustix::io::write(&client, b"ping").unwrap();
    let mut word = [0; 8];
    let length = rustix::io::read(&server, &mut word).unwrap();
    assert_eq!(&word[..length], b"ping");
}
