//! The receiving side.

use super::{FileKind, parse_mode};
use crate::client::Requests;
use crate::proto::files::{Packet, PacketType, Stat};
use crate::{Code, Messages, Status};
use bytes::Bytes;
use std::collections::{HashSet, VecDeque};
use tokio::sync::mpsc;

/// Files asked for at once. The sender stops to read what it is asked when 128 wait for it, and both would wait then.
const AT_ONCE: usize = 64;
/// Files a directory may have, as many as a layer.
const MAX_FILES: u32 = 1_000_000;

/// What comes.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A file, with the number its content comes under.
    File(u32, Stat),
    /// A part of its content.
    Data(u32, Bytes),
    /// The end of its content.
    End(u32),
}

/// Receives a directory. Files with content are asked for as they are named; the pieces come in the sender's order, those of
/// several files mixed. Files that are not `wanted` come without their content. Names are the sender's: nothing is checked here
/// but their number.
pub async fn receive(
    requests: Requests,
    mut messages: Messages,
    pieces: mpsc::Sender<Piece>,
    is_wanted: impl Fn(&Stat) -> bool + Send,
) -> Result<(), Status> {
    let (mut named, mut all_named) = (0, false);
    let mut wanted = VecDeque::new();
    let mut coming = HashSet::new();
    loop {
        while coming.len() < AT_ONCE
            && let Some(id) = wanted.pop_front()
        {
            coming.insert(id);
            ask(&requests, PacketType::Req, id).await?;
        }
        if all_named && coming.is_empty() {
            break;
        }
        let packet: Packet = messages.next().await?.ok_or_else(|| broken("it ended before its end"))?;
        let piece = match PacketType::try_from(packet.kind) {
            Ok(PacketType::Stat) => match packet.stat {
                None => {
                    all_named = true;
                    continue;
                }
                Some(_) if named == MAX_FILES || all_named => {
                    return Err(broken(&format!("there are more than {MAX_FILES} files in it")));
                }
                Some(stat) => {
                    let id = named;
                    named += 1;
                    // Another name of a file has no content of its own.
                    let has_content = parse_mode(stat.mode).0 == FileKind::File && stat.linkname.is_empty();
                    if has_content && is_wanted(&stat) {
                        wanted.push_back(id);
                    }
                    Piece::File(id, stat)
                }
            },
            Ok(PacketType::Data) if !coming.contains(&packet.id) => {
                return Err(broken("content came that nobody asked for"));
            }
            Ok(PacketType::Data) if packet.data.is_empty() => {
                coming.remove(&packet.id);
                Piece::End(packet.id)
            }
            Ok(PacketType::Data) => Piece::Data(packet.id, packet.data),
            Ok(PacketType::Err) => return Err(broken(&String::from_utf8_lossy(&packet.data))),
            Ok(PacketType::Fin | PacketType::Req) | Err(_) => return Err(broken("it is out of order")),
        };
        pieces.send(piece).await.map_err(|_| broken("nobody takes it"))?;
    }
    ask(&requests, PacketType::Fin, 0).await?;
    drop(requests);
    // Its own FIN, and the end.
    while messages.next::<Packet>().await?.is_some() {}
    Ok(())
}

async fn ask(requests: &Requests, kind: PacketType, id: u32) -> Result<(), Status> {
    let packet = Packet { kind: kind.into(), id, ..Packet::default() };
    match requests.send(&packet).await {
        true => Ok(()),
        false => Err(broken("the sender left")),
    }
}

fn broken(why: &str) -> Status {
    Status::new(Code::Unknown, format!("receive a directory: {why}"))
}
