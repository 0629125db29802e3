//! The body of a request. What a refusal leaves unread is read all the same, up to a bound: a client that is still
//! sending when the connection is closed sees a broken connection in place of the answer.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use wharf_oci::manifest::MAX_MANIFEST_SIZE;

/// Bytes that are read for nothing: those of the largest manifest, as who has no token yet may begin with one. A client
/// with more loses its connection.
const MAX_UNWANTED: u64 = MAX_MANIFEST_SIZE;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body of a request, as it comes.
pub(super) struct RequestBody(Option<Incoming>);

/// A request.
pub(super) type Request = http::Request<RequestBody>;

/// A request whose body is read to its end whatever comes of it.
pub(super) fn request(request: http::Request<Incoming>) -> Request {
    request.map(|body| RequestBody(Some(body)))
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let unread = self.0.take().filter(|body| !body.is_end_stream());
        // More than will be read is not begun with.
        let unread = unread.filter(|body| body.size_hint().lower() <= MAX_UNWANTED);
        if let (Some(body), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(PATIENCE, drain(body)));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut left = MAX_UNWANTED;
    while let Some(Ok(frame)) = body.frame().await {
        let size = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(size as u64) {
            Some(less) => left = less,
            None => return,
        }
    }
}
