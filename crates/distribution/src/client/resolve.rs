//! Names to addresses, without libc: /etc/hosts and the servers of /etc/resolv.conf (resolv.conf(5)).
//!
//! A static binary has no name service switch. Both files are read for every lookup, so they may change.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use wharf_model::{Error, ErrorKind, Result};

/// Servers that are asked at most (resolv.conf(5), `nameserver`).
const MAX_SERVERS: usize = 3;
/// Bytes of an answer over UDP without extensions (RFC 1035, 4.2.1); some servers send more.
const MAX_UDP: usize = 4096;
const PORT: u16 = 53;

/// Looks names up.
#[derive(Debug, Clone)]
pub struct Resolver {
    hosts: PathBuf,
    conf: PathBuf,
    port: u16,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), conf: "/etc/resolv.conf".into(), port: PORT }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Conf {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    attempts: usize,
    timeout: Duration,
}

impl Resolver {
    /// The addresses of a host, IPv4 first; never empty.
    pub async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let found = hosts_entry(&self.hosts, host).await;
        if !found.is_empty() {
            return Ok(found);
        }
        // RFC 6761, 6.3: these are never asked for.
        if host == "localhost" || host.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let conf = parse_conf(&tokio::fs::read_to_string(&self.conf).await.unwrap_or_default());
        let mut problem = None;
        for name in candidates(host, &conf) {
            match self.ask_servers(&name, &conf).await {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(_) => {}
                Err(error) => problem = Some(error),
            }
        }
        let text = format!("look up {host}");
        match problem {
            Some(e) => Err(Error::wrap(
                ErrorKind::Internal,
                format!("{text}: no answer from the name servers of {}", self.conf.display()),
                e,
            )),
            None => Err(Error::not_found(format!("{text}: no such host"))),
        }
    }

    async fn ask_servers(&self, name: &str, conf: &Conf) -> io::Result<Vec<IpAddr>> {
        let name = Name::from_ascii(name).map_err(io::Error::other)?;
        let mut problem = io::Error::other("there is no name server");
        for _ in 0..conf.attempts {
            for server in &conf.servers {
                let server = SocketAddr::new(*server, self.port);
                let ask = |kind| tokio::time::timeout(conf.timeout, ask(server, name.clone(), kind));
                let (four, six) = tokio::join!(ask(RecordType::A), ask(RecordType::AAAA));
                match (four.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())), six) {
                    (Ok(mut found), six) => {
                        // A server that drops questions for IPv6 does not keep IPv4 from working.
                        if let Ok(Ok(six)) = six {
                            found.extend(six);
                        }
                        return Ok(found);
                    }
                    (Err(_), Ok(Ok(found))) if !found.is_empty() => return Ok(found),
                    (Err(error), _) => problem = error,
                }
            }
        }
        Err(problem)
    }
}

async fn ask(server: SocketAddr, name: Name, kind: RecordType) -> io::Result<Vec<IpAddr>> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, kind));
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let local: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; MAX_UDP];
    let answer = loop {
        let n = socket.recv(&mut buffer).await?;
        // What does not answer this very question is somebody's forgery or an echo from before.
        match Message::from_vec(&buffer[..n]) {
            Ok(answer)
                if answer.metadata.id == question.metadata.id && answer.queries == question.queries =>
            {
                break answer;
            }
            _ => {}
        }
    };
    let answer = if answer.metadata.truncation { ask_tcp(server, &bytes).await? } else { answer };
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(io::Error::other(format!("the name server {server} answers: {code}"))),
    }
    Ok(answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(a) => Some(a.0.into()),
            RData::AAAA(a) => Some(a.0.into()),
            _ => None,
        })
        .collect())
}

async fn ask_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(io::Error::other)
}

async fn hosts_entry(path: &Path, host: &str) -> Vec<IpAddr> {
    let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

fn parse_conf(text: &str) -> Conf {
    let mut conf = Conf {
        servers: Vec::new(),
        search: Vec::new(),
        ndots: 1,
        attempts: 2,
        timeout: Duration::from_secs(5),
    };
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") if conf.servers.len() < MAX_SERVERS => {
                // A zone (`fe80::1%eth0`) names an interface; such servers are left out.
                conf.servers.extend(words.next().and_then(|w| w.parse::<IpAddr>().ok()));
            }
            Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
            Some("options") => {
                for option in words {
                    match option.split_once(':').map(|(k, v)| (k, v.parse::<u8>())) {
                        Some(("ndots", Ok(n))) => conf.ndots = usize::from(n.min(15)),
                        Some(("attempts", Ok(n))) => conf.attempts = usize::from(n.clamp(1, 5)),
                        Some(("timeout", Ok(n))) => {
                            conf.timeout = Duration::from_secs(u64::from(n.clamp(1, 30)));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if conf.servers.is_empty() {
        conf.servers.push(Ipv4Addr::LOCALHOST.into());
    }
    conf
}

/// The names to ask for, in order: a name with enough dots as it stands first, else after the search list.
fn candidates(host: &str, conf: &Conf) -> Vec<String> {
    if host.ends_with('.') {
        return vec![host.to_owned()];
    }
    let mut names: Vec<String> =
        conf.search.iter().map(|domain| format!("{host}.{}.", domain.trim_end_matches('.'))).collect();
    let absolute = format!("{host}.");
    let dots = host.bytes().filter(|b| *b == b'.').count();
    names.insert(if dots >= conf.ndots { 0 } else { names.len() }, absolute);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::MessageType;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::A;

    #[test]
    fn conf_and_search() {
        let conf = parse_conf(
            "# x\nnameserver 10.0.0.1\nnameserver ::1\nsearch a.org b.org\noptions ndots:2 timeout:1 attempts:1 rotate\n",
        );
        assert_eq!(conf.servers, ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(candidates("x.y", &conf), ["x.y.a.org.", "x.y.b.org.", "x.y."]);
        assert_eq!(candidates("x.y.z", &conf), ["x.y.z.", "x.y.z.a.org.", "x.y.z.b.org."]);
        assert_eq!(candidates("x.", &conf), ["x."]);
        assert_eq!(parse_conf("").servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }

    #[tokio::test]
    async fn files_and_a_server_are_asked() {
        let dir = tempfile::tempdir().unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = Resolver {
            hosts: dir.path().join("hosts"),
            conf: dir.path().join("conf"),
            port: server.local_addr().unwrap().port(),
        };
        std::fs::write(&resolver.hosts, "10.1.1.1 web web.local # x\n::5 web\n").unwrap();
        std::fs::write(&resolver.conf, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
        let answering = tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (n, from) = server.recv_from(&mut buffer).await.unwrap();
                let mut message = Message::from_vec(&buffer[..n]).unwrap();
                message.metadata.message_type = MessageType::Response;
                let query = message.queries[0].clone();
                if query.query_type() == RecordType::A && query.name().to_ascii() == "registry.test." {
                    message.add_answer(Record::from_rdata(
                        query.name().clone(),
                        5,
                        RData::A(A(Ipv4Addr::new(10, 2, 2, 2))),
                    ));
                }
                server.send_to(b"noise", from).await.unwrap();
                server.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let lookup = async |host: &str| resolver.lookup(host).await;
        assert_eq!(
            lookup("WEB").await.unwrap(),
            ["10.1.1.1".parse::<IpAddr>().unwrap(), "::5".parse().unwrap()]
        );
        assert_eq!(lookup("registry.test").await.unwrap(), ["10.2.2.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(lookup("127.0.0.5").await.unwrap(), ["127.0.0.5".parse::<IpAddr>().unwrap()]);
        assert_eq!(lookup("[::1]").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(lookup("x.localhost").await.unwrap().len(), 2);
        assert_eq!(lookup("absent.test").await.unwrap_err().kind(), ErrorKind::NotFound);
        answering.abort();
    }
}
