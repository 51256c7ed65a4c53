//! Opens a connection to a node and brings it to an identity.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net;
use crate::resp::{Fed, ReplyScanner};
use crate::topology::Address;

use super::{Identity, Settings};

/// Why there is no connection.
#[derive(Debug)]
pub enum DialError {
    /// The node answered the greeting with this error reply (with CRLF): nothing else was sent.
    Refused(Bytes),
    /// No connection, or it broke during the greeting.
    Io(io::Error),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection at a reply boundary.
#[derive(Debug)]
pub struct Dialled {
    /// Its socket.
    pub stream: TcpStream,
    /// False: the node answers it with `-NOAUTH`. What a server once admitted it admits for life.
    pub admitted: bool,
}

/// Connects to `address` and performs the greeting of `identity`.
///
/// # Errors
/// See [`DialError`]; both within twice `settings.connect_timeout`.
pub async fn dial(address: &Address, identity: &Identity, settings: &Settings) -> Result<Dialled, DialError> {
    let mut stream =
        net::connect(&address.host, address.port, settings.connect_timeout, &settings.sockets()).await?;
    let greeting = greet(&mut stream, identity);
    match timeout(settings.connect_timeout, greeting).await {
        Ok(Ok(admitted)) => Ok(Dialled { stream, admitted }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no reply to the greeting").into()),
    }
}

/// Whether the node serves this identity.
async fn greet(stream: &mut TcpStream, identity: &Identity) -> Result<bool, DialError> {
    let (request, required) = identity.greeting();
    stream.write_all(&request).await?;
    let mut buffer = BytesMut::with_capacity(1024);
    let mut admitted = true;
    for must in required {
        let reply = next_reply(stream, &mut buffer).await?;
        if is_no_judgement(&reply) {
            let said = String::from_utf8_lossy(&reply).trim_start_matches('-').trim_end().to_owned();
            return Err(io::Error::new(io::ErrorKind::WouldBlock, said).into());
        }
        if must && reply.first() == Some(&b'-') {
            return Err(DialError::Refused(reply));
        }
        admitted &= !reply.starts_with(b"-NOAUTH ");
    }
    if buffer.is_empty() { Ok(admitted) } else { Err(garbage().into()) }
}

/// The node's state, not the identity, is why nothing can be opened now: another attempt may succeed.
fn is_no_judgement(reply: &[u8]) -> bool {
    [b"-LOADING ".as_slice(), b"-BUSY ", b"-MASTERDOWN ", b"-ERR max number of clients"]
        .iter()
        .any(|start| reply.starts_with(start))
}

async fn next_reply(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut scanner = ReplyScanner::default();
    let mut scanned = 0;
    loop {
        match scanner.feed(&buffer[scanned..]).map_err(|_| garbage())? {
            Fed::Frame { end } => return Ok(buffer.split_to(scanned + end).freeze()),
            Fed::More => scanned = buffer.len(),
        }
        if buffer.len() > 64 << 10 {
            return Err(garbage());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn garbage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the node does not speak RESP")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Proto;
    use tokio::net::TcpListener;

    /// A node that sends `says` to whoever connects.
    async fn node(says: &'static [u8]) -> Address {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(says).await.unwrap();
                let mut ignored = Vec::new();
                let _ = stream.read_to_end(&mut ignored).await;
            }
        });
        Address { host: "127.0.0.1".to_owned(), port }
    }

    #[tokio::test]
    async fn a_nodes_socket_does_not_stay_half_open_and_its_name_is_looked_up_each_time() {
        let old = node(b"+OK\r\n").await;
        let new = TcpListener::bind(("127.0.0.2", old.port)).await.unwrap();
        let address = Address { host: "data.test".to_owned(), port: old.port };
        let identity = Identity { login: None, proto: Proto::Resp2, db: 0 };
        let settings = Settings { timeout: std::time::Duration::from_secs(3), ..Settings::default() };
        net::moving::name_leads_to("data.test", [127, 0, 0, 1]);
        let stream = dial(&address, &identity, &settings).await.unwrap().stream;
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), settings.timeout);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(settings.timeout));

        net::moving::name_leads_to("data.test", [127, 0, 0, 2]);
        let accept = async {
            let accepted = timeout(std::time::Duration::from_secs(10), new.accept()).await;
            let (mut stream, _) = accepted.expect("the new address is dialled").unwrap();
            stream.write_all(b"+OK\r\n").await.unwrap();
            stream
        };
        let (dialled, _accepted) = tokio::join!(dial(&address, &identity, &settings), accept);
        assert_eq!(dialled.unwrap().stream.peer_addr().unwrap(), new.local_addr().unwrap());
    }

    async fn outcome(says: &'static [u8], db: u32) -> Result<Dialled, DialError> {
        let identity = Identity { login: None, proto: Proto::Resp2, db };
        dial(&node(says).await, &identity, &Settings::default()).await
    }

    #[tokio::test]
    async fn a_refusal_of_what_is_optional_opens_all_the_same() {
        assert!(outcome(b"-ERR unknown subcommand\r\n", 0).await.unwrap().admitted);
        outcome(b"+OK\r\n-ERR unknown subcommand\r\n", 3).await.unwrap();
    }

    #[tokio::test]
    async fn who_has_to_authenticate_is_connected_and_known() {
        assert!(!outcome(b"-NOAUTH Authentication required.\r\n", 0).await.unwrap().admitted);
    }

    #[tokio::test]
    async fn a_judgement_is_handed_over_word_for_word() {
        match outcome(b"-ERR DB index is out of range\r\n+OK\r\n", 99).await {
            Err(DialError::Refused(error)) => assert_eq!(&error[..], b"-ERR DB index is out of range\r\n"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_state_of_the_node_is_no_judgement() {
        for says in [
            &b"-LOADING Redis is loading\r\n"[..],
            b"-ERR max number of clients reached\r\n",
            b"HTTP/1.1 400\r\n",
        ] {
            assert!(matches!(outcome(says, 0).await, Err(DialError::Io(_))), "{says:?}");
        }
    }

    #[tokio::test]
    async fn a_node_that_says_more_than_it_was_asked_is_not_trusted() {
        assert!(matches!(outcome(b"+OK\r\n+OK\r\n", 0).await, Err(DialError::Io(_))));
    }
}
