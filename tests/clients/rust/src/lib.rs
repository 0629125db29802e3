//! Testcontainers against the engine of `DOCKER_HOST`, which has the image `busybox`.
#![cfg(test)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testcontainers::core::{ExecCommand, IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

fn service() -> GenericImage {
    GenericImage::new("busybox", "latest")
        .with_exposed_port(80.tcp())
        .with_wait_for(WaitFor::message_on_stdout("ready"))
}

fn web() -> testcontainers::ContainerRequest<GenericImage> {
    service().with_cmd(["sh", "-c", "echo ready; exec httpd -f -p 80 -h /etc"])
}

fn output(container: &Container<GenericImage>, command: &[&str]) -> String {
    let mut done = container.exec(ExecCommand::new(command.iter().copied())).unwrap();
    String::from_utf8(done.stdout_to_vec().unwrap()).unwrap()
}

/// The service says that it is ready before it listens.
fn connect(port: u16) -> TcpStream {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Err(e) if e.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {}
            done => return done.unwrap(),
        }
    }
}

#[test]
fn a_service_with_a_port() {
    let running = web().start().unwrap();
    let port = running.get_host_port_ipv4(80).unwrap();
    let mut connection = connect(port);
    connection.write_all(b"GET /hostname HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    connection.read_to_string(&mut page).unwrap();
    assert!(page.ends_with(&output(&running, &["hostname"])), "{page}");
}

#[test]
fn containers_of_one_network() {
    let network = format!("testcontainers-{}", std::process::id());
    let _web = web().with_network(&network).with_container_name(format!("{network}-web")).start().unwrap();
    let client = service()
        .with_cmd(["sh", "-c", "echo ready; exec sleep 1000"])
        .with_network(&network)
        .with_env_var("COLOUR", "red")
        .with_mount(Mount::tmpfs_mount("/scratch"))
        .start()
        .unwrap();
    let page = output(&client, &["wget", "-qO-", &format!("http://{network}-web/hostname")]);
    assert!(!page.is_empty());
    assert_eq!(output(&client, &["sh", "-c", "echo $COLOUR; touch /scratch/x && ls /scratch"]), "red\nx\n");
}

#[test]
fn files_and_ends() {
    let done = GenericImage::new("busybox", "latest")
        .with_wait_for(WaitFor::exit(Default::default()))
        .with_copy_to("/greeting", b"hello".to_vec())
        .with_cmd(["cat", "/greeting"])
        .start()
        .unwrap();
    assert_eq!(done.stdout_to_vec().unwrap(), b"hello");
    done.stop().unwrap();
    done.rm().unwrap();
}
