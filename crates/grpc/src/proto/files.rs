//! `fsutil/types`: a directory on its way over a stream.

use prost::Message;
use std::collections::BTreeMap;

/// One piece of the conversation.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Packet {
    /// What it is.
    #[prost(enumeration = "PacketType", tag = "1")]
    pub kind: i32,
    /// A file's description; none ends the list of them.
    #[prost(message, optional, tag = "2")]
    pub stat: Option<Stat>,
    /// Which of the files, counted from 0 as they were described.
    #[prost(uint32, tag = "3")]
    pub id: u32,
    /// Content; none ends the file. The reason of a failure.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: bytes::Bytes,
}

/// Kinds of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum PacketType {
    /// A file is described.
    Stat = 0,
    /// A file's content is asked for.
    Req = 1,
    /// Content.
    Data = 2,
    /// All is there; and the answer to it.
    Fin = 3,
    /// A failure.
    Err = 4,
}

/// A file.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Stat {
    /// Below the root, without a slash before it.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Permissions and kind, in the bits of Go's `fs.FileMode`.
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    /// Its owner.
    #[prost(uint32, tag = "3")]
    pub uid: u32,
    /// Its group.
    #[prost(uint32, tag = "4")]
    pub gid: u32,
    /// Bytes of it.
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub modified_ns: i64,
    /// A link's target; of a plain file the path of the one it is another name of.
    #[prost(string, tag = "7")]
    pub linkname: String,
    /// A device's number.
    #[prost(int64, tag = "8")]
    pub device_major: i64,
    /// The rest of it.
    #[prost(int64, tag = "9")]
    pub device_minor: i64,
    /// Extended attributes.
    #[prost(btree_map = "string, bytes", tag = "10")]
    pub xattrs: BTreeMap<String, Vec<u8>>,
}
