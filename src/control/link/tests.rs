use std::path::Path;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::super::testing::{PATIENCE, Server};
use super::*;

fn dial(address: Address, username: &str, password: &str) -> Dial {
    Dial {
        node: NodeId(0),
        address,
        credentials: Credentials { username: username.to_owned(), password: password.to_owned() },
        name: format!("{CLIENT_NAME}:1").into(),
        options: SocketOptions::default(),
        tls: None,
        marks: Arc::new(Marks::new(Instant::now())),
    }
}

fn redis(more: &[&[&str]]) -> Server {
    Server::start(Path::new("redis-server"), more)
}

#[tokio::test]
async fn pipelined_calls_are_answered_in_order_under_our_name() {
    let server = redis(&[]);
    let dial = dial(server.address(), "", "");
    let mut link = dial.open(within(PATIENCE)).await.unwrap();
    let requests: [&[&str]; 4] = [&["PING"], &["SET", "k", "v"], &["NOSUCH"], &["GET", "k"]];
    let replies = link.call(&requests, within(PATIENCE)).await.unwrap();
    assert_eq!(replies[0], Value::Simple("PONG".to_owned()));
    assert!(replies[1].is_ok() && replies[2].as_error().is_some());
    assert_eq!(replies[3].as_str(), Some("v"));
    assert!(server.say("CLIENT LIST").contains(" name=redhold:control:1 "));
    assert!(dial.marks.of(NodeId(0)).last_byte_ms.load(std::sync::atomic::Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn credentials_are_proved_first_and_a_needless_password_is_no_fault() {
    let locked = redis(&[&["requirepass", "secret"], &["user", "ops", "on", ">words", "+@all", "~*", "&*"]]);
    let answers = async |user: &str, password: &str| {
        dial(locked.address(), user, password).ask(&[&["PING"]], within(PATIENCE)).await
    };
    let pong = Ok(vec![Value::Simple("PONG".to_owned())]);
    assert_eq!(answers("", "secret").await, pong);
    assert_eq!(answers("ops", "words").await, pong);
    let denied = answers("", "wrong").await.unwrap_err();
    assert!(matches!(&denied, Fault::Denied(text) if text.starts_with("WRONGPASS")), "{denied:?}");
    let unproved = answers("", "").await.unwrap();
    assert_eq!(unproved[0].error_code(), Some("NOAUTH"));

    let open = redis(&[]);
    assert_eq!(dial(open.address(), "", "secret").ask(&[&["PING"]], within(PATIENCE)).await, pong);
}

#[tokio::test]
async fn a_full_server_turns_us_away_and_says_so() {
    let server = redis(&[&["maxclients", "1"]]);
    let dial = dial(server.address(), "", "");
    let mut first = dial.open(within(PATIENCE)).await.unwrap();
    first.call(&[&["PING"]], within(PATIENCE)).await.unwrap();
    let fault = dial.ask(&[&["PING"]], within(PATIENCE)).await.unwrap_err();
    assert!(matches!(&fault, Fault::Denied(text) if text.contains("max number of clients")), "{fault:?}");
}

#[tokio::test]
async fn faults_say_whether_something_may_have_been_executed() {
    let mut server = redis(&[]);
    let dial = dial(server.address(), "", "");
    let mut link = dial.open(within(PATIENCE)).await.unwrap();
    link.call(&[&["PING"]], within(PATIENCE)).await.unwrap();

    server.signal(Signal::STOP);
    let short = Duration::from_millis(50);
    assert_eq!(dial.ask(&[&["PING"]], within(short)).await, Err(Fault::Silent));
    server.signal(Signal::CONT);

    link.send(&[&["DEBUG", "SLEEP", "1000"]], within(PATIENCE)).await.unwrap();
    server.kill();
    let fault = link.receive(within(PATIENCE)).await.unwrap_err();
    assert!(matches!(fault, Fault::Lost(_)), "{fault:?}");
    let fault = dial.open(within(PATIENCE)).await.unwrap_err();
    assert!(matches!(fault, Fault::Down(_)), "{fault:?}");
}

#[tokio::test]
async fn what_is_no_redis_is_garbage() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dial = dial(Address { host: "127.0.0.1".into(), port }, "", "");
    let speak = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(dial.ask(&[&["PING"]], within(PATIENCE)), speak);
    assert!(matches!(answer, Err(Fault::Garbage(_))), "{answer:?}");
}

#[tokio::test]
async fn an_idle_link_notices_its_end() {
    let server = redis(&[]);
    let mut link = dial(server.address(), "", "").open(within(PATIENCE)).await.unwrap();
    link.call(&[&["PING"]], within(PATIENCE)).await.unwrap();
    let calm = tokio::time::timeout(Duration::from_millis(20), link.closed()).await;
    assert!(calm.is_err(), "an open connection was taken for a closed one");
    server.say("CLIENT KILL TYPE normal");
    tokio::time::timeout(PATIENCE, link.closed()).await.unwrap();
}

#[tokio::test]
async fn a_link_does_not_stay_half_open() {
    let server = redis(&[]);
    let options = SocketOptions::noticing_after(Duration::from_secs(3));
    let dial = Dial { options, ..dial(server.address(), "", "") };
    let link = dial.open(within(PATIENCE)).await.unwrap();
    let socket = socket2::SockRef::from(link.stream.socket());
    assert!(socket.keepalive().unwrap() && link.stream.socket().nodelay().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), options.keepalive);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(options.user_timeout));
}

/// Of a server that has enough clients, and speaks TLS, nothing else is heard.
#[tokio::test]
async fn a_handshake_that_is_cut_short_says_nothing_of_the_process() {
    let (_, client) = net::testing::pair("cut-short", "localhost");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = Address { host: "localhost".into(), port };
    let dial = Dial { tls: Some(Arc::new(client)), ..dial(address, "", "") };
    for reads_first in [true, false] {
        let close = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 1 << 10];
            if reads_first {
                assert!(stream.read(&mut hello).await.unwrap() > 0);
            } else {
                // What is closed with something to read is reset.
                stream.readable().await.unwrap();
            }
        };
        let (fault, ()) = tokio::join!(dial.ask(&[&["PING"]], within(PATIENCE)), close);
        assert!(matches!(&fault, Err(Fault::Unreachable(_))), "{fault:?}");
    }
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
        stream
    };
    let (fault, _stream) = tokio::join!(dial.ask(&[&["PING"]], within(PATIENCE)), plain);
    assert!(matches!(&fault, Err(Fault::Denied(_))), "{fault:?}");
}
