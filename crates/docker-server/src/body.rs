//! Request bodies as blocking readers.

use axum::body::Body;
use futures_util::TryStreamExt;
use std::io::{self, Read};
use tokio_util::io::{StreamReader, SyncIoBridge};

/// What is read of a body whose reader had enough: archives are padded, and a client that is cut off while it writes
/// does not look at the answer.
const RUN_OUT: u64 = 64 << 20;

/// A body as a reader for a blocking thread.
pub(crate) fn reader(body: Body) -> impl Read + Send + 'static {
    let stream = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    RunOut(SyncIoBridge::new(Box::pin(stream)))
}

struct RunOut<R: Read>(R);

impl<R: Read> Read for RunOut<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Drop for RunOut<R> {
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
