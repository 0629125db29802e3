//! News of a build as its clients read them: steps with their beginnings, ends, output and bars.

use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use wharf_grpc::Status;
use wharf_grpc::proto::control::{StatusResponse, Vertex, VertexLog, VertexStatus};
use wharf_grpc::proto::ops::Timestamp;
use wharf_oci::digest::Digest;

/// Bytes that one step may print, as in BuildKit: they are kept as long as the build.
const MAX_STEP_LOG: usize = 2 << 20;
/// Bytes that all may, since steps may be many.
const MAX_LOG: usize = 64 << 20;
/// What is said of the rest.
const CLIPPED: &str = "[output clipped, log limit 2MiB reached]\n";
/// How often a bar moves at most: more than a person sees, and all of it is kept as long as the build.
const BAR_PERIOD: Duration = Duration::from_millis(100);
/// News that go into one message: what has gathered since the last.
const AT_ONCE: usize = 256;

/// The news of one build. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Inner>);

struct Inner {
    /// Makes the names of steps different from those of other builds.
    build: String,
    log: Mutex<Log>,
    changed: Notify,
}

#[derive(Default)]
struct Log {
    news: Vec<News>,
    steps: usize,
    bytes: usize,
    closed: bool,
}

#[derive(Clone)]
enum News {
    Vertex(Vertex),
    Status(VertexStatus),
    Output(VertexLog),
}

impl Progress {
    pub(crate) fn new(build: &str) -> Self {
        let inner =
            Inner { build: build.to_owned(), log: Mutex::new(Log::default()), changed: Notify::new() };
        Self(Arc::new(inner))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, news: News) {
        self.log().news.push(news);
        self.0.changed.notify_waiters();
    }

    /// Bytes that its steps have printed.
    pub(crate) fn printed(&self) -> usize {
        self.log().bytes
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.log().closed = true;
        self.0.changed.notify_waiters();
    }

    /// A step begins.
    pub(crate) fn step(&self, name: impl Into<String>) -> Step {
        let number = {
            let mut log = self.log();
            log.steps += 1;
            log.steps
        };
        let digest = Digest::sha256(format!("{} {number}", self.0.build).as_bytes()).to_string();
        let vertex =
            Vertex { digest, name: name.into(), started: Some(Timestamp::now()), ..Vertex::default() };
        self.add(News::Vertex(vertex.clone()));
        Step { progress: self.clone(), vertex, printed: 0, cached: false, open: true }
    }

    /// What came after the first `from`, and how far that is; `None` when there will be no more.
    pub(crate) async fn after(&self, from: usize) -> Option<(StatusResponse, usize)> {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let log = self.log();
                let until = log.news.len().min(from + AT_ONCE);
                if from < until {
                    return Some((merged(&log.news[from..until]), until));
                }
                if log.closed {
                    return None;
                }
            }
            changed.await;
        }
    }
}

fn merged(news: &[News]) -> StatusResponse {
    let mut response = StatusResponse::default();
    for one in news.iter().cloned() {
        match one {
            News::Vertex(vertex) => response.vertexes.push(vertex),
            News::Status(status) => response.statuses.push(status),
            News::Output(log) => response.logs.push(log),
        }
    }
    response
}

/// A step under way. One that is dropped was given up.
pub(crate) struct Step {
    progress: Progress,
    vertex: Vertex,
    printed: usize,
    cached: bool,
    open: bool,
}

impl Step {
    /// It need not be done.
    pub(crate) fn cached(&mut self) {
        self.cached = true;
    }

    /// It prints to standard output (1) or standard error (2).
    pub(crate) fn print(&mut self, stream: i64, text: impl Into<Bytes>) {
        let mut text: Bytes = text.into();
        let all = self.progress.log().bytes;
        let room = (MAX_STEP_LOG - self.printed).min(MAX_LOG.saturating_sub(all));
        if room == 0 || text.is_empty() {
            return;
        }
        text.truncate(room);
        self.printed += text.len();
        self.progress.log().bytes += text.len();
        let is_last = text.len() == room;
        self.say(stream, text);
        if is_last {
            self.printed = MAX_STEP_LOG;
            self.say(2, Bytes::from_static(CLIPPED.as_bytes()));
        }
    }

    fn say(&self, stream: i64, msg: Bytes) {
        let timestamp = Some(Timestamp::now());
        let log = VertexLog { vertex: self.vertex.digest.clone(), timestamp, stream, msg };
        self.progress.add(News::Output(log));
    }

    /// A part of it begins.
    pub(crate) fn part(&self, id: impl Into<String>) -> Part {
        self.parts().part(id)
    }

    /// Makes parts apart from the step.
    pub(crate) fn parts(&self) -> Parts {
        Parts { progress: self.progress.clone(), vertex: self.vertex.digest.clone() }
    }

    /// It came to its good end.
    pub(crate) fn done(mut self) {
        self.end(String::new());
    }

    /// It came to this end.
    pub(crate) fn ended<T>(self, result: Result<T, Status>) -> Result<T, Status> {
        match &result {
            Ok(_) => self.done(),
            Err(why) => self.failed(&why.message),
        }
        result
    }

    /// It failed.
    pub(crate) fn failed(mut self, why: impl Into<String>) {
        self.end(why.into());
    }

    fn end(&mut self, error: String) {
        self.open = false;
        self.vertex.completed = Some(Timestamp::now());
        self.vertex.cached = self.cached;
        self.vertex.error = error;
        self.progress.add(News::Vertex(self.vertex.clone()));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.open {
            self.end("context canceled".to_owned());
        }
    }
}

/// Makes parts of a step.
pub(crate) struct Parts {
    progress: Progress,
    vertex: String,
}

impl Parts {
    /// A part begins; clients hear of it when it says how far it is, or ends.
    pub(crate) fn part(&self, id: impl Into<String>) -> Part {
        let id = id.into();
        Part {
            progress: self.progress.clone(),
            moved: None,
            status: VertexStatus {
                id: id.clone(),
                name: id,
                vertex: self.vertex.clone(),
                started: Some(Timestamp::now()),
                ..VertexStatus::default()
            },
        }
    }
}

/// A part of a step, with a bar when it says how far it is.
#[derive(Clone)]
pub(crate) struct Part {
    progress: Progress,
    moved: Option<Instant>,
    status: VertexStatus,
}

impl Part {
    fn tell(&self) {
        let status = VertexStatus { timestamp: Some(Timestamp::now()), ..self.status.clone() };
        self.progress.add(News::Status(status));
    }

    /// It is so far.
    pub(crate) fn at(&mut self, current: u64, total: u64) {
        self.status.current = current.cast_signed();
        self.status.total = total.cast_signed();
        if self.moved.is_none_or(|moved| moved.elapsed() >= BAR_PERIOD) {
            self.moved = Some(Instant::now());
            self.tell();
        }
    }

    /// It is done.
    pub(crate) fn done(mut self) {
        self.status.completed = Some(Timestamp::now());
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_come_in_order_and_to_an_end() {
        let progress = Progress::new("b");
        let mut step = progress.step("[1/1] RUN x");
        step.print(1, "text\n");
        let (first, at) = progress.after(0).await.unwrap();
        assert_eq!((first.vertexes.len(), first.logs.len(), at), (1, 1, 2));
        step.failed("why");
        drop(progress.step("given up"));
        progress.close();
        let (rest, at) = progress.after(at).await.unwrap();
        let errors: Vec<&str> = rest.vertexes.iter().map(|v| v.error.as_str()).collect();
        assert_eq!(errors, ["why", "", "context canceled"]);
        assert!(progress.after(at).await.is_none());
    }

    #[tokio::test]
    async fn bars_move_as_fast_as_people_see() {
        let progress = Progress::new("b");
        let mut part = progress.step("s").part("transferring:");
        (0..1000).for_each(|at| part.at(at, 1000));
        part.at(1000, 1000);
        part.done();
        let (news, _) = progress.after(0).await.unwrap();
        let last = news.statuses.last().unwrap();
        assert!(news.statuses.len() < 10 && last.current == 1000 && last.completed.is_some());
    }

    #[tokio::test]
    async fn output_has_a_bound() {
        let progress = Progress::new("b");
        let mut step = progress.step("s");
        for _ in 0..5 {
            step.print(1, vec![b'x'; 1 << 20]);
        }
        let (news, _) = progress.after(0).await.unwrap();
        assert_eq!(news.logs.iter().map(|l| l.msg.len()).sum::<usize>(), MAX_STEP_LOG + CLIPPED.len());
    }
}
