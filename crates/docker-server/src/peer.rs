//! The other side of a connection, and whether it has left while it is sent something.
//!
//! A client that left is else only noticed when something is written to it, which for a quiet log may be never. As with
//! Docker, one that ends its own side of the connection has left, where an answer goes on until somebody leaves.

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use futures_util::{Stream, StreamExt};
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The connection of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer(Option<Arc<OwnedFd>>);

impl Peer {
    /// Without a descriptor to spare nobody is ever seen to leave.
    pub(crate) fn of(stream: &impl AsFd) -> Self {
        Self(stream.as_fd().try_clone_to_owned().ok().map(Arc::new))
    }

    /// Waits until the client has left.
    pub(crate) async fn left(self) {
        let Some(watched) = self.0.and_then(|fd| watch(&fd).ok()) else {
            return std::future::pending().await;
        };
        while let Ok(ready) = watched.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                return;
            }
            // A further request waits there. That it is to be waited for again is said by this error.
            let _ = watched.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }

    /// A body that ends when the client has left.
    pub(crate) fn body<S, B, E>(self, stream: S) -> Body
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes> + 'static,
        E: Into<axum::BoxError> + 'static,
    {
        Body::from_stream(stream.take_until(self.left()))
    }
}

/// The connection once more, to be waited on and never read. What kind of stream socket it is makes no difference.
fn watch(connection: &OwnedFd) -> io::Result<UnixStream> {
    UnixStream::from_std(std::os::unix::net::UnixStream::from(connection.try_clone()?))
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn a_quiet_body_ends_with_its_client() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let quiet = futures_util::stream::pending::<Result<Bytes, Infallible>>();
        let body = Peer::of(&ours).body(quiet);
        theirs.write_all(b"a further request").await.unwrap();
        let ended = tokio::spawn(axum::body::to_bytes(body, 1));
        tokio::task::yield_now().await;
        assert!(!ended.is_finished());
        drop(theirs);
        assert!(ended.await.unwrap().unwrap().is_empty());
    }
}
