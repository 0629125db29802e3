//! Both sides of a connection, with each other.

use crate::client::Channel;
use crate::fsutil::{FileKind, Piece, go_mode, receive};
use crate::messages::take;
use crate::proto::files::{Packet, PacketType, Stat};
use crate::proto::session::BytesMessage;
use crate::server::{Call, Reply, Service, serve};
use crate::{Code, HeaderMap, MAX_MESSAGE, Status, frame};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tokio::sync::mpsc;

#[test]
fn messages_come_in_pieces() {
    let message = BytesMessage { data: Bytes::from_static(b"content") };
    let whole = [frame(&message), frame(&message)].concat();
    let (mut buffer, mut taken) = (BytesMut::new(), 0);
    for byte in whole {
        buffer.extend_from_slice(&[byte]);
        taken += usize::from(take(&mut buffer).unwrap().is_some());
    }
    assert_eq!((taken, buffer.len()), (2, 0));
    let mut compressed = BytesMut::from(&[1, 0, 0, 0, 0][..]);
    assert_eq!(take(&mut compressed).unwrap_err().code, Code::Unimplemented);
    let mut long = BytesMut::from(&[0, 255, 255, 255, 255][..]);
    assert_eq!(take(&mut long).unwrap_err().code, Code::ResourceExhausted);
    let mut longest = BytesMut::from(&[&[0][..], &(MAX_MESSAGE as u32).to_be_bytes()].concat()[..]);
    assert!(take(&mut longest).unwrap().is_none());
}

/// Answers by the method's name.
struct Answers;

#[async_trait]
impl Service for Answers {
    async fn call(&self, mut call: Call) -> Result<Reply, Status> {
        match call.method.as_str() {
            "/t/Echo" => Ok(Reply::one(&call.messages.only::<BytesMessage>().await?)),
            "/t/Stream" => {
                let (answers, reply) = Reply::many();
                tokio::spawn(async move {
                    while let Ok(Some(message)) = call.messages.next::<BytesMessage>().await {
                        answers.send(&message).await;
                    }
                    answers.fail(Status::new(Code::NotFound, "the end")).await;
                });
                Ok(reply)
            }
            "/t/Tree" => {
                let (answers, reply) = Reply::many();
                let hostile = call.metadata.contains_key("hostile");
                tokio::spawn(async move {
                    let stat = |path: &str, kind| Packet {
                        stat: Some(Stat {
                            path: path.to_owned(),
                            mode: go_mode(kind, 0o644),
                            ..Stat::default()
                        }),
                        ..Packet::default()
                    };
                    answers.send(&stat("d", FileKind::Directory)).await;
                    answers.send(&stat("d/f", FileKind::File)).await;
                    answers.send(&Packet::default()).await;
                    let data = |id, data| Packet {
                        kind: PacketType::Data.into(),
                        id,
                        data: Bytes::from_static(data),
                        ..Packet::default()
                    };
                    if hostile {
                        answers.send(&data(0, b"a directory's")).await;
                    }
                    while let Ok(Some(packet)) = call.messages.next::<Packet>().await {
                        if packet.kind == i32::from(PacketType::Fin) {
                            answers.send(&packet).await;
                            break;
                        }
                        answers.send(&data(packet.id, b"content")).await;
                        answers.send(&data(packet.id, b"")).await;
                    }
                });
                Ok(reply)
            }
            method => Err(Status::unimplemented(format!("unknown method {method}"))),
        }
    }
}

async fn channel() -> Channel {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(serve(theirs, Arc::new(Answers)));
    let (channel, life) = Channel::connect(ours).await.unwrap();
    tokio::spawn(life);
    channel
}

#[tokio::test]
async fn calls_of_every_kind() {
    let channel = channel().await;
    // More than any window.
    let big = BytesMessage { data: vec![7; 5 << 20].into() };
    assert_eq!(channel.unary::<BytesMessage>("/t/Echo", &big).await.unwrap(), big);
    let failed = channel.unary::<BytesMessage>("/t/Nothing", &big).await.unwrap_err();
    assert_eq!((failed.code, failed.message.as_str()), (Code::Unimplemented, "unknown method /t/Nothing"));
    let (requests, mut messages) = channel.stream("/t/Stream", HeaderMap::new()).unwrap();
    for text in ["one", "two"] {
        let message = BytesMessage { data: text.into() };
        assert!(requests.send(&message).await);
        assert_eq!(messages.next::<BytesMessage>().await.unwrap(), Some(message));
    }
    drop(requests);
    assert_eq!(messages.next::<BytesMessage>().await.unwrap_err().message, "the end");
}

#[tokio::test]
async fn a_directory_comes() {
    let channel = channel().await;
    let (requests, messages) = channel.stream("/t/Tree", HeaderMap::new()).unwrap();
    let (sender, mut pieces) = mpsc::channel(16);
    receive(requests, messages, sender, |_| true).await.unwrap();
    assert!(matches!(pieces.recv().await, Some(Piece::File(0, stat)) if stat.path == "d"));
    assert!(matches!(pieces.recv().await, Some(Piece::File(1, stat)) if stat.path == "d/f"));
    assert_eq!(pieces.recv().await, Some(Piece::Data(1, Bytes::from_static(b"content"))));
    assert_eq!(pieces.recv().await, Some(Piece::End(1)));
    assert_eq!(pieces.recv().await, None);
    let metadata = HeaderMap::from_iter([("hostile".parse().unwrap(), "1".parse().unwrap())]);
    let (requests, messages) = channel.stream("/t/Tree", metadata).unwrap();
    let failed = receive(requests, messages, mpsc::channel(16).0, |_| true).await.unwrap_err();
    assert!(failed.message.contains("nobody"), "{failed}");
}
