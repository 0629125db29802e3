//! A connection inside of a stream of messages, as agents and shared sessions travel.

use crate::Messages;
use crate::client::Requests;
use crate::proto::session::BytesMessage;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of one message.
pub const PIECE: usize = 32 << 10;

/// Copies both ways until either side ends.
pub async fn until_one_ends<C>(connection: C, requests: Requests, mut messages: Messages)
where
    C: AsyncRead + AsyncWrite,
{
    let (mut read, mut write) = tokio::io::split(connection);
    tokio::select! {
        () = from_messages(&mut messages, &mut write) => {}
        () = to_messages(&mut read, &requests) => {}
    }
}

/// Copies both ways until both sides ended. When no more messages come, the connection is told, and what it still says
/// is passed on.
pub async fn until_both_end<C>(connection: C, requests: Requests, mut messages: Messages)
where
    C: AsyncRead + AsyncWrite,
{
    let (mut read, mut write) = tokio::io::split(connection);
    let there = async {
        from_messages(&mut messages, &mut write).await;
        // It may have ended by itself.
        let _ = write.shutdown().await;
    };
    tokio::join!(there, to_messages(&mut read, &requests));
}

async fn from_messages(messages: &mut Messages, write: &mut (impl AsyncWrite + Unpin)) {
    while let Ok(Some(message)) = messages.next::<BytesMessage>().await {
        if write.write_all(&message.data).await.is_err() {
            return;
        }
    }
}

async fn to_messages(read: &mut (impl AsyncRead + Unpin), requests: &Requests) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = read.read(&mut piece).await {
        if !requests.send(&BytesMessage { data: Bytes::copy_from_slice(&piece[..length]) }).await {
            return;
        }
    }
}
