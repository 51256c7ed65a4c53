//! Clients that have yet to authenticate may send little, and nothing that they send reaches their neighbours.

use crate::support::{
    Bystander, Client, LONG, Proxy, ServerOptions, Value, applies, chosen, encode, eventually,
};
use crate::target::{Target, Way, both_ways};

both_ways!(
    strangers_may_send_only_small_requests,
    where_nobody_needs_a_password_anything_may_be_sent_at_once,
    what_is_pipelined_before_is_answered_first,
    after_reset_a_client_is_a_stranger_again,
    a_line_may_have_many_words,
);

const ARGS: &str = "-ERR Protocol error: unauthenticated multibulk length\r\n";
const BULK: &str = "-ERR Protocol error: unauthenticated bulk length\r\n";
const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";
const MANY: &str = "DEL 1 2 3 4 5 6 7 8 9 10 11";

/// Redhold bounds what they send whatever the server does.
fn are_bounded(way: Way) -> bool {
    way == Way::Proxied || applies(chosen().release >= 70, "the server bounds what strangers send")
}

fn secured(way: Way) -> Target {
    let options = ServerOptions::default().set("requirepass", "sesame").set("masterauth", "sesame");
    Target::with_password(way, &options, "sesame")
}

fn words(request: &str) -> Vec<u8> {
    encode(&request.split(' ').collect::<Vec<_>>())
}

#[track_caller]
fn closed_with(mut client: Client, bytes: &[u8], expected: &str) {
    // The refusal may come, and the close with it, before the last byte was sent.
    client.try_send_raw(bytes).ok();
    assert_eq!(String::from_utf8_lossy(&client.read_to_close()), expected);
}

/// Another client that is nobody either, served on the same shared pipeline; each of its replies must be its own.
fn neighbour(target: &Target) -> Client {
    let mut neighbour = target.client();
    check(&mut neighbour);
    neighbour
}

#[track_caller]
fn check(neighbour: &mut Client) {
    let replies = neighbour.pipeline(&["GET k", "nosuch", "PING"]);
    assert_eq!(replies[0], Value::Error("NOAUTH Authentication required.".to_owned()));
    let unknown = replies[1].error().is_some_and(|text| text.starts_with("ERR unknown command"));
    assert!(unknown || chosen().valkey && replies[1] == replies[0], "{replies:?}");
    assert_eq!(replies[2], replies[0]);
}

fn strangers_may_send_only_small_requests(way: Way) {
    if !are_bounded(way) {
        return;
    }
    let target = secured(way);
    let mut neighbour = neighbour(&target);
    // Replies that are on their way while the others are refused.
    neighbour.send_raw(&b"*1\r\n$4\r\nPING\r\n".repeat(100));
    let long = encode(&["SET", "k", &"x".repeat(20_000)]);
    let huge = encode(&["SET", "k", &"x".repeat(2 << 20)]);
    for (bytes, expected) in [
        (&b"*100\r\n"[..], ARGS),
        (b"*2\r\n$4\r\nAUTH\r\n$20000\r\n", BULK),
        (&words(MANY), ARGS),
        (&long, BULK),
        (&huge, BULK),
        (&words("MGET 1 2 3 4 5 6 7 8 9 10 11"), ARGS),
        (b"*11\r\n$4\r\nPOST\r\n", ARGS),
    ] {
        closed_with(target.client(), bytes, expected);
    }
    for _ in 0..100 {
        assert_eq!(neighbour.read(), Value::Error("NOAUTH Authentication required.".to_owned()));
    }
    check(&mut neighbour);
    let mut known = target.client();
    assert_eq!(known.call("AUTH sesame"), Value::ok());
    assert_eq!(known.call(MANY), Value::Int(0));
    assert_eq!(known.cmd(&["SET", "k", &"x".repeat(20_000)]), Value::ok());
}

fn where_nobody_needs_a_password_anything_may_be_sent_at_once(way: Way) {
    let target = Target::new(way, 1);
    let bystander = Bystander::start(target.address(), target.primary().address());
    for request in
        [words(MANY), encode(&["DEL", &"x".repeat(20_000)]), encode(&["DEL", &"x".repeat(2 << 20)])]
    {
        let mut client = target.client();
        client.send_raw(&[&request[..], b"*1\r\n$4\r\nPING\r\n", &request].concat());
        let replies = [client.read(), client.read(), client.read()];
        assert_eq!(replies, [Value::Int(0), Value::Simple("PONG".to_owned()), Value::Int(0)]);
    }
    let mut silent = target.client();
    silent.send_raw(&[&words("CLIENT REPLY OFF")[..], &words(MANY), &words("CLIENT REPLY ON")].concat());
    assert_eq!(silent.read(), Value::ok());
    bystander.finish_undisturbed();
}

fn what_is_pipelined_before_is_answered_first(way: Way) {
    if !are_bounded(way) {
        return;
    }
    let target = secured(way);
    let mut neighbour = neighbour(&target);
    let bytes = [&words("PING")[..], &words("MULTI"), &words("GET k"), &words(MANY)].concat();
    closed_with(target.client(), &bytes, &[NOAUTH, NOAUTH, NOAUTH, ARGS].concat());
    let mut client = target.client();
    client.send_raw(&words("AUTH sesame"));
    assert_eq!(client.read(), Value::ok());
    client.send_raw(&[&words("MULTI")[..], &words(MANY), &words("EXEC"), &words(MANY)].concat());
    let replies: Vec<Value> = (0..4).map(|_| client.read()).collect();
    assert_eq!(replies[2..], [Value::Array(vec![Value::Int(0)]), Value::Int(0)]);
    check(&mut neighbour);
}

fn after_reset_a_client_is_a_stranger_again(way: Way) {
    if !are_bounded(way) {
        return;
    }
    let target = secured(way);
    let mut neighbour = neighbour(&target);
    let mut client = target.client();
    client.call("AUTH sesame");
    assert_eq!(client.call(MANY), Value::Int(0));
    assert_eq!(client.call("RESET"), Value::Simple("RESET".to_owned()));
    closed_with(client, &words(MANY), ARGS);
    check(&mut neighbour);
}

fn a_line_may_have_many_words(way: Way) {
    let target = secured(way);
    let mut neighbour = neighbour(&target);
    let mut client = target.client();
    for _ in 0..3 {
        client.send_raw(format!("PING\r\n{MANY}\r\nGET k\r\n").as_bytes());
        for _ in 0..3 {
            assert_eq!(client.read(), Value::Error("NOAUTH Authentication required.".to_owned()));
        }
    }
    let open = Target::new(way, 0);
    let mut client = open.client();
    client.send_raw(format!("{MANY}\r\nPING\r\n").as_bytes());
    assert_eq!((client.read(), client.read()), (Value::Int(0), Value::Simple("PONG".to_owned())));
    check(&mut neighbour);
}

/// The proxy's connection to the node, in its own CLIENT LIST, on which nobody's requests go.
fn kill_pipelines(target: &Target) {
    let mut admin = target.primary().client();
    admin.call("AUTH sesame");
    admin.call("CLIENT KILL TYPE normal SKIPME yes");
}

#[test]
fn a_client_served_before_there_was_a_password_does_not_hurt_those_who_came_later() {
    let target = Target::new(Way::Proxied, 0);
    let mut early = target.client();
    assert_eq!(early.call(MANY), Value::Int(0));
    let mut admin = target.primary().client();
    assert_eq!(admin.call("CONFIG SET requirepass sesame"), Value::ok());
    // The pipeline that the node has served is gone; the next one is nobody's.
    kill_pipelines(&target);
    let mut neighbour = target.client();
    eventually(LONG, "the next pipeline is open", || {
        neighbour.call("GET k") == Value::Error("NOAUTH Authentication required.".to_owned())
    });
    neighbour.send_raw(&b"*1\r\n$4\r\nPING\r\n".repeat(1_000));
    closed_with(early, &words(MANY), ARGS);
    for _ in 0..1_000 {
        assert_eq!(neighbour.read(), Value::Error("NOAUTH Authentication required.".to_owned()));
    }
}

#[test]
fn who_is_refused_later_is_a_stranger_again() {
    let target = secured(Way::Proxied);
    let mut admin = target.primary().client();
    admin.call("AUTH sesame");
    assert_eq!(admin.call("ACL SETUSER u on >p ~* +@all"), Value::ok());
    let mut client = target.client();
    assert_eq!(client.call("AUTH u p"), Value::ok());
    assert_eq!(client.call(MANY), Value::Int(0));
    let mut neighbour = neighbour(&target);
    assert_eq!(admin.call("ACL SETUSER u resetpass >other"), Value::ok());
    admin.call("CLIENT KILL USER u");
    eventually(LONG, "it is refused", || client.call("GET k").error().is_some());
    closed_with(client, &words(MANY), ARGS);
    check(&mut neighbour);
}

#[test]
fn a_stranger_makes_the_proxy_keep_little() {
    let target = secured(Way::Proxied);
    let proxy: &Proxy = target.proxy.as_ref().expect("the way leads through it");
    let before = proxy.rss();
    let begun =
        [&b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n"[..], &[b'x'; 60_000]].concat();
    target.primary().sigstop();
    let clients: Vec<Client> = (0..200)
        .map(|_| {
            let mut client = target.client();
            client.send_raw(&begun);
            client.set_read_timeout(LONG);
            client
        })
        .collect();
    let grown = proxy.rss().saturating_sub(before);
    target.primary().sigcont();
    assert!(grown < 200 * 256 * 1024, "{grown}");
    for mut client in clients {
        assert_eq!(String::from_utf8_lossy(&client.read_to_close()), [NOAUTH, BULK].concat());
    }
}
