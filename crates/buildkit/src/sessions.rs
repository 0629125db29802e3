//! Sessions: what the programs of users offer to their builds while these run.

use crate::caller::Caller;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use wharf_grpc::client::Channel;
use wharf_grpc::{Code, HeaderMap, Status};

/// How long a build waits for its session: they come over two connections, in any order.
const ARRIVAL: Duration = Duration::from_secs(5);
/// Sessions at once, far beyond what people do; each is a connection.
const MOST: usize = 1024;
/// Bytes of a session's name, and methods it may offer: what is remembered of each.
const MAX_NAME: usize = 256;
const MAX_METHODS: usize = 256;

const ID: &str = "X-Docker-Expose-Session-Uuid";
const SHARED_KEY: &str = "X-Docker-Expose-Session-Sharedkey";
const METHOD: &str = "X-Docker-Expose-Session-Grpc-Method";

/// What a session says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its name.
    pub id: String,
    /// What it offers, in lower case.
    pub methods: BTreeSet<String>,
    /// What its client calls the directory that it builds, on this machine and each time.
    pub shared_key: String,
}

impl Hello {
    /// Reads the headers of `POST /session`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(headers: &HeaderMap) -> Result<Self, String> {
        let id = headers.get(ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        if id.is_empty() || id.len() > MAX_NAME {
            return Err(format!("{ID} has to name the session in at most {MAX_NAME} bytes"));
        }
        let methods = headers.get_all(METHOD).into_iter().filter_map(|value| value.to_str().ok());
        let methods: BTreeSet<String> =
            methods.take(MAX_METHODS).map(|name| name.to_ascii_lowercase()).collect();
        let key = headers.get(SHARED_KEY).and_then(|key| key.to_str().ok());
        let shared_key = key.filter(|key| key.len() <= MAX_NAME).unwrap_or_default().to_owned();
        Ok(Self { id: id.to_owned(), methods, shared_key })
    }
}

/// All sessions. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Mutex<BTreeMap<String, Arc<Caller>>>,
    arrived: Notify,
}

/// Takes a session out when its connection is over.
struct Registered<'a>(&'a Sessions, &'a str);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.open().remove(self.1);
    }
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Caller>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session of this name may come.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, hello: &Hello) -> Result<(), String> {
        match self.open() {
            open if open.contains_key(&hello.id) => Err(format!("session {} already exists", hello.id)),
            open if open.len() >= MOST => Err(format!("there are {MOST} sessions already")),
            _ => Ok(()),
        }
    }

    /// Has a session, on a connection whose other side serves, until that is closed.
    pub async fn run<C>(&self, hello: Hello, connection: C) -> Result<(), Status>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (channel, life) = Channel::connect(connection).await?;
        let id = hello.id.clone();
        let caller = Arc::new(Caller::new(channel, hello.methods, hello.shared_key));
        let _registered = {
            let mut open = self.open();
            if open.contains_key(&id) || open.len() >= MOST {
                return Err(Status::new(Code::AlreadyExists, format!("session {id} already exists")));
            }
            open.insert(id.clone(), caller);
            Registered(self, &id)
        };
        self.0.arrived.notify_waiters();
        life.await
    }

    /// The session of a name, which may be on its way.
    pub(crate) async fn find(&self, id: &str) -> Result<Arc<Caller>, Status> {
        let look = async {
            loop {
                let arrived = self.0.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                if let Some(caller) = self.open().get(id) {
                    return Arc::clone(caller);
                }
                arrived.await;
            }
        };
        tokio::time::timeout(ARRIVAL, look)
            .await
            .map_err(|_| Status::new(Code::NotFound, format!("no active session for {id}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let mut headers = HeaderMap::new();
        assert!(Hello::parse(&headers).is_err());
        headers.insert(ID, "s1".parse().unwrap());
        headers.append(METHOD, "/a.B/C".parse().unwrap());
        headers.append(METHOD, "/a.B/D".parse().unwrap());
        let hello = Hello::parse(&headers).unwrap();
        assert_eq!(hello.methods, BTreeSet::from(["/a.b/c".to_owned(), "/a.b/d".to_owned()]));
        headers.insert(ID, "s".repeat(300).parse().unwrap());
        assert!(Hello::parse(&headers).is_err());
    }

    #[tokio::test]
    async fn a_session_is_found_while_it_is_there() {
        let sessions = Sessions::default();
        let hello = Hello { id: "s".to_owned(), methods: BTreeSet::new(), shared_key: String::new() };
        let waiting = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.find("s").await.is_ok() }
        });
        let (ours, theirs) = tokio::io::duplex(4096);
        let running = tokio::spawn({
            let (sessions, hello) = (sessions.clone(), hello.clone());
            async move { sessions.run(hello, ours).await }
        });
        assert!(waiting.await.unwrap());
        assert!(sessions.admit(&hello).is_err());
        drop(theirs);
        // How it ended does not matter.
        let _ = running.await.unwrap();
        assert!(sessions.admit(&hello).is_ok());
    }
}
