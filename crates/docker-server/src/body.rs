//! Request bodies: as blocking readers, and read to their end whatever of them was wanted.

use axum::body::{Body, Bytes};
use futures_util::TryStreamExt;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_util::io::{StreamReader, SyncIoBridge};

/// What is read of a body whose reader had enough: archives are padded, and a client that is cut off while it writes
/// does not look at the answer.
const RUN_OUT: u64 = 64 << 20;

/// How long a client may take for that.
const RUN_OUT_LIMIT: Duration = Duration::from_secs(10);

/// A body of which the rest is read when nobody wants it: an answer that comes before the end of a request would else
/// close the connection under a client that is still writing, which then sees no answer.
pub(crate) struct RunOut<B: HttpBody<Data = Bytes> + Unpin + Send + 'static>(Option<B>);

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> RunOut<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> HttpBody for RunOut<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin + Send + 'static> Drop for RunOut<B> {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let rest = async move {
            let mut left = RUN_OUT;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
                if left == 0 {
                    break;
                }
            }
        };
        // A client that does not come to an end is cut off after all.
        runtime.spawn(tokio::time::timeout(RUN_OUT_LIMIT, rest));
    }
}

/// A body as a reader for a blocking thread.
pub(crate) fn reader(body: Body) -> impl Read + Send + 'static {
    let stream = StreamReader::new(TryStreamExt::map_err(body.into_data_stream(), io::Error::other));
    ReadOut(SyncIoBridge::new(Box::pin(stream)))
}

struct ReadOut<R: Read>(R);

impl<R: Read> Read for ReadOut<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Drop for ReadOut<R> {
    fn drop(&mut self) {
        // A client that is gone needs nothing more.
        let _ = io::copy(&mut (&mut self.0).take(RUN_OUT), &mut io::sink());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rest_of_a_body_is_read() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Vec<u8>>>(1);
        let pieces = futures_util::stream::unfold(receiver, |mut r| async { r.recv().await.map(|p| (p, r)) });
        let body = Body::from_stream(pieces);
        let first = tokio::task::spawn_blocking(move || {
            let mut first = [0];
            reader(body).read(&mut first).map(|_| first[0])
        });
        for number in 0..100u8 {
            sender.send(Ok(vec![number; 1000])).await.expect("somebody reads");
        }
        drop(sender);
        assert_eq!(first.await.unwrap().unwrap(), 0);
    }
}
