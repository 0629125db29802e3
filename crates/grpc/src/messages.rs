//! What is received: messages one after the other, out of a body that comes in pieces of any size.

use crate::{Code, MAX_MESSAGE, Status};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message;

/// The messages that the other side sends.
pub struct Messages {
    source: Source,
    buffer: BytesMut,
    /// The trailers say how it ended: so on the calling side.
    ends_with_status: bool,
}

/// The response to a call, which may come long after the call's first messages were taken.
pub(crate) type Head = BoxFuture<'static, hyper::Result<Response<Incoming>>>;

enum Source {
    Head(Head),
    Body(Incoming),
    Ended,
}

impl Messages {
    /// What a caller sends.
    pub(crate) fn of_request(body: Incoming) -> Self {
        Self { source: Source::Body(body), buffer: BytesMut::new(), ends_with_status: false }
    }

    /// What is answered.
    pub(crate) fn of_answer(head: Head) -> Self {
        Self { source: Source::Head(head), buffer: BytesMut::new(), ends_with_status: true }
    }

    /// The next message; `None` at the end.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        let Some(bytes) = self.next_bytes().await? else { return Ok(None) };
        M::decode(bytes).map(Some).map_err(|e| Status::invalid(format!("a message is not readable: {e}")))
    }

    /// The only message.
    pub async fn only<M: Message + Default>(&mut self) -> Result<M, Status> {
        let message = self.next().await?;
        let message = message.ok_or_else(|| Status::invalid("a message is missing"))?;
        match self.next_bytes().await? {
            None => Ok(message),
            Some(_) => Err(Status::invalid("one message is expected, and there are more")),
        }
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = take(&mut self.buffer)? {
                return Ok(Some(message));
            }
            match &mut self.source {
                Source::Ended => return Ok(None),
                Source::Head(head) => {
                    let response = head.await;
                    self.source = Source::Ended;
                    self.begin(response.map_err(|e| Status::gone(&e))?)?;
                }
                Source::Body(body) => match body.frame().await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.buffer.extend_from_slice(&data),
                        Err(frame) => self.end(&frame.into_trailers().unwrap_or_default())?,
                    },
                    Some(Err(e)) => {
                        self.source = Source::Ended;
                        return Err(Status::gone(&e));
                    }
                    None => self.end(&HeaderMap::new())?,
                },
            }
        }
    }

    fn begin(&mut self, response: Response<Incoming>) -> Result<(), Status> {
        // A failure without messages is told in the head.
        if let Some(status) = Status::of_trailers(response.headers()) {
            return status;
        }
        if response.status() != StatusCode::OK {
            return Err(Status::unimplemented(format!("the answer is {}", response.status())));
        }
        self.source = Source::Body(response.into_body());
        Ok(())
    }

    fn end(&mut self, trailers: &HeaderMap) -> Result<(), Status> {
        self.source = Source::Ended;
        if self.ends_with_status {
            let missing = || Err(Status::new(Code::Internal, "the answer ended without a status"));
            Status::of_trailers(trailers).unwrap_or_else(missing)?;
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        Err(Status::invalid("the last message is cut off"))
    }
}

/// Takes one message off what has come, if it is whole.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some(head) = buffer.first_chunk::<5>() else { return Ok(None) };
    if head[0] != 0 {
        return Err(Status::unimplemented("compressed messages are not supported"));
    }
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > MAX_MESSAGE {
        let message = format!("a message of {length} bytes is longer than the {MAX_MESSAGE} there may be");
        return Err(Status::new(Code::ResourceExhausted, message));
    }
    if buffer.len() < 5 + length {
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some(buffer.split_to(length).freeze()))
}
