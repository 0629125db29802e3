//! A connection inside of a stream of messages.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wharf_grpc::Messages;
use wharf_grpc::proto::session::BytesMessage;
use wharf_grpc::server::Answers;

/// Bytes of one message.
pub(crate) const PIECE: usize = 32 << 10;

/// Copies both ways until either side ends.
pub(crate) async fn relay(connection: DuplexStream, mut messages: Messages, answers: Answers) {
    let (mut read, mut write) = tokio::io::split(connection);
    let there = async {
        while let Ok(Some(message)) = messages.next::<BytesMessage>().await {
            if write.write_all(&message.data).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = read.read(&mut piece).await {
            if !answers.send(&BytesMessage { data: Bytes::copy_from_slice(&piece[..length]) }).await {
                break;
            }
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
}
