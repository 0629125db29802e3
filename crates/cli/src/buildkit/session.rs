//! What the engine may ask of us while it builds.

use super::directory::Directory;
use super::output::Output;
use crate::config::ConfigFile;
use crate::failure::Failure;
use crate::image_ref::DEFAULT_SERVER;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;
use wharf_grpc::fsutil::{listen, send_tree};
use wharf_grpc::proto::session::{
    CHECK_AGENT, CREDENTIALS, CheckAgentRequest, CredentialsRequest, CredentialsResponse, Empty, FILE_SEND,
    FILE_SYNC, FORWARD_AGENT, GET_SECRET, GetSecretRequest, GetSecretResponse, Health,
};
use wharf_grpc::server::{Call, Reply, Service};
use wharf_grpc::{Code, HeaderMap, Status, relay};

/// Whether we are well.
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// What is offered.
pub(super) const METHODS: [&str; 7] =
    [CREDENTIALS, FILE_SYNC, FILE_SEND, GET_SECRET, CHECK_AGENT, FORWARD_AGENT, HEALTH];
/// Bytes of a secret, as the builder takes them.
const MAX_SECRET: u64 = 500 << 10;

/// Where a secret is; it is read when it is asked for.
#[derive(Debug, Clone)]
pub(crate) enum Secret {
    /// A file.
    File(PathBuf),
    /// A variable of ours.
    Variable(String),
}

/// The socket of an SSH agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent(PathBuf);

impl Agent {
    /// `default`, `id` or `id=socket`, as `--ssh` has it; its name and where it is.
    pub(crate) fn parse(text: &str) -> Result<(String, Self), Failure> {
        let (id, path) = text.split_once('=').unwrap_or((text, ""));
        let id = if id.is_empty() { "default" } else { id };
        let path = match path {
            "" => std::env::var("SSH_AUTH_SOCK").unwrap_or_default(),
            path => path.to_owned(),
        };
        if path.is_empty() {
            return Err(Failure::new(format!(
                "invalid empty ssh agent socket: SSH_AUTH_SOCK is not set: start an agent, or name one: --ssh {id}=SOCKET"
            )));
        }
        let about = std::fs::metadata(&path).map_err(|e| Failure::file("open the SSH agent", &path, &e))?;
        if !std::os::unix::fs::FileTypeExt::is_socket(&about.file_type()) {
            return Err(Failure::new(format!(
                "{path} is no socket of an SSH agent: keys are given by an agent: ssh-add {path}"
            )));
        }
        Ok((id.to_owned(), Self(path.into())))
    }
}

/// All that may be asked for.
#[derive(Default)]
pub(crate) struct Offers {
    /// By the names that the build has for them.
    pub(crate) directories: BTreeMap<String, Directory>,
    /// By their names.
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// By their names.
    pub(crate) agents: BTreeMap<String, Agent>,
    /// Of the user, for registries.
    pub(crate) config: Option<ConfigFile>,
    /// Where a result goes that comes to us.
    pub(crate) output: Option<Output>,
}

#[async_trait]
impl Service for Offers {
    async fn call(&self, mut call: Call) -> Result<Reply, Status> {
        match call.method.as_str() {
            HEALTH => Ok(Reply::one(&Health { status: 1 })),
            CREDENTIALS => self.credentials(&call.messages.only::<CredentialsRequest>().await?.host),
            GET_SECRET => self.secret(&call.messages.only::<GetSecretRequest>().await?.id),
            CHECK_AGENT => {
                let id = call.messages.only::<CheckAgentRequest>().await?.id;
                self.agent(&id).map(|_| Reply::one(&Empty {}))
            }
            FORWARD_AGENT => self.forward(call).await,
            FILE_SYNC => self.send_files(call),
            FILE_SEND => match &self.output {
                Some(output) => output.receive(call),
                None => Err(Status::unimplemented("no output was asked for")),
            },
            method => Err(Status::unimplemented(format!("unknown method {method}"))),
        }
    }
}

impl Offers {
    fn credentials(&self, host: &str) -> Result<Reply, Status> {
        let server = match host {
            "registry-1.docker.io" | "docker.io" | "index.docker.io" => DEFAULT_SERVER,
            host => host,
        };
        let Some(config) = &self.config else { return Ok(Reply::one(&CredentialsResponse::default())) };
        let auth = config.credentials(server).map_err(|e| Status::new(Code::Unknown, e.message))?;
        let answer = match auth.identity_token.as_str() {
            "" => CredentialsResponse { username: auth.username, secret: auth.password },
            // A secret without a name is a token.
            token => CredentialsResponse { username: String::new(), secret: token.to_owned() },
        };
        Ok(Reply::one(&answer))
    }

    fn secret(&self, id: &str) -> Result<Reply, Status> {
        let absent = || Status::new(Code::NotFound, format!("secret {id} not found"));
        let data = match self.secrets.get(id).ok_or_else(absent)? {
            Secret::Variable(name) => Bytes::from(std::env::var(name).map_err(|_| absent())?),
            Secret::File(path) => {
                let unread = |e| Status::new(Code::Unknown, format!("read the secret {id}: {e}"));
                if std::fs::metadata(path).map_err(unread)?.len() > MAX_SECRET {
                    return Err(Status::invalid(format!("secret {id} is larger than {MAX_SECRET} bytes")));
                }
                Bytes::from(std::fs::read(path).map_err(unread)?)
            }
        };
        Ok(Reply::one(&GetSecretResponse { data }))
    }

    fn agent(&self, id: &str) -> Result<&Agent, Status> {
        let id = if id.is_empty() { "default" } else { id };
        self.agents.get(id).ok_or_else(|| Status::new(Code::NotFound, format!("unset ssh forward key {id}")))
    }

    async fn forward(&self, call: Call) -> Result<Reply, Status> {
        let id = call.metadata.get("buildkit.ssh.id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let socket = UnixStream::connect(&self.agent(id)?.0).await;
        let socket =
            socket.map_err(|e| Status::new(Code::Unavailable, format!("reach the SSH agent: {e}")))?;
        let (answers, reply) = Reply::many();
        tokio::spawn(relay::until_both_end(socket, answers.into_requests(), call.messages));
        Ok(reply)
    }

    fn send_files(&self, call: Call) -> Result<Reply, Status> {
        let name = header(&call.metadata, "dir-name");
        let name = name.first().cloned().unwrap_or_default();
        let directory = self.directories.get(&name).cloned();
        let directory = directory
            .ok_or_else(|| Status::new(Code::NotFound, format!("no access allowed to dir {name:?}")))?;
        let excluded = header(&call.metadata, "exclude-patterns");
        let only = match &directory {
            // A Dockerfile and what belongs to it are asked for by their names.
            Directory::Path(_) => header(&call.metadata, "followpaths"),
            Directory::File(..) => Vec::new(),
        };
        let (answers, reply) = Reply::many();
        let (requests, mut messages) = (answers.into_requests(), call.messages);
        tokio::spawn(async move {
            let (wanted, asked) = tokio::sync::mpsc::unbounded_channel();
            let sender = requests.clone();
            let sending = tokio::task::spawn_blocking(move || {
                let listed = directory.list(&excluded, &followed(&directory, only));
                let listed =
                    listed.map_err(|e| Status::new(Code::Unknown, format!("read the context: {e}")))?;
                send_tree(&listed, &sender, asked)
            });
            let sending =
                async { sending.await.unwrap_or_else(|e| Err(Status::new(Code::Internal, e.to_string()))) };
            // Who waits for files that do not come says nothing more: the first failure is the end.
            match tokio::try_join!(listen(&mut messages, wanted), sending).map(drop) {
                Ok(()) => drop(
                    requests
                        .send(&wharf_grpc::proto::files::Packet {
                            kind: wharf_grpc::proto::files::PacketType::Fin.into(),
                            ..Default::default()
                        })
                        .await,
                ),
                Err(status) => requests.fail(status).await,
            }
        });
        Ok(reply)
    }
}

/// The paths that are asked for, with what they lead to when they are links.
fn followed(directory: &Directory, paths: Vec<String>) -> Vec<String> {
    let Directory::Path(root) = directory else { return paths };
    let targets: Vec<String> = paths.iter().flat_map(|path| trail(root, path)).collect();
    // Patterns, and all of the directory, are not narrowed.
    if paths.iter().any(|path| path.contains(['*', '?', '[']) || path.trim_matches(['/', '.']).is_empty()) {
        return Vec::new();
    }
    paths.into_iter().chain(targets).collect()
}

/// Every link on the way of a path, and where it ends: the engine goes the same way. Links stay in the directory.
fn trail(root: &Path, path: &str) -> Vec<String> {
    /// Links on one way, as Linux has it.
    const MAX_LINKS: usize = 40;
    let (mut found, mut here) = (Vec::new(), PathBuf::new());
    let parts = |path: &Path| path.components().rev().map(|p| p.as_os_str().to_owned()).collect::<Vec<_>>();
    let mut left = parts(Path::new(path));
    while let Some(part) = left.pop() {
        match part.as_bytes() {
            b"/" => here.clear(),
            b"." => {}
            b".." => drop(here.pop()),
            _ => here.push(&part),
        }
        // What is no link has no target.
        if let Ok(target) = std::fs::read_link(root.join(&here)) {
            found.push(here.to_string_lossy().into_owned());
            if found.len() > MAX_LINKS {
                break;
            }
            here.pop();
            left.extend(parts(&target));
        }
    }
    found.extend(Some(here.to_string_lossy().into_owned()).filter(|path| !path.is_empty()));
    found
}

/// The values of a header; the bytes that headers cannot have are written `%XX`.
fn header(metadata: &HeaderMap, name: &str) -> Vec<String> {
    let is_encoded = metadata.get(format!("{name}-encoded")).is_some_and(|value| value == "1");
    let values = metadata.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.map(|value| if is_encoded { decoded(value) } else { value.to_owned() }).collect()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        let hex = hex
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let (id, agent) = Agent::parse(&format!("deploy={}", socket.display())).unwrap();
        assert_eq!((id.as_str(), agent.0), ("deploy", socket));
        std::fs::write(dir.path().join("key"), "").unwrap();
        let error = Agent::parse(&format!("a={}", dir.path().join("key").display())).unwrap_err();
        assert!(error.message.contains("ssh-add"), "{}", error.message);
        assert!(Agent::parse("a=/nonexistent").is_err());
    }

    #[test]
    fn headers_with_odd_bytes() {
        let mut metadata = HeaderMap::new();
        metadata.append("exclude-patterns", "a%20%C3%A4".parse().unwrap());
        assert_eq!(header(&metadata, "exclude-patterns"), ["a%20%C3%A4"]);
        metadata.append("exclude-patterns-encoded", "1".parse().unwrap());
        assert_eq!(header(&metadata, "exclude-patterns"), ["a ä"]);
        assert_eq!(decoded("100%"), "100%");
    }

    #[test]
    fn links_are_followed_link_by_link() {
        let dir = tempfile::tempdir().unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
        std::fs::create_dir_all(dir.path().join("d/e")).unwrap();
        std::fs::write(dir.path().join("d/e/real"), "").unwrap();
        link("second", "first");
        link("inner/real", "second");
        link("d/e", "inner");
        link("/d/e/real", "whole");
        link("round", "round");
        link("../../../d/e/real", "out");
        let of = |path: &str| trail(dir.path(), path);
        assert_eq!(of("first"), ["first", "second", "inner", "d/e/real"]);
        assert_eq!(of("inner/real"), ["inner", "d/e/real"]);
        assert_eq!(of("whole"), ["whole", "d/e/real"]);
        assert_eq!(of("out"), ["out", "d/e/real"]);
        assert!(of("round").len() > 2 && of("./absent") == ["absent"]);
    }
}
