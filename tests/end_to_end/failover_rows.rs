//! What docs/failover.md promises for connections of a client's own, case by case, each at a chosen moment.

use std::time::Duration;

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, Relay, V8_2, Value, applies, chosen, encode, eventually,
    row_field,
};

/// `health.timeout` of a patient proxy.
const PATIENCE: Duration = Duration::from_secs(5);

/// A group of two and the proxy.
struct Scene {
    group: Group,
    proxy: Proxy,
}

impl Scene {
    #[track_caller]
    fn start() -> Self {
        Self::of(Group::plain(1))
    }

    #[track_caller]
    fn of(group: Group) -> Self {
        let proxy = Proxy::start(&group.addresses());
        Self { group, proxy }
    }

    /// With a proxy that is so patient that a frozen node can be killed before its silence counts.
    #[track_caller]
    fn patient() -> Self {
        let group = Group::plain(1);
        let timeout = format!("\"{}s\"", PATIENCE.as_secs());
        let proxy = ProxyOptions::new(&group.addresses()).set("health.timeout", &timeout).start();
        Self { group, proxy }
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    fn kill(&mut self) {
        self.group.node(0).kill9();
    }

    /// As `kill`, until the other one leads: a request whose reply nobody wants may otherwise go down with the first unseen.
    #[track_caller]
    fn replace(&mut self) {
        self.kill();
        eventually(LONG, "the other one leads", || self.proxy.status()["epoch"] == 2);
    }

    /// The primary reads writes from now on and executes none.
    #[track_caller]
    fn park_writes(&self) {
        assert_eq!(self.group.nodes()[0].call("CLIENT PAUSE 60000 WRITE"), Value::ok());
    }

    /// Waits until the primary has such a command of somebody before it.
    #[track_caller]
    fn wait_for_command(&self, name: &str) {
        let mut direct = self.group.nodes()[0].client();
        let wanted = format!("cmd={name} ");
        eventually(LONG, &format!("the primary has read {name}"), || {
            direct.call("CLIENT LIST").text().is_some_and(|list| list.contains(&wanted))
        });
    }
}

fn invalidation(of: Value) -> Value {
    Value::Push(vec![Value::bulk("invalidate"), of])
}

fn starts_with(reply: &Value, start: &str) -> bool {
    reply.error().is_some_and(|text| text.starts_with(start))
}

#[test]
fn tracking_is_enabled_again_and_all_that_was_kept_is_called_stale() {
    let mut scene = Scene::start();
    let mut client = Client::connect_resp3(scene.proxy.address());
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    scene.kill();
    assert_eq!(client.read(), invalidation(Value::Nil));
    assert_eq!(client.call("GET k"), Value::Nil);
    assert_eq!(scene.client().call("SET k v"), Value::ok());
    assert_eq!(client.read(), invalidation(Value::Array(vec![Value::bulk("k")])));
    assert_eq!(client.call("GET k"), Value::bulk("v"));
}

/// While its connection is opened anew the epoch ends: that makes nothing stale a second time.
#[test]
fn what_was_called_stale_is_not_called_so_again_before_there_is_a_connection() {
    let group = Group::plain(1);
    let relay = Relay::to(group.nodes()[0].address());
    let replica = group.nodes()[1].address();
    let proxy = Proxy::start(&[relay.address(), replica]);
    proxy.wait_well();
    let mut client = Client::connect_resp3(proxy.address());
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    let before = relay.connections();
    relay.stall();
    relay.cut();
    assert_eq!(client.read(), invalidation(Value::Nil));
    eventually(LONG, "the control thread and the client have asked for another one", || {
        relay.connections() >= before + 2
    });
    proxy.force_failover(replica);
    assert_eq!(client.call("ECHO served"), Value::bulk("served"));
}

#[test]
fn a_client_that_wants_no_replies_gets_none_afterwards_either() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.send_raw(b"CLIENT REPLY OFF\r\nSET k before\r\n");
    let mut other = scene.client();
    eventually(LONG, "it is executed", || other.call("GET k") == Value::bulk("before"));
    scene.replace();
    client.send_raw(b"SET k after\r\n");
    eventually(LONG, "it is executed", || other.call("GET k") == Value::bulk("after"));
    client.send_raw(b"CLIENT REPLY ON\r\n");
    assert_eq!(client.read(), Value::ok(), "nothing but the reply to REPLY ON");
    assert_eq!(client.call("GET k"), Value::bulk("after"));
}

/// Whether one can wait for what is never answered.
fn subcommands_are_listed() -> bool {
    applies(chosen().release >= 70, "CLIENT LIST tells which subcommand was last")
}

#[test]
fn a_reply_to_skip_is_skipped_on_the_next_primary() {
    if !subcommands_are_listed() {
        return;
    }
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.send_raw(b"CLIENT REPLY SKIP\r\n");
    scene.wait_for_command("client|reply");
    scene.replace();
    client.send_raw(b"SET k v\r\nGET k\r\n");
    assert_eq!(client.read(), Value::bulk("v"), "the reply to SET is skipped");
}

#[test]
fn a_reply_wanted_again_is_not_lost_with_the_connection() {
    if !subcommands_are_listed() {
        return;
    }
    let mut scene = Scene::patient();
    let (mut on, mut skip) = (scene.client(), scene.client());
    on.send_raw(b"CLIENT REPLY OFF\r\n");
    skip.send_raw(b"CLIENT REPLY SKIP\r\nSET k v\r\nGET k\r\n");
    scene.wait_for_command("client|reply");
    assert_eq!(skip.read(), Value::bulk("v"));
    scene.group.nodes()[0].sigstop();
    on.send_raw(b"CLIENT REPLY ON\r\nPING\r\n");
    // Pinned anew, or still on its connection: it gets no answer from a frozen node.
    skip.send_raw(b"CLIENT REPLY SKIP\r\nECHO skipped\r\nECHO wanted\r\n");
    assert!(skip.is_silent_for(Duration::from_millis(50)));
    scene.kill();
    assert_eq!(on.read(), Value::ok());
    assert_eq!(on.read(), Value::Simple("PONG".to_owned()));
    assert_eq!(skip.read(), Value::bulk("wanted"));
}

/// The connections of a node that dies end one after the other: the second one is no second loss.
#[test]
fn a_read_that_meets_the_same_death_on_another_connection_is_sent_again() {
    let group = Group::plain(1);
    let relay = Relay::to(group.addresses()[0]);
    let proxy = ProxyOptions::new(&[relay.address(), group.addresses()[1]]).looking_once_a_minute();
    let proxy = proxy.set("proxy.workers", "1").start();
    let mut client = proxy.client();
    assert_eq!(client.call("ECHO open"), Value::bulk("open"), "the shared connection is open");
    relay.cut_at("wanted", 2);
    client.send_raw(b"CLIENT REPLY SKIP\r\nECHO skipped\r\nECHO wanted\r\n");
    assert_eq!(client.read(), Value::bulk("wanted"));
    assert_eq!(relay.met(), 2);
    // But on one that was opened after the first loss it is.
    relay.cut_at("poison", 2);
    client.send(&["ECHO", "poison"]);
    assert!(starts_with(&client.read(), "TRYAGAIN request was in flight"));
    assert_eq!(relay.met(), 4);
}

#[test]
fn a_read_in_flight_is_sent_again_however_long_its_connection_stands() {
    let mut scene = Scene::patient();
    let mut client = Client::connect_resp3(scene.proxy.address());
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    eventually(LONG, "it stands longer than what would explain a silence", || {
        let list = scene.group.nodes()[0].call("CLIENT LIST").text().expect("text");
        let tracking =
            list.lines().find(|row| row_field(row, "flags").is_some_and(|flags| flags.contains('t')));
        let age = tracking.and_then(|row| row_field(row, "age")?.parse().ok());
        age.is_some_and(|age: u64| age > PATIENCE.as_secs())
    });
    scene.group.nodes()[0].sigstop();
    client.send(&["GET", "k"]);
    assert!(client.is_silent_for(Duration::from_millis(50)));
    scene.kill();
    assert_eq!(client.read(), invalidation(Value::Nil));
    assert_eq!(client.read(), Value::Nil);
}

/// A SET of `total` bytes.
fn large_set(key: &str, total: usize) -> Vec<u8> {
    let mut bytes = encode(&["SET", key, ""]);
    bytes.truncate(bytes.len() - b"$0\r\n\r\n".len());
    bytes.extend(format!("${total}\r\n").as_bytes());
    bytes.resize(bytes.len() + total, b'x');
    bytes.extend(b"\r\n");
    bytes
}

#[test]
fn a_large_request_cut_before_its_last_byte_was_not_executed() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    let bytes = large_set("k", 2 << 20);
    client.send_raw(&bytes[..3 << 19]);
    let mut direct = scene.group.nodes()[0].client();
    eventually(LONG, "the primary has half of it", || {
        let list = direct.call("CLIENT LIST").text().unwrap_or_default();
        let buffered = |line: &str| line.split(" qbuf=").nth(1)?.split(' ').next()?.parse().ok();
        list.lines().filter_map(buffered).any(|bytes: usize| bytes > 1 << 20)
    });
    scene.kill();
    let told = String::from_utf8(client.read_to_close()).expect("text");
    assert!(
        told.starts_with("-TRYAGAIN connection to the primary lost while a large request was sent"),
        "{told}"
    );
    assert_eq!(scene.proxy.errors("large_cut"), 1.0);
    assert_eq!(scene.client().call("EXISTS k"), Value::Int(0));
}

#[test]
fn a_large_request_cut_after_its_last_byte_is_ambiguous() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    scene.park_writes();
    client.send_raw(&large_set("k", 2 << 20));
    scene.wait_for_command("set");
    scene.kill();
    let reply = client.read();
    assert!(starts_with(&reply, "AMBIGUOUS"), "{reply:?}");
    assert_eq!(client.call("SET k v"), Value::ok(), "the connection goes on");
}

#[test]
fn a_large_reply_cut_in_its_middle_closes_the_client() {
    let mut scene = Scene::start();
    let value = vec![b'x'; 48 << 20];
    scene.group.nodes()[0].client().cmd(&[b"SET".as_slice(), b"k", &value]);
    let (mut shared, mut pinned) = (scene.client(), scene.client());
    pinned.call("WATCH other");
    for client in [&mut shared, &mut pinned] {
        client.send(&["GET", "k"]);
        assert_eq!(client.read_raw(11), b"$50331648\r\n");
    }
    scene.kill();
    for client in [&mut shared, &mut pinned] {
        let rest = client.read_to_close();
        assert!(rest.len() < value.len() && rest.iter().all(|byte| *byte == b'x'), "{} bytes", rest.len());
    }
}

#[test]
fn an_exec_in_flight_is_ambiguous() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    client.pipeline(&["MULTI", "INCR n"]);
    scene.park_writes();
    client.send(&["EXEC"]);
    scene.wait_for_command("exec");
    scene.kill();
    let reply = client.read();
    assert!(starts_with(&reply, "AMBIGUOUS"), "{reply:?}");
    assert_eq!(client.pipeline(&["MULTI", "INCR n", "EXEC"])[2], Value::Array(vec![Value::Int(1)]));
}

#[test]
fn an_unknown_command_in_flight_is_ambiguous() {
    let mut scene = Scene::start();
    let mut client = scene.client();
    // Leaves a connection behind that is taken for the next one.
    client.pipeline(&["MULTI", "EXEC"]);
    scene.group.nodes()[0].sigstop();
    client.send(&["NOSUCH", "x"]);
    let sent = "redhold_commands_total{command=\"unknown\",node_role=\"primary\"}";
    eventually(LONG, "it is sent", || scene.proxy.metric(sent) == Some(1.0));
    scene.kill();
    let reply = client.read();
    assert!(starts_with(&reply, "AMBIGUOUS"), "{reply:?}");
    assert!(starts_with(&client.call("NOSUCH x"), "ERR unknown command"));
}

#[test]
fn wait_and_waitaof_in_flight_vouch_for_nobody() {
    if !V8_2.is_there() {
        return;
    }
    let mut scene = Scene::of(Group::plain_with(1, &V8_2.options()));
    let (mut wait, mut waitaof) = (scene.client(), scene.client());
    for client in [&mut wait, &mut waitaof] {
        assert_eq!(client.call("SET k v"), Value::ok());
    }
    wait.send(&["WAIT", "9", "0"]);
    waitaof.send(&["WAITAOF", "0", "9", "0"]);
    eventually(LONG, "both wait", || scene.group.nodes()[0].info("blocked_clients").as_deref() == Some("2"));
    scene.kill();
    assert_eq!(wait.read(), Value::Int(0));
    assert_eq!(waitaof.read(), Value::Array(vec![Value::Int(0), Value::Int(0)]));
    assert_eq!(waitaof.call("WAITAOF 0 1 10"), Value::Array(vec![Value::Int(0), Value::Int(0)]));
}

#[test]
fn who_may_not_ask_for_an_id_stays_parked_on_the_next_primary() {
    let mut scene = Scene::start();
    for node in scene.group.nodes() {
        let user = "ACL SETUSER app on nopass ~* &* +@all -client +client|tracking";
        assert_eq!(node.call(user), Value::ok());
    }
    let mut client = scene.client();
    assert_eq!(client.call("HELLO 3 AUTH app x").get("proto"), Some(&Value::Int(3)));
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    client.send(&["BLPOP", "q", "0"]);
    scene.wait_for_command("blpop");
    scene.kill();
    assert_eq!(client.read(), invalidation(Value::Nil));
    assert_eq!(scene.client().call("RPUSH q job"), Value::Int(1));
    assert_eq!(client.read(), Value::Array(vec![Value::bulk("q"), Value::bulk("job")]));
}

#[test]
fn a_mode_that_the_next_primary_refuses_closes_who_is_parked_too() {
    let mut scene = Scene::start();
    for (node, rule) in scene.group.nodes().iter().zip(["", " -client +client|id"]) {
        assert_eq!(node.call(&format!("ACL SETUSER app on nopass ~* &* +@all{rule}")), Value::ok());
    }
    let mut client = scene.client();
    assert_eq!(client.call("HELLO 3 AUTH app x").get("proto"), Some(&Value::Int(3)));
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    client.send(&["BLPOP", "q", "0"]);
    scene.wait_for_command("blpop");
    scene.kill();
    assert_eq!(client.read(), invalidation(Value::Nil));
    // It is told once more where a connection to the dying node is opened and lost meanwhile.
    let stale = b">2\r\n$10\r\ninvalidate\r\n_\r\n";
    let told = client.read_to_close();
    assert!(told.chunks(stale.len()).all(|again| again == stale), "{}", told.escape_ascii());
}

#[test]
fn a_subscriber_goes_on_with_its_transaction() {
    let mut scene = Scene::start();
    let subscribed = || {
        let mut client = Client::connect_resp3(scene.proxy.address());
        assert!(matches!(client.call("SUBSCRIBE c"), Value::Push(_)));
        client
    };
    let (mut open, mut watching, mut over) = (subscribed(), subscribed(), subscribed());
    assert_eq!(open.call("MULTI"), Value::ok());
    assert_eq!(open.call("SET a 1"), Value::Simple("QUEUED".to_owned()));
    assert_eq!(watching.call("WATCH a"), Value::ok());
    // What is queued is the client's alone.
    let answers = over.pipeline(&["WATCH a", "UNWATCH", "MULTI", "DISCARD", "MULTI", "SET b 1"]);
    assert!(answers.iter().all(|answer| answer.error().is_none()), "{answers:?}");
    assert_eq!(over.call("WAIT 0 0"), Value::Simple("QUEUED".to_owned()));
    assert_eq!(over.call("EXEC").items().len(), 2);
    // Nor does it end with the last subscription.
    let mut leaving = subscribed();
    assert_eq!(leaving.pipeline(&["UNSUBSCRIBE c", "MULTI"])[1], Value::ok());
    assert_eq!(leaving.call("SET a 1"), Value::Simple("QUEUED".to_owned()));
    assert_eq!(leaving.call("DISCARD"), Value::ok());
    scene.kill();
    assert_eq!(leaving.call("GET a"), Value::Nil);
    assert_eq!(over.call("MGET a other"), Value::Array(vec![Value::Nil, Value::Nil]));
    assert_eq!(watching.pipeline(&["MULTI", "SET a 2", "EXEC", "GET a"])[2..], [Value::Nil, Value::Nil]);
    assert_eq!(open.call("EXEC"), Value::Array(vec![Value::ok()]));
    assert_eq!(open.call("GET a"), Value::bulk("1"));
}

#[test]
fn nobody_vouches_on_a_kept_connection_for_a_write_of_before_its_loss() {
    let mut scene = Scene::of(Group::plain(2));
    let mut client = Client::connect_resp3(scene.proxy.address());
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    assert_eq!(client.call("SET k v"), Value::ok());
    scene.kill();
    assert_eq!(client.read(), invalidation(Value::Nil));
    let mut other = scene.client();
    assert_eq!(other.call("SET other v"), Value::ok());
    eventually(LONG, "a replica follows", || other.call("WAIT 1 1000") == Value::Int(1));
    assert_eq!(client.call("WAIT 1 1000"), Value::Int(0));
    assert_eq!(client.pipeline(&["SET k w", "WAIT 1 20000"]), [Value::ok(), Value::Int(1)]);
}

#[test]
fn what_is_issued_again_is_counted() {
    let mut scene = Scene::start();
    let mut parked: Vec<Client> = (0..3).map(|_| scene.client()).collect();
    for client in &mut parked {
        client.send(&["BLPOP", "q", "0"]);
    }
    let mut subscriber = scene.client();
    subscriber.call("SUBSCRIBE c");
    eventually(LONG, "they are parked", || {
        scene.group.nodes()[0].info("blocked_clients").as_deref() == Some("3")
    });
    scene.kill();
    let mut other = scene.client();
    for _ in 0..3 {
        other.call("RPUSH q job");
    }
    for client in &mut parked {
        assert_eq!(client.read(), Value::Array(vec![Value::bulk("q"), Value::bulk("job")]));
    }
    assert!(scene.proxy.metric("redhold_reissued_total") >= Some(3.0));
    eventually(LONG, "it is subscribed again", || {
        scene.proxy.metric("redhold_resubscriptions_total") == Some(1.0)
    });
    eventually(LONG, "the log says so", || scene.proxy.log().contains("subscribed again"));
}
