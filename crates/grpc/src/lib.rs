//! gRPC over one connection, both sides of it, and BuildKit's messages.
//!
//! ```text
//! POST /grpc      the user's program calls, the engine serves      server::serve
//! POST /session   the engine calls, the user's program serves      client::Channel
//! ```
//!
//! Both are HTTP/2 on a connection that was HTTP/1.1 before (Upgrade: h2c). Messages are not compressed: no client does.
#![forbid(unsafe_code)]

mod body;
pub mod client;
pub mod fsutil;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod messages;
pub mod proto;
pub mod relay;
pub mod server;
mod status;

pub use bytes::Bytes;
pub use http::HeaderMap;
pub use messages::Messages;
pub use prost::Message;
pub use status::{Code, Status};

/// Bytes a message may have, as in BuildKit: what comes is held in memory.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Bytes of one stream that may be under way. The default of 64 KiB is one round trip for each four messages of a context.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same of all streams of a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Streams a connection may have at once: a build has about ten, and `bake` builds some dozen images over one.
const MAX_STREAMS: u32 = 1024;
/// Bytes of metadata of a call: patterns of `.dockerignore` travel there.
const MAX_METADATA: u32 = 16 << 20;

/// One message with its head: not compressed, and the length.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(5 + length);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    // A vector has room for everything.
    let _ = message.encode(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests;
