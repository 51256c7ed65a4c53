//! The PROXY protocol, versions 1 and 2 (proxy-protocol.txt of HAProxy): a load balancer that is trusted says first for whom it
//! comes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Bytes of a header: version 2 may carry more about the client than its address.
const HEADER_MAX: usize = 4 << 10;

/// Bytes of one of version 1, its end included, as the protocol has it.
const LINE_MAX: usize = 107;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Introduction {
    /// The client's end and the one it connected to; `None`: the balancer comes for itself, to see whether we live.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
    /// What the client sent already.
    pub(super) rest: BytesMut,
}

/// Reads the header that a connection begins with, and waits so long for it.
///
/// # Errors
/// There is none, or it did not come in time.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
    patience: Duration,
) -> io::Result<Introduction> {
    let mut bytes = BytesMut::with_capacity(256);
    let read = async {
        loop {
            if let Some((len, ends)) = header_of(&bytes)? {
                bytes.advance(len);
                return Ok(ends);
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    };
    let ends = timeout(patience, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(Introduction { ends, rest: bytes })
}

/// Where the client is, and the end that it connected to.
type Ends = Option<(SocketAddr, SocketAddr)>;

/// The header that `bytes` begin with, and how long it is; `None`: its end has not come yet.
pub fn header_of(bytes: &[u8]) -> io::Result<Option<(usize, Ends)>> {
    match ProxyHeader::parse(bytes, ParseConfig { include_tlvs: false, ..ParseConfig::default() }) {
        Ok((_, len)) if bytes.starts_with(b"PROXY") && !is_line(&bytes[..len]) => {
            Err(io::ErrorKind::InvalidData.into())
        }
        Ok((header, len)) => {
            let ends = header.proxied_address().map(|ends| (ends.source, ends.destination));
            Ok(Some((len, ends)))
        }
        Err(Error::BufferTooShort) if bytes.len() < HEADER_MAX => Ok(None),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Whether this may be a header of version 1. The crate takes any byte for the first blank, and a line that is too long when it
/// comes in one piece.
fn is_line(header: &[u8]) -> bool {
    header.starts_with(b"PROXY ") && header.len() <= LINE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    const PATIENCE: Duration = Duration::from_secs(60);

    const V1: &[u8] = b"PROXY TCP4 10.0.0.1 10.0.0.9 5000 6380\r\n";

    /// For somebody else, over TCP and IPv4.
    const PROXY: [u8; 2] = [0x21, 0x11];

    fn v2([command, family]: [u8; 2], payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", [command, family, len[0], len[1]].as_slice(), payload].concat()
    }

    fn ends() -> Ends {
        Some(("10.0.0.1:5000".parse().unwrap(), "10.0.0.9:6380".parse().unwrap()))
    }

    /// Each byte comes by itself.
    async fn read(bytes: &[u8]) -> io::Result<Introduction> {
        let (mut ours, mut theirs) = tokio::io::duplex(1);
        let send = async {
            // Whoever has read enough closes.
            drop(theirs.write_all(bytes).await);
            drop(theirs);
        };
        let read = async {
            let read = read_header(&mut ours, PATIENCE).await;
            drop(ours);
            read
        };
        tokio::join!(read, send).0
    }

    #[tokio::test]
    async fn both_versions_say_for_whom() {
        let payload = [10, 0, 0, 1, 10, 0, 0, 9, 0x13, 0x88, 0x18, 0xec];
        let more = [payload.as_slice(), &[0x04, 0, 1, 0]].concat();
        for header in [V1, &v2(PROXY, &payload), &v2(PROXY, &more)] {
            assert_eq!(read(header).await.unwrap(), Introduction { ends: ends(), rest: BytesMut::new() });
        }
    }

    #[tokio::test]
    async fn a_balancer_that_looks_after_us_comes_for_itself() {
        for header in [b"PROXY UNKNOWN\r\n".as_slice(), &v2([0x20, 0], &[])] {
            assert_eq!(read(header).await.unwrap().ends, None);
        }
    }

    #[tokio::test]
    async fn what_follows_in_the_same_segment_is_the_clients() {
        let bytes = [V1, b"PING\r\n"].concat();
        let mut stream = bytes.as_slice();
        let introduction = read_header(&mut stream, PATIENCE).await.unwrap();
        assert_eq!(introduction, Introduction { ends: ends(), rest: BytesMut::from("PING\r\n") });
    }

    #[tokio::test]
    async fn what_is_no_header_is_none() {
        let long = v2(PROXY, &vec![0; HEADER_MAX]);
        let garbage: [&[u8]; 6] = [
            b"*1\r\n$4\r\nPING\r\n",
            b"PROXY TCP4 10.0.0.1",
            b"PROXY TCP9 a b 1 2\r\n",
            &V1[..20],
            b"",
            &long,
        ];
        for bytes in garbage {
            let error = read(bytes).await.unwrap_err();
            let expected = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
            assert!(expected.contains(&error.kind()), "{:?}: {error}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_none_however_it_comes() {
        let line = |filler: usize| format!("PROXY UNKNOWN {}\r\n", "a".repeat(filler));
        assert_eq!(header_of(line(91).as_bytes()).unwrap(), Some((LINE_MAX, None)));
        for line in [line(92), line(400), line(1).replacen(' ', "-", 1)] {
            assert_eq!(header_of(line.as_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (mut ours, _theirs) = tokio::io::duplex(64);
        assert_eq!(
            read_header(&mut ours, Duration::from_millis(10)).await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }
}
