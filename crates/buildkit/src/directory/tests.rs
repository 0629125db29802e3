//! Directories from clients of every kind.

use super::*;
use std::collections::BTreeSet;
use std::io::Read;
use wharf_grpc::Bytes;
use wharf_grpc::client::Channel;
use wharf_grpc::fsutil::go_mode;
use wharf_grpc::proto::files::{Packet, PacketType};
use wharf_grpc::server::{Call, Reply, Service, serve};

#[test]
fn names_are_sent_as_clients_read_them() {
    let wanted = Wanted {
        name: "context".to_owned(),
        exclude: vec!["a b".to_owned(), "ü/*".to_owned()],
        follow: Vec::new(),
    };
    let headers = wanted.metadata().unwrap();
    let sent: Vec<&HeaderValue> = headers.get_all("exclude-patterns").iter().collect();
    assert_eq!(sent, ["a%20b", "%C3%BC%2F%2A"]);
    assert_eq!(headers["exclude-patterns-encoded"], "1");
    assert_eq!(headers["dir-name"], "context");
    assert!(!headers.contains_key("dir-name-encoded"));
    let wanted = Wanted { name: "a\nb".to_owned(), ..Wanted::default() };
    assert!(wanted.metadata().is_err());
}

#[test]
fn entries_of_stats() {
    let stat = Stat { path: "f".to_owned(), mode: 0o644, size: 3, ..Stat::default() };
    let made = entry(Stat { modified_ns: -1, ..stat.clone() }).unwrap().unwrap();
    assert_eq!((made.kind, made.size), (Kind::File, 3));
    assert_eq!((made.mtime.seconds, made.mtime.nanos), (-1, 999_999_999));
    assert!(entry(Stat { size: -1, ..stat.clone() }).is_err());
    assert!(entry(Stat { device_major: -1, ..stat.clone() }).is_err());
    assert_eq!(entry(Stat { mode: 1 << 24, ..stat }).unwrap(), None);
}

/// A client that says what it was told to, and then answers with the same content for every file.
struct Client {
    said: Vec<Packet>,
    content: &'static [u8],
}

#[async_trait::async_trait]
impl Service for Client {
    async fn call(&self, mut call: Call) -> Result<Reply, Status> {
        let (answers, reply) = Reply::many();
        let (said, content) = (self.said.clone(), self.content);
        tokio::spawn(async move {
            for packet in said {
                answers.send(&packet).await;
            }
            while let Ok(Some(packet)) = call.messages.next::<Packet>().await {
                let data = |data| Packet {
                    kind: PacketType::Data.into(),
                    id: packet.id,
                    data: Bytes::from_static(data),
                    ..Packet::default()
                };
                match PacketType::try_from(packet.kind) {
                    Ok(PacketType::Req) => {
                        answers.send(&data(content)).await;
                        answers.send(&data(b"")).await;
                    }
                    _ => drop(answers.send(&packet).await),
                }
            }
        });
        Ok(reply)
    }
}

fn named(path: &str, kind: FileKind, size: i64, linkname: &str) -> Packet {
    let stat = Stat {
        path: path.to_owned(),
        mode: go_mode(kind, 0o644),
        size,
        linkname: linkname.to_owned(),
        ..Stat::default()
    };
    Packet { stat: Some(stat), ..Packet::default() }
}

fn file(path: &str, size: i64) -> Packet {
    named(path, FileKind::File, size, "")
}

async fn receive_from(said: Vec<Packet>, content: &'static [u8]) -> Result<(Context, u64), Status> {
    receive_after(None, said, content).await
}

async fn receive_after(
    base: Option<Arc<Context>>,
    said: Vec<Packet>,
    content: &'static [u8],
) -> Result<(Context, u64), Status> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(serve(theirs, Arc::new(Client { said, content })));
    let (channel, life) = Channel::connect(ours).await?;
    tokio::spawn(life);
    let caller =
        Arc::new(Caller::new(channel, BTreeSet::from([FILE_SYNC.to_ascii_lowercase()]), String::new()));
    let scratch = tempfile::tempdir().unwrap();
    directory(&caller, &Wanted::default(), base, scratch.path().to_owned(), |_| ()).await
}

/// The end of the list of files.
fn end() -> Packet {
    Packet::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_everything() {
    let said = vec![
        named("d", FileKind::Directory, 0, ""),
        file("d/grown", 3),
        file("d/shrunk", 30),
        named("d/hard", FileKind::File, 3, "d/grown"),
        named("link", FileKind::Symlink, 0, "../../etc"),
        named("socket", FileKind::Socket, 0, ""),
        end(),
    ];
    let (context, _) = receive_from(said, b"content").await.unwrap();
    let mut found = Vec::new();
    for (path, entry, at) in context.files() {
        let mut text = String::new();
        context.open(entry, at).unwrap().read_to_string(&mut text).unwrap();
        found.push((path.to_owned(), entry.kind, text));
    }
    let expected = [
        ("d", Kind::Directory, ""),
        ("d/grown", Kind::File, "con"),
        ("d/hard", Kind::HardLink, ""),
        ("d/shrunk", Kind::File, "content"),
        ("link", Kind::Symlink, ""),
    ];
    assert_eq!(found, expected.map(|(path, kind, text)| (path.to_owned(), kind, text.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_asked_for() {
    let old = |path: &str, modified_ns| {
        let mut packet = file(path, 3);
        packet.stat = packet.stat.map(|stat| Stat { modified_ns, ..stat });
        packet
    };
    let (base, first) = receive_from(vec![old("a", 1), old("b", 1), end()], b"one").await.unwrap();
    let said = vec![old("a", 1), old("b", 2), end()];
    let (context, second) = receive_after(Some(Arc::new(base)), said, b"two").await.unwrap();
    let content = |(path, entry, at): (&str, &Entry, u64)| {
        let mut text = String::new();
        context.open(entry, at).unwrap().read_to_string(&mut text).unwrap();
        format!("{path}={text}")
    };
    assert_eq!(context.files().map(content).collect::<Vec<_>>(), ["a=one", "b=two"]);
    assert_eq!((first, second), (8, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_directories_are_refused() {
    let unasked = Packet { kind: PacketType::Data.into(), id: 7, data: Bytes::from_static(b"x"), ..end() };
    let failed = Packet { kind: PacketType::Err.into(), data: Bytes::from_static(b"no such file"), ..end() };
    let fin = Packet { kind: PacketType::Fin.into(), ..end() };
    for (said, why) in [
        (vec![file("../x", 1)], "it leads out"),
        (vec![file("a/../../x", 1)], "it leads out"),
        (vec![file("/etc/passwd", 1)], "it leads out"),
        (vec![named("l", FileKind::Symlink, 0, "/etc"), file("l/passwd", 1)], "below what is no directory"),
        (vec![named("h", FileKind::File, 0, "../../etc/passwd")], "another name of no earlier file"),
        (vec![file("f", -1)], "a number in it"),
        (vec![file("f", i64::MAX), file("g", i64::MAX), file("h", 2)], "it is too big"),
        (vec![file("f", 1), file("f", 1)], "it comes twice"),
        (vec![file(&"n".repeat(5000), 1)], "too long"),
        (vec![unasked], "nobody asked for"),
        (vec![failed], "no such file"),
        (vec![end(), file("late", 1)], ""),
        (vec![fin], "out of order"),
    ] {
        let mut said = said;
        said.push(end());
        match receive_from(said, b"x").await {
            Err(refused) => assert!(refused.message.contains(why), "{why}: {refused}"),
            // What comes after the end is not looked at.
            Ok(_) => assert_eq!(why, ""),
        }
    }
}
