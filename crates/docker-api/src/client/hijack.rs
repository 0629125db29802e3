//! A connection taken over for attach and exec: bytes in both directions.

use super::Error;
use http::Response;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{ReadHalf, WriteHalf};

/// Both directions of a taken-over connection.
#[derive(Debug)]
pub struct Hijacked {
    /// Whether what is read is multiplexed (see [`super::Demux`]), as it is without a terminal.
    pub multiplexed: bool,
    /// What the container writes.
    pub reader: ReadHalf<TokioIo<Upgraded>>,
    /// What the container reads. `shutdown` ends its standard input and keeps the other direction.
    pub writer: WriteHalf<TokioIo<Upgraded>>,
}

impl Hijacked {
    pub(super) async fn from_response(response: Response<Incoming>) -> Result<Self, Error> {
        let multiplexed = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes() == b"application/vnd.docker.multiplexed-stream");
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|e| Error::Protocol(format!("take over the connection: {e}")))?;
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        Ok(Self { multiplexed, reader, writer })
    }
}
