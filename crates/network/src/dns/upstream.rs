//! Questions that are not about containers, put to other name servers.

use super::answer::Transport;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one resolver may take; clients give up after five seconds (resolv.conf(5)).
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// How many resolvers are tried (MAXNS of resolv.conf(5)).
const MAX_SERVERS: usize = 3;
/// No answer over UDP is larger than this, in bytes.
const MAX_UDP_BYTES: usize = 4096;
const PORT: u16 = 53;
/// Offset of the question in a message.
const HEADER_LEN: usize = 12;

/// Asks name servers in turn and returns the first answer, under the id of the query.
pub(super) async fn ask(servers: &[IpAddr], query: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
    let mut last = io::Error::new(
        io::ErrorKind::NotConnected,
        "the host's /etc/resolv.conf names no server: add a nameserver line",
    );
    for server in servers.iter().take(MAX_SERVERS) {
        let address = SocketAddr::new(*server, PORT);
        let exchange = async {
            match transport {
                Transport::Udp => over_udp(address, query).await,
                Transport::Tcp => over_tcp(address, query).await,
            }
        };
        match timeout(SERVER_TIMEOUT, exchange).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} did not answer")),
        }
    }
    Err(last)
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket of its own for each question: the kernel chooses a port nobody can guess.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; MAX_UDP_BYTES];
    loop {
        let len = socket.recv(&mut answer).await?;
        if answers(query, &answer[..len]) {
            answer.truncate(len);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_message(&mut stream, query).await?;
    let answer = read_message(&mut stream)
        .await?
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, format!("{server} hung up")))?;
    if answers(query, &answer) {
        Ok(answer)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("{server} answered another question")))
    }
}

/// Whether a message answers the query: the same id, and a question that is repeated repeats ours.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    answer.len() >= HEADER_LEN
        && query.len() >= HEADER_LEN
        && answer[..2] == query[..2]
        && answer[2] & 0x80 != 0
}

/// Reads one message with its length before it (RFC 1035, 4.2.2); `None` when the stream ends before it.
pub(super) async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 2];
    match stream.read_exact(&mut len).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Writes one message with its length before it.
pub(super) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a DNS message is longer than 64 KiB"))?;
    let mut framed = len.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}
