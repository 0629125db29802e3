//! The sending side.

use crate::client::Requests;
use crate::proto::files::{Packet, PacketType, Stat};
use crate::{Code, Messages, Status};
use bytes::Bytes;
use std::io::Read;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Bytes sent at once, as fsutil does.
const PIECE: usize = 32 << 10;

/// A directory to be sent.
pub trait Tree {
    /// Its files, sorted by their paths' parts, directories before what is in them.
    fn files(&self) -> Vec<Stat>;
    /// The content of one, by its place in that list.
    fn open(&self, at: usize) -> std::io::Result<Box<dyn Read + '_>>;
}

/// Hears what the receiver asks for, until it has all: `wanted` is dropped then.
pub async fn listen(messages: &mut Messages, wanted: UnboundedSender<u32>) -> Result<(), Status> {
    while let Some(packet) = messages.next::<Packet>().await? {
        match PacketType::try_from(packet.kind) {
            // Nobody takes it when sending failed, which is said there.
            Ok(PacketType::Req) => drop(wanted.send(packet.id)),
            Ok(PacketType::Fin) => return Ok(()),
            Ok(PacketType::Err) => return Err(broken(&String::from_utf8_lossy(&packet.data))),
            _ => return Err(broken("it is out of order")),
        }
    }
    Err(broken("the receiver left before it had all"))
}

/// Sends the list of files, and those that are asked for, until nobody can ask any more. Blocks.
pub fn send_tree(
    tree: &dyn Tree,
    requests: &Requests,
    mut wanted: UnboundedReceiver<u32>,
) -> Result<(), Status> {
    let put = |packet: &Packet| match requests.blocking_send(packet) {
        true => Ok(()),
        false => Err(broken("the receiver left")),
    };
    let files = tree.files();
    let count = files.len();
    for stat in files {
        put(&Packet { kind: PacketType::Stat.into(), stat: Some(stat), ..Packet::default() })?;
    }
    put(&Packet { kind: PacketType::Stat.into(), ..Packet::default() })?;
    while let Some(id) = wanted.blocking_recv() {
        let at = id as usize;
        if at >= count {
            return Err(broken("a file was asked for that is not there"));
        }
        let unreadable = |e: std::io::Error| broken(&e.to_string());
        let mut content = tree.open(at).map_err(unreadable)?;
        loop {
            let mut piece = vec![0; PIECE];
            let length = content.read(&mut piece).map_err(unreadable)?;
            piece.truncate(length);
            // The empty one is the end.
            put(&Packet {
                kind: PacketType::Data.into(),
                id,
                data: Bytes::from(piece),
                ..Packet::default()
            })?;
            if length == 0 {
                break;
            }
        }
    }
    Ok(())
}

fn broken(why: &str) -> Status {
    Status::new(Code::Unknown, format!("send a directory: {why}"))
}
