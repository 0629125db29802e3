//! What is sent: messages one after the other, and on the serving side the trailers.

use crate::Status;
use bytes::Bytes;
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// The body of a request or an answer.
pub(crate) struct Body {
    /// Sent before the rest.
    first: Option<Bytes>,
    rest: Option<mpsc::Receiver<Result<Bytes, Status>>>,
    /// How it ends: only answers say so.
    end: End,
}

enum End {
    /// Without a word.
    Silent,
    /// With trailers.
    Trailers(Option<Status>),
    Sent,
}

impl Body {
    /// A request of one message.
    pub(crate) fn request(message: Bytes) -> Self {
        Self { first: Some(message), rest: None, end: End::Silent }
    }

    /// A request of many.
    pub(crate) fn requests(messages: mpsc::Receiver<Result<Bytes, Status>>) -> Self {
        Self { first: None, rest: Some(messages), end: End::Silent }
    }

    /// An answer of one message.
    pub(crate) fn answer(message: Bytes) -> Self {
        Self { first: Some(message), rest: None, end: End::Trailers(None) }
    }

    /// An answer of many; one that is a failure ends it.
    pub(crate) fn answers(messages: mpsc::Receiver<Result<Bytes, Status>>) -> Self {
        Self { first: None, rest: Some(messages), end: End::Trailers(None) }
    }

    /// A failure.
    pub(crate) fn failure(status: Status) -> Self {
        Self { first: None, rest: None, end: End::Trailers(Some(status)) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if let Some(rest) = &mut self.rest {
            match ready!(rest.poll_recv(context)) {
                Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                Some(Err(status)) => self.end = End::Trailers(Some(status)),
                None => {}
            }
            self.rest = None;
        }
        match std::mem::replace(&mut self.end, End::Sent) {
            End::Trailers(status) => {
                Poll::Ready(Some(Ok(Frame::trailers(Status::trailers(status.as_ref())))))
            }
            End::Silent | End::Sent => Poll::Ready(None),
        }
    }
}
