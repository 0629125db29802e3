//! The builds under way, which several connections and calls of one client speak about.

use crate::progress::Progress;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use wharf_engine::images::Image;
use wharf_grpc::{Code, Status};

/// How long a call waits for its build to be there: both are sent at once.
const ARRIVAL: Duration = Duration::from_secs(5);
/// Builds that are remembered after their end, for a client that asks for news late.
const FINISHED: usize = 16;
/// Bytes that such a one may have printed: who printed more took so long that its client asked meanwhile.
const MAX_FINISHED_LOG: usize = 256 << 10;

/// What came of a build, or a part of one.
#[derive(Clone)]
pub(crate) enum Outcome {
    /// An image.
    Image(Arc<Image>),
    /// Nothing to export: an answer to a question, or nothing at all.
    Nothing,
}

/// One build.
pub(crate) struct Build {
    /// Its client's session.
    pub(crate) session: String,
    /// What it may.
    pub(crate) entitlements: Vec<String>,
    pub(crate) progress: Progress,
    results: Mutex<BTreeMap<String, Outcome>>,
    returned: Mutex<Option<oneshot::Sender<Result<Outcome, Status>>>>,
    ended: CancellationToken,
}

impl Build {
    /// A build, and where the result that its client chooses will come.
    pub(crate) fn new(
        name: &str,
        session: String,
        entitlements: Vec<String>,
    ) -> (Arc<Self>, oneshot::Receiver<Result<Outcome, Status>>) {
        let (sender, receiver) = oneshot::channel();
        let build = Self {
            session,
            entitlements,
            progress: Progress::new(name),
            results: Mutex::default(),
            returned: Mutex::new(Some(sender)),
            ended: CancellationToken::new(),
        };
        (Arc::new(build), receiver)
    }

    fn results(&self) -> MutexGuard<'_, BTreeMap<String, Outcome>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a result; returns its name.
    pub(crate) fn keep(&self, outcome: Outcome) -> String {
        let mut results = self.results();
        let name = format!("r{}", results.len() + 1);
        results.insert(name.clone(), outcome);
        name
    }

    /// The result of a name.
    pub(crate) fn result(&self, name: &str) -> Result<Outcome, Status> {
        let unknown = || Status::new(Code::NotFound, format!("no such ref: {name}"));
        self.results().get(name).cloned().ok_or_else(unknown)
    }

    /// The client chooses a result, once.
    pub(crate) fn give_back(&self, result: Result<Outcome, Status>) {
        let sender = self.returned.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever asked for the build may have left.
        let _ = sender.map(|sender| sender.send(result));
    }

    /// Waits for the end of whoever asked for the build.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// All builds. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Builds(Arc<Inner>);

#[derive(Default)]
struct Inner {
    table: Mutex<Table>,
    arrived: Notify,
}

#[derive(Default)]
struct Table {
    builds: BTreeMap<String, Arc<Build>>,
    finished: VecDeque<String>,
}

/// Ends a build in the table when whoever asked for it is done, or left.
pub(crate) struct Entered {
    builds: Builds,
    name: String,
    build: Arc<Build>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.build.progress.close();
        self.build.ended.cancel();
        let mut table = self.builds.table();
        if self.build.progress.printed() > MAX_FINISHED_LOG {
            table.builds.remove(&self.name);
            return;
        }
        table.finished.push_back(self.name.clone());
        while table.finished.len() > FINISHED {
            if let Some(name) = table.finished.pop_front() {
                table.builds.remove(&name);
            }
        }
    }
}

impl Builds {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a build.
    pub(crate) fn enter(&self, name: &str, build: &Arc<Build>) -> Result<Entered, Status> {
        {
            let mut table = self.table();
            if table.builds.contains_key(name) {
                return Err(Status::new(Code::AlreadyExists, format!("job ID {name} exists")));
            }
            table.builds.insert(name.to_owned(), Arc::clone(build));
        }
        self.0.arrived.notify_waiters();
        Ok(Entered { builds: self.clone(), name: name.to_owned(), build: Arc::clone(build) })
    }

    /// The build of a name, which may be on its way.
    pub(crate) async fn find(&self, name: &str) -> Result<Arc<Build>, Status> {
        let look = async {
            loop {
                let arrived = self.0.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                if let Some(build) = self.table().builds.get(name) {
                    return Arc::clone(build);
                }
                arrived.await;
            }
        };
        tokio::time::timeout(ARRIVAL, look)
            .await
            .map_err(|_| Status::new(Code::NotFound, format!("no such job {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_build_is_found_when_it_comes_and_a_while_after() {
        let builds = Builds::default();
        let waiting = tokio::spawn({
            let builds = builds.clone();
            async move { builds.find("b").await.is_ok() }
        });
        tokio::task::yield_now().await;
        let (build, returned) = Build::new("b", String::new(), Vec::new());
        let entered = builds.enter("b", &build).unwrap();
        assert!(waiting.await.unwrap());
        assert!(builds.enter("b", &build).is_err());
        let name = build.keep(Outcome::Nothing);
        assert!(build.result(&name).is_ok() && build.result("r9").is_err());
        build.give_back(Err(Status::invalid("no")));
        build.give_back(Ok(Outcome::Nothing));
        assert!(returned.await.unwrap().is_err());
        drop(entered);
        build.ended().await;
        assert!(builds.find("b").await.is_ok());
        for number in 0..FINISHED {
            let name = format!("n{number}");
            drop(builds.enter(&name, &Build::new(&name, String::new(), Vec::new()).0).unwrap());
        }
        assert!(!builds.table().builds.contains_key("b"));
    }
}
