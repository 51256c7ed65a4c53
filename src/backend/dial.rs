//! Opens a connection to a node and brings it to an identity.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::net::{self, Stream, TlsClient};
use crate::resp::{Fed, ReplyScanner, RequestScanner, encode};
use crate::topology::{Address, NodeMarks, counted_as};

use super::identity::Refusal;
use super::introduce::introduce;
use super::pipeline::first_len;
use super::{Settings, Target};

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

/// What it means that the node answers the greeting with `-BUSY`, since a script runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Nothing can be opened now.
    Waits,
    /// The node's words are the answer to whatever was to be sent.
    Refuses,
    /// The connection will do, although nothing is known of the node's process and no database was selected.
    Passes,
}

/// A connection at a reply boundary.
#[derive(Debug)]
pub struct Dialled {
    /// Its socket.
    pub stream: Stream,
    /// False: the node answers it with `-NOAUTH`. What a server once admitted it admits for life.
    pub admitted: bool,
    /// How the node calls it, unless its user may not ask.
    pub id: Option<i64>,
}

/// Connects to `target` and performs the greeting of its identity, which is counted in `marks` as the proxy's own. A node that does
/// not know a user whom it can be given is given it, once, unless it refused that a while ago.
///
/// # Errors
/// See [`DialError`]; both within twice `settings.connect_timeout`, or six times where the node was to be given the user.
pub async fn dial(
    target: &Target,
    settings: &Settings,
    tls: Option<&TlsClient>,
    marks: &NodeMarks,
    busy: Busy,
) -> Result<Dialled, DialError> {
    let opened = open(target, settings, tls, marks, busy).await;
    let Some(newcomer) = target.identity.login.as_ref().and_then(|login| login.newcomer()) else {
        return opened;
    };
    match opened {
        Err(DialError::Refused(reply)) if reply.starts_with(b"-WRONGPASS ") => {}
        Ok(dialled) => {
            marks.refused_users().knows(newcomer.user);
            return Ok(dialled);
        }
        failed => return failed,
    }
    introduce(&newcomer, target, settings, tls, marks).await?;
    open(target, settings, tls, marks, busy).await
}

async fn open(
    target: &Target,
    settings: &Settings,
    tls: Option<&TlsClient>,
    marks: &NodeMarks,
    busy: Busy,
) -> Result<Dialled, DialError> {
    let Address { host, port } = &target.address;
    let mut stream = net::connect(host, *port, settings.connect_timeout, &settings.sockets(), tls).await?;
    let greeting = greet(&mut stream, target, marks, busy);
    match timeout(settings.connect_timeout, greeting).await {
        Ok(Ok((admitted, id))) => Ok(Dialled { stream, admitted, id }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no reply to the greeting").into()),
    }
}

/// Whether the node serves this identity, and how it calls the connection.
async fn greet(
    stream: &mut Stream,
    target: &Target,
    marks: &NodeMarks,
    busy: Busy,
) -> Result<(bool, Option<i64>), DialError> {
    let (mut request, required) = target.identity.greeting();
    let run_id = target.run_id.as_deref();
    if run_id.is_some() {
        // The node's life is known to whoever decides, and a connection to another one must carry nothing.
        encode::own_command(&mut request, &[b"INFO", b"server"]);
    }
    // Redis 8.2 does not answer an AUTH that fails behind a reply that it has not sent yet.
    let alone =
        if required.first() == Some(&Refusal::OfStranger) { first_len(&request) } else { request.len() };
    stream.write_all(&request[..alone]).await?;
    stream.flush().await?;
    let mut buffer = BytesMut::with_capacity(4096);
    let (mut admitted, mut id) = (true, None);
    let mut names = asked(&request).into_iter();
    let mut left = required.len();
    let mut selected = false;
    for refusal in required {
        left -= 1;
        let reply = next_reply(stream, &mut buffer).await?;
        if refusal == Refusal::OfStranger {
            stream.write_all(&request[alone..]).await?;
            stream.flush().await?;
        }
        names.next().iter().for_each(|name| marks.own_calls().note(name, reply.strip_prefix(b"-")));
        if reply.starts_with(b"-BUSY ") {
            match busy {
                Busy::Waits => {}
                Busy::Refuses => return Err(DialError::Refused(reply)),
                Busy::Passes => continue,
            }
        }
        if is_no_judgement(&reply) {
            let said = String::from_utf8_lossy(&reply).trim_start_matches('-').trim_end().to_owned();
            return Err(io::Error::new(io::ErrorKind::WouldBlock, said).into());
        }
        let refused = reply.first() == Some(&b'-');
        if refusal == Refusal::OfId {
            id = number(&reply);
        }
        selected |= refusal == Refusal::OfStranger && !refused;
        let ends = match refusal {
            Refusal::Ends => true,
            Refusal::Nothing | Refusal::OfId | Refusal::OfStranger => false,
            Refusal::OfDatabase => !(selected && reply.starts_with(b"-NOPERM ")),
        };
        if ends && refused {
            // Another process may have other users. One that closed after its refusal has said enough.
            let another = is_another(stream, &mut buffer, left, run_id).await.unwrap_or(false);
            return Err(if another { another_process() } else { DialError::Refused(reply) });
        }
        admitted &= refusal == Refusal::OfStranger || !reply.starts_with(b"-NOAUTH ");
    }
    if is_another(stream, &mut buffer, 0, run_id).await? {
        return Err(another_process());
    }
    names.for_each(|name| marks.own_calls().note(&name, None));
    if buffer.is_empty() { Ok((admitted, id)) } else { Err(garbage().into()) }
}

/// The names of requests in multibulk form, as servers count them.
pub(super) fn asked(requests: &[u8]) -> Vec<String> {
    let (mut names, mut start) = (Vec::new(), 0);
    while let Some(scanner) = RequestScanner::of_kept(&requests[start..]) {
        let len = first_len(&requests[start..]);
        let words: Vec<&[u8]> = scanner.request(&requests[start..start + len]).args().collect();
        names.push(counted_as(&words));
        start += len;
    }
    names
}

/// An integer reply.
fn number(reply: &[u8]) -> Option<i64> {
    std::str::from_utf8(reply.strip_prefix(b":")?.trim_ascii_end()).ok()?.parse().ok()
}

/// The node's state, not the identity, is why nothing can be opened now: another attempt may succeed.
pub(super) fn is_no_judgement(reply: &[u8]) -> bool {
    [b"-LOADING ".as_slice(), b"-BUSY ", b"-MASTERDOWN ", b"-ERR max number of clients"]
        .iter()
        .any(|start| reply.starts_with(start))
}

/// Whether the reply to INFO, the one behind `skipped` others, is that of another process than `run_id` names. A user
/// without the right to INFO is not told.
async fn is_another(
    stream: &mut Stream,
    buffer: &mut BytesMut,
    skipped: usize,
    run_id: Option<&str>,
) -> io::Result<bool> {
    let Some(run_id) = run_id else { return Ok(false) };
    for _ in 0..skipped {
        next_reply(stream, buffer).await?;
    }
    let info = next_reply(stream, buffer).await?;
    Ok(told_run_id(&info).is_some_and(|told| told != run_id.as_bytes()))
}

fn told_run_id(info: &[u8]) -> Option<&[u8]> {
    info.split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"run_id:"))
        .map(<[u8]>::trim_ascii_end)
}

fn another_process() -> DialError {
    io::Error::other("another process answers there than was seen last: its run_id differs").into()
}

pub(super) async fn next_reply(stream: &mut Stream, buffer: &mut BytesMut) -> io::Result<Bytes> {
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
    use crate::backend::Identity;
    use crate::resp::Proto;
    use crate::topology::NodeId;
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
        Address { host: "127.0.0.1".into(), port }
    }

    fn target(address: Address, db: u32, run_id: Option<&str>) -> Target {
        let identity = Identity { login: None, proto: Proto::Resp2, db };
        Target { node: NodeId(0), address, run_id: run_id.map(Into::into), epoch: 0, identity }
    }

    #[tokio::test]
    async fn a_nodes_socket_does_not_stay_half_open_and_its_name_is_looked_up_each_time() {
        let old = node(b"+OK\r\n:7\r\n").await;
        let new = TcpListener::bind(("127.0.0.2", old.port)).await.unwrap();
        let address = Address { host: "data.test".into(), port: old.port };
        let target = target(address, 0, None);
        let settings = Settings { timeout: std::time::Duration::from_secs(3), ..Settings::default() };
        net::moving::name_leads_to("data.test", [127, 0, 0, 1]);
        let stream = dial(&target, &settings, None, &NodeMarks::default(), Busy::Waits).await.unwrap().stream;
        let socket = socket2::SockRef::from(stream.socket());
        assert!(socket.keepalive().unwrap() && stream.socket().nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), settings.timeout);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(settings.timeout));

        net::moving::name_leads_to("data.test", [127, 0, 0, 2]);
        let accept = async {
            let accepted = timeout(std::time::Duration::from_secs(10), new.accept()).await;
            let (mut stream, _) = accepted.expect("the new address is dialled").unwrap();
            stream.write_all(b"+OK\r\n:8\r\n").await.unwrap();
            stream
        };
        let marks = NodeMarks::default();
        let (dialled, _accepted) = tokio::join!(dial(&target, &settings, None, &marks, Busy::Waits), accept);
        assert_eq!(dialled.unwrap().stream.peer_addr().unwrap(), new.local_addr().unwrap());
    }

    async fn outcome(says: &'static [u8], db: u32) -> Result<Dialled, DialError> {
        dial(
            &target(node(says).await, db, None),
            &Settings::default(),
            None,
            &NodeMarks::default(),
            Busy::Waits,
        )
        .await
    }

    #[tokio::test]
    async fn a_refusal_of_what_is_optional_opens_all_the_same() {
        assert!(outcome(b"-ERR unknown subcommand\r\n-NOPERM no\r\n", 0).await.unwrap().admitted);
        outcome(b"+OK\r\n-ERR unknown subcommand\r\n:7\r\n", 3).await.unwrap();
    }

    #[tokio::test]
    async fn who_has_to_authenticate_is_connected_and_known() {
        let refused = b"-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n";
        assert!(!outcome(refused, 0).await.unwrap().admitted);
    }

    #[tokio::test]
    async fn who_may_not_select_keeps_what_was_selected_before() {
        let login = Some(std::rc::Rc::new(crate::backend::Login {
            user: None,
            secret: b"x".to_vec().into(),
            introduction: None,
        }));
        let identity = Identity { login, proto: Proto::Resp2, db: 3 };
        let dialled = async |says| {
            let target = Target { identity: identity.clone(), ..target(node(says).await, 3, None) };
            dial(&target, &Settings::default(), None, &NodeMarks::default(), Busy::Waits).await
        };
        let kept = dialled(b"+OK\r\n+OK\r\n-NOPERM no\r\n+OK\r\n:7\r\n").await.unwrap();
        assert_eq!((kept.admitted, kept.id), (true, Some(7)));
        let refused = b"-NOAUTH no\r\n+OK\r\n-NOPERM no\r\n+OK\r\n:7\r\n";
        assert!(matches!(dialled(refused).await, Err(DialError::Refused(_))), "nobody selected it");
        let missing = b"+OK\r\n+OK\r\n-ERR DB index is out of range\r\n+OK\r\n:7\r\n";
        assert!(matches!(dialled(missing).await, Err(DialError::Refused(_))));
        let late = dialled(b"-NOAUTH no\r\n+OK\r\n+OK\r\n+OK\r\n-NOPERM no\r\n").await.unwrap();
        assert_eq!((late.admitted, late.id), (true, None));
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

    async fn of_process_a(says: &'static [u8], db: u32) -> Result<Dialled, DialError> {
        dial(
            &target(node(says).await, db, Some("a")),
            &Settings::default(),
            None,
            &NodeMarks::default(),
            Busy::Waits,
        )
        .await
    }

    #[tokio::test]
    async fn only_the_process_that_is_meant_is_spoken_to() {
        let same = b"+OK\r\n:7\r\n$26\r\n# Server\r\nrun_id:a\r\nport:1\r\n";
        of_process_a(same, 0).await.unwrap();
        let verbatim = b"+OK\r\n:7\r\n=24\r\ntxt:# Server\r\nrun_id:b\r\n\r\n";
        let another = b"-ERR DB index is out of range\r\n+OK\r\n:7\r\n$10\r\nrun_id:b\r\n\r\n";
        let error = |outcome: Result<Dialled, DialError>| match outcome {
            Err(DialError::Io(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(error(of_process_a(&another[31..], 0).await).contains("run_id"));
        assert!(error(of_process_a(verbatim, 0).await).contains("run_id"));
        assert!(error(of_process_a(another, 3).await).contains("run_id"), "nor is its judgement taken");
        outcome(&another[31..40], 0).await.unwrap();
    }

    #[tokio::test]
    async fn who_may_not_ask_for_the_process_is_connected_all_the_same() {
        for says in [&b"-NOPERM no\r\n-NOPERM no\r\n-NOPERM no\r\n"[..], b"+OK\r\n:7\r\n$5\r\na:b\r\n\r\n"] {
            of_process_a(says, 0).await.unwrap();
        }
        let stranger = b"-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n";
        assert!(!of_process_a(stranger, 0).await.unwrap().admitted);
    }

    #[tokio::test]
    async fn a_busy_node_is_good_enough_for_who_wants_to_end_what_it_works_on() {
        let busy =
            b"-BUSY Redis is busy\r\n-BUSY Redis is busy\r\n-BUSY Redis is busy\r\n-BUSY Redis is busy\r\n";
        assert!(matches!(of_process_a(busy, 3).await, Err(DialError::Io(_))));
        let target = target(node(busy).await, 3, Some("a"));
        assert!(
            dial(&target, &Settings::default(), None, &NodeMarks::default(), Busy::Passes)
                .await
                .unwrap()
                .admitted
        );
    }

    #[tokio::test]
    async fn a_node_that_says_more_than_it_was_asked_is_not_trusted() {
        assert!(matches!(outcome(b"+OK\r\n:7\r\n+OK\r\n", 0).await, Err(DialError::Io(_))));
    }
}
