//! SOCKS5 (RFC 1928), with a name and a password (RFC 1929). The proxy looks names up.

use std::io::{Error, ErrorKind, Result};
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
/// Kinds of addresses.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Whoever asks, if the proxy wants to know.
pub(super) type Login = (Vec<u8>, Vec<u8>);

/// A text of at most 255 bytes with its length before it.
fn counted(text: &[u8]) -> Result<Vec<u8>> {
    let length = u8::try_from(text.len()).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    Ok([&[length][..], text].concat())
}

/// Asks the proxy for a way to a host; what follows on the stream is the other side's. `PermissionDenied` when it
/// wants another login.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    port: u16,
    login: Option<&Login>,
) -> Result<()> {
    let methods: &[u8] = if login.is_some() { &[NO_LOGIN, PASSWORD] } else { &[NO_LOGIN] };
    stream.write_all(&[&[VERSION][..], &counted(methods)?].concat()).await?;
    let mut chosen = [0; 2];
    stream.read_exact(&mut chosen).await?;
    match (chosen, login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, PASSWORD], Some((name, password))) => {
            stream.write_all(&[&[1][..], &counted(name)?, &counted(password)?].concat()).await?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await?;
            if answer[1] != 0 {
                return Err(Error::new(ErrorKind::PermissionDenied, "it refuses the name and the password"));
            }
        }
        ([VERSION, _], _) => {
            return Err(Error::new(ErrorKind::PermissionDenied, "it wants another login"));
        }
        _ => return Err(Error::other("it does not speak SOCKS5")),
    }
    let address = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => [&[IPV4][..], &address.octets()].concat(),
        Ok(IpAddr::V6(address)) => [&[IPV6][..], &address.octets()].concat(),
        Err(_) => [&[NAME][..], &counted(host.as_bytes())?].concat(),
    };
    let request = [&[VERSION, CONNECT, 0][..], &address, &port.to_be_bytes()].concat();
    stream.write_all(&request).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    let [_, status, _, kind] = answer;
    if status != 0 {
        let why = match status {
            2 => "it does not allow that",
            3 => "the network is unreachable",
            4 => "the host is unreachable",
            5 => "the connection was refused",
            6 => "it took too long",
            _ => "it failed",
        };
        return Err(Error::other(why));
    }
    // Where it is bound, which nobody needs.
    let rest = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return Err(Error::other("it does not speak SOCKS5")),
    };
    stream.read_exact(&mut vec![0; rest + 2]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client sends to a proxy that answers so.
    async fn asked(answers: &[&[u8]], login: Option<&Login>) -> (Result<()>, Vec<u8>) {
        let (mut near, mut far) = tokio::io::duplex(1024);
        far.write_all(&answers.concat()).await.unwrap();
        let result = connect(&mut near, "reg.example", 443, login).await;
        drop(near);
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).await.unwrap();
        (result, sent)
    }

    #[tokio::test]
    async fn the_bytes_of_the_specification() {
        let good = [5, 0, 0, 1, 1, 2, 3, 4, 0, 80];
        let (result, sent) = asked(&[&[5, 0], &good], None).await;
        result.unwrap();
        assert_eq!(sent, [&[5, 1, 0, 5, 1, 0, 3, 11][..], b"reg.example", &[1, 187]].concat());
        let login = (b"me".to_vec(), b"pw".to_vec());
        let (result, sent) = asked(&[&[5, 2], &[1, 0], &good], Some(&login)).await;
        result.unwrap();
        assert!(sent.starts_with(&[5, 2, 0, 2, 1, 2, b'm', b'e', 2, b'p', b'w', 5, 1, 0]), "{sent:?}");
        let kind = |result: Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(asked(&[&[5, 2], &[1, 1]], Some(&login)).await.0), ErrorKind::PermissionDenied);
        assert_eq!(kind(asked(&[&[5, 255]], None).await.0), ErrorKind::PermissionDenied);
        let refused = asked(&[&[5, 0], &[5, 5, 0, 1]], None).await.0.unwrap_err().to_string();
        assert!(refused.contains("refused"), "{refused}");
    }
}
