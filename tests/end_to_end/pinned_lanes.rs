//! What becomes of a client when its own connection is lost, refused or can not be had.

use std::time::{Duration, Instant};

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, Server, ServerOptions, Value, eventually, eventually_some,
    row_field, spend_spare,
};

/// A proxy that changes the primary by order only.
fn manual(group: &Group, hold: &str) -> Proxy {
    ProxyOptions::new(&group.addresses())
        .set("failover.hold", &format!("\"{hold}\""))
        .set("failover.mode", "\"manual\"")
        .start()
}

#[track_caller]
fn kill_and_wait(group: &mut Group, proxy: &Proxy) {
    group.node(0).kill9();
    eventually(LONG, "the death is seen", || proxy.status()["writable"] == false);
}

/// Follows the cursors of `SSCAN s` to their end and returns how many members came.
#[track_caller]
fn scan(client: &mut Client, count: usize, in_multi: bool) -> usize {
    let (mut seen, mut cursor, mut rounds) = (0, "0".to_owned(), 0);
    loop {
        let request = format!("SSCAN s {cursor} COUNT {count}");
        let reply = if in_multi {
            client.pipeline(&["MULTI", &request, "ECHO x", "EXEC"]).remove(3).items()[0].clone()
        } else {
            client.call(&request)
        };
        assert!(reply.error().is_none(), "round {rounds}: {reply:?}");
        cursor = reply.items()[0].text().expect("a cursor");
        seen += reply.items()[1].items().len();
        rounds += 1;
        if cursor == "0" {
            assert!(rounds > 1, "one reply would prove nothing");
            return seen;
        }
    }
}

#[test]
fn a_scan_on_a_connection_of_ones_own_comes_to_its_end_in_every_epoch() {
    const MEMBERS: usize = 600;
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let members: Vec<String> = (0..MEMBERS).map(|number| format!("{number:0>1000}")).collect();
    let mut words = vec!["SADD", "s"];
    words.extend(members.iter().map(String::as_str));
    assert_eq!(group.nodes()[0].client().cmd(&words), Value::Int(MEMBERS as i64));
    group.wait_in_sync(0);
    group.node(0).kill9();
    eventually(LONG, "another epoch", || proxy.status()["epoch"] == 2);
    let mut client = proxy.client();
    client.pipeline(&["MULTI", "SELECT 3", "SSCAN s 0", "EXEC", "SET where three"]);
    assert_eq!(group.nodes()[1].client().pipeline(&["SELECT 3", "GET where"])[1], Value::bulk("three"));
    // The second number makes replies that are passed on in pieces.
    for count in [20, 250] {
        assert_eq!(scan(&mut proxy.client(), count, false), MEMBERS, "shared, {count}");
        assert_eq!(scan(&mut proxy.client(), count, true), MEMBERS, "in MULTI, {count}");
        for setup in ["CLIENT TRACKING ON NOLOOP OPTIN", "WATCH other", "CLIENT NO-EVICT ON", "SUBSCRIBE c"] {
            let mut client = Client::connect_resp3(proxy.address());
            client.call(setup);
            assert_eq!(scan(&mut client, count, false), MEMBERS, "{setup}, {count}");
            // Which waits until nothing is owed.
            assert_eq!(client.call("RESET"), Value::Simple("RESET".to_owned()), "{setup}, {count}");
        }
    }
}

#[test]
fn what_waits_on_a_connection_of_ones_own_is_answered_at_the_holds_end() {
    let mut group = Group::plain(1);
    let proxy = manual(&group, "700ms");
    let (mut open, mut unsent, mut subscriber) =
        (proxy.client(), proxy.client(), Client::connect_resp3(proxy.address()));
    let mut silent = proxy.client();
    open.pipeline(&["MULTI", "INCR n"]);
    unsent.pipeline(&["MULTI", "INCR n"]);
    subscriber.call("SUBSCRIBE c");
    silent.send_raw(b"CLIENT REPLY OFF\r\nSET silent 1\r\n");
    eventually(LONG, "it is executed", || group.nodes()[0].call("GET silent") == Value::bulk("1"));
    kill_and_wait(&mut group, &proxy);
    let text = "TRYAGAIN no writable primary for 700 ms; command was not executed";
    let reply = open.call("EXEC");
    assert!(
        reply.error().is_some_and(|text| text.starts_with("EXECABORT") && text.ends_with("not executed")),
        "{reply:?}"
    );
    assert_eq!(proxy.errors("transaction_lost"), 1.0);
    assert_eq!(subscriber.call("INCR n"), Value::Error(text.to_owned()));
    assert_eq!(unsent.call("INCR n"), Value::Error(text.to_owned()));
    silent.send_raw(b"SET silent 2\r\n");
    assert!(silent.is_silent_for(Duration::from_millis(50)), "errors of ours are left out too");
    proxy.force_failover(group.addresses()[1]);
    let reply = unsent.call("EXEC");
    assert!(reply.error().is_some_and(|text| text.starts_with("EXECABORT")), "{reply:?}");
    assert_eq!(open.call("GET n"), Value::Nil, "nothing of it was executed");
    assert_eq!(open.pipeline(&["MULTI", "INCR n", "EXEC"])[2], Value::Array(vec![Value::Int(1)]));
    assert_eq!(subscriber.call("INCR n"), Value::Int(2));
    silent.send_raw(b"CLIENT REPLY ON\r\n");
    assert_eq!(silent.read(), Value::ok());
}

#[test]
fn held_requests_are_none_once_the_hold_is_over() {
    let mut group = Group::plain(1);
    let proxy = manual(&group, "60s");
    let mut subscriber = proxy.client();
    subscriber.call("SUBSCRIBE c");
    let mut tracker = Client::connect_resp3(proxy.address());
    tracker.call("CLIENT TRACKING ON");
    kill_and_wait(&mut group, &proxy);
    let mut held = proxy.client();
    held.send(&["SET", "k", "v"]);
    eventually(LONG, "one is held", || proxy.metric("redhold_held_requests") == Some(1.0));
    proxy.force_failover(group.addresses()[1]);
    assert_eq!(held.read(), Value::ok());
    eventually(LONG, "it is subscribed again", || held.call("PUBSUB NUMSUB c").items()[1] == Value::Int(1));
    assert_eq!(proxy.metric("redhold_held_requests"), Some(0.0));
}

#[test]
fn a_node_that_takes_a_user_no_more_has_its_clients_closed_and_says_so() {
    let mut group = Group::plain(1);
    assert_eq!(group.nodes()[0].call("ACL SETUSER app on >pw ~* &* +@all"), Value::ok());
    let proxy = Proxy::start(&group.addresses());
    let app = || {
        let mut client = proxy.client();
        assert_eq!(client.call("HELLO 3 AUTH app pw").get("proto"), Some(&Value::Int(3)));
        client
    };
    let (mut subscriber, mut tracker, mut monitor, mut watcher) = (app(), app(), app(), app());
    subscriber.call("SUBSCRIBE c");
    tracker.call("CLIENT TRACKING ON");
    monitor.call("MONITOR");
    watcher.call("WATCH k");
    group.node(0).kill9();
    for client in [&mut subscriber, &mut tracker, &mut monitor, &mut watcher] {
        client.read_to_close();
    }
    let log = proxy.log();
    assert!(log.contains("WRONGPASS") && log.contains("closed"), "{log}");
    assert_eq!(proxy.metric("redhold_errors_total{kind=\"node_refused\"}"), Some(4.0));
}

#[test]
fn a_node_without_room_is_asked_at_a_bounded_pace_and_says_so_at_the_holds_end() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()])
        .set("failover.hold", "\"1s\"")
        .set("proxy.workers", "1")
        .set("backend.pinned_max", "100")
        .start();
    let mut direct = server.client();
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    // Each has been served, so that every shared connection stands.
    for client in &mut clients {
        assert_eq!(client.call("SET k v"), Value::ok());
    }
    let _holder = spend_spare(&proxy, &server);
    // No slot frees itself when a connection of the proxy's own ends.
    assert_eq!(direct.call("CONFIG SET maxclients 1"), Value::ok());
    for client in &mut clients {
        client.send(&["BLPOP", "q", "0"]);
    }
    for client in &mut clients {
        let reply = client.read();
        assert!(reply.error().is_some_and(|text| text.ends_with("not executed")), "{reply:?}");
    }
    let rejected = crate::support::info_field(&mut direct, "rejected_connections").expect("a number");
    let rejected: u64 = rejected.parse().expect("a number");
    assert!((8..=400).contains(&rejected), "{rejected} attempts in a second for eight clients");
    assert_eq!(direct.call("CONFIG SET maxclients 1000"), Value::ok());
    for client in &mut clients {
        direct.call("RPUSH q job");
        assert_eq!(client.call("BLPOP q 0").items()[1], Value::bulk("job"));
    }
}

#[test]
fn a_subscriber_that_its_node_closed_is_closed_too() {
    let options = ServerOptions::default().set("client-output-buffer-limit", "pubsub 4mb 0 0");
    let group = Group::plain_with(1, &options);
    let proxy = Proxy::start(&group.addresses());
    let mut subscriber = proxy.client();
    subscriber.call("SUBSCRIBE c");
    // From 16 KiB on Valkey keeps a text once for all who are owed it, and does not count it.
    let (mut publisher, text) = (proxy.client(), "x".repeat(15 << 10));
    // It does not read, so that the node has to keep what comes.
    eventually(LONG, "the node gives it up", || publisher.cmd(&["PUBLISH", "c", &text]) == Value::Int(0));
    let heard = subscriber.read_to_close();
    assert!(heard.starts_with(b"*3\r\n$7\r\nmessage\r\n"));
    let log = proxy.log();
    assert!(log.contains("closed by its node"), "{log}");
    assert_eq!(proxy.status()["epoch"], 1);
}

/// A node that lives and closes it each time is not asked at full speed.
#[test]
fn who_is_parked_waits_a_little_before_it_is_sent_to_a_living_node_again() {
    const KILLS: u32 = 20;
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let (mut client, mut direct) = (proxy.client(), server.client());
    client.send(&["BLPOP", "q", "0"]);
    let mut kill = || {
        let rows = direct.call("CLIENT LIST").text().expect("rows");
        let parked = rows.lines().find(|row| row_field(row, "cmd").as_deref() == Some("blpop"));
        let id = parked.and_then(|row| row_field(row, "id"));
        id.is_some_and(|id| direct.call(&format!("CLIENT KILL ID {id}")) == Value::Int(1))
    };
    eventually(LONG, "the first is closed", &mut kill);
    let start = Instant::now();
    (0..KILLS).for_each(|_| eventually(LONG, "the next one is closed", &mut kill));
    let took = start.elapsed();
    assert!(took >= KILLS * Duration::from_millis(10), "{KILLS} connections in {took:?}");
    server.call("RPUSH q job");
    assert_eq!(client.read().items()[1], Value::bulk("job"));
}

/// What is queued would be sent to it again without end.
#[test]
fn a_transaction_whose_connection_is_always_closed_ends_with_its_client() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let (mut client, mut other, mut direct) = (proxy.client(), proxy.client(), server.client());
    assert_eq!(client.call("MULTI"), Value::ok());
    assert_eq!(client.call("SET k v"), Value::Simple("QUEUED".to_owned()));
    let mut kill = || {
        let rows = direct.call("CLIENT LIST").text().expect("rows");
        let in_multi =
            rows.lines().filter(|row| row_field(row, "flags").is_some_and(|flags| flags.contains('x')));
        let ids: Vec<_> = in_multi.filter_map(|row| row_field(row, "id")).collect();
        ids.iter().filter(|id| direct.call(&format!("CLIENT KILL ID {id}")) == Value::Int(1)).count()
    };
    let mut killed = 0;
    eventually(LONG, "the client is given up", || {
        killed += kill();
        proxy.metric("redhold_errors_total{kind=\"node_closed\"}") == Some(1.0)
    });
    assert_eq!(killed, 9, "connections of one transaction");
    assert_eq!(client.read_to_close(), b"");
    assert!(proxy.log().contains("closed again and again"), "{}", proxy.log());
    assert_eq!(other.call("EXISTS k"), Value::Int(0));
}

#[test]
fn a_large_message_is_no_reply_to_what_is_owed() {
    let mut group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("health.timeout", "\"5s\"").start();
    let (mut subscriber, mut other) = (Client::connect_resp3(proxy.address()), proxy.client());
    subscriber.call("SUBSCRIBE c");
    subscriber.send(&["BLPOP", "q", "0"]);
    eventually(LONG, "it is parked", || group.nodes()[0].info("blocked_clients").as_deref() == Some("1"));
    assert_eq!(other.cmd(&["PUBLISH", "c", &"x".repeat(200 << 10)]), Value::Int(1));
    assert!(matches!(subscriber.read(), Value::Push(_)));
    group.node(0).kill9();
    assert_eq!(other.call("RPUSH q job"), Value::Int(1));
    assert_eq!(subscriber.read(), Value::Array(vec![Value::bulk("q"), Value::bulk("job")]));
}

/// Reads are stopped after 64 KiB, so that the end of a client that sent more is not seen by reading. The rest fits
/// into the kernel's buffer, with the end behind it.
fn beyond_the_read_ahead() -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..45 {
        bytes.extend(crate::support::encode(&["ECHO", &"x".repeat(2_000)]));
    }
    bytes
}

/// Whether the kernel at the other side has the end too: it lags behind while the window is shut, and nobody can know of it there.
fn end_has_arrived(client: &Client) -> bool {
    const FIN_WAIT2: &str = "05";
    let place = format!(":{:04X}", client.local_address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&place) && fields[3] == FIN_WAIT2
    })
}

#[test]
fn requests_of_clients_that_left_unseen_are_not_executed() {
    let mut group = Group::plain(1);
    let proxy = manual(&group, "60s");
    proxy.client().call("RPUSH q job");
    group.wait_in_sync(0);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    clients[3].pipeline(&["MULTI", "INCR queued"]);
    kill_and_wait(&mut group, &proxy);
    let requests =
        [&["INCR", "shared"][..], &["BLPOP", "q", "0"], &["VADD", "v", "VALUES", "1", "1", "e"], &["EXEC"]];
    for (mut gone, request) in clients.into_iter().zip(requests) {
        gone.send(request);
        gone.send_raw(&beyond_the_read_ahead());
        assert!(gone.is_silent_for(Duration::from_millis(50)));
        gone.finish_sending();
        eventually(LONG, "its end has arrived", || end_has_arrived(&gone));
    }
    eventually(LONG, "they are held", || proxy.metric("redhold_held_requests") == Some(4.0));
    proxy.force_failover(group.addresses()[1]);
    eventually(LONG, "they are gone", || proxy.metric("redhold_clients") == Some(0.0));
    let mut other = proxy.client();
    let sent = "redhold_commands_total{command=\"vadd\",node_role=\"primary\"}";
    let found = (other.call("MGET shared queued"), other.call("LLEN q"), proxy.metric(sent));
    assert_eq!(found, (Value::Array(vec![Value::Nil, Value::Nil]), Value::Int(1), None));
}

#[test]
fn a_parked_request_keeps_its_time_while_no_connection_is_to_be_had() {
    let server = Server::start();
    let options = ProxyOptions::new(&[server.address()]).set("proxy.workers", "1");
    let proxy = options.set("backend.pinned_max", "100").start();
    let (mut direct, mut client) = (server.client(), proxy.client());
    assert_eq!(client.call("SET k v"), Value::ok());
    let mut monitor = server.client();
    assert_eq!(monitor.call("MONITOR"), Value::ok());
    let _holder = spend_spare(&proxy, &server);
    // Fewer than there are: whoever leaves makes room for nobody.
    assert_eq!(direct.call("CONFIG SET maxclients 1"), Value::ok());
    let mut rejected = || {
        let count = crate::support::info_field(&mut direct, "rejected_connections").expect("a number");
        count.parse::<u64>().expect("a number")
    };
    let before = rejected();
    let start = Instant::now();
    client.send(&["BLPOP", "q", "10"]);
    // Some were meant for something else: the nodes are compared as well.
    eventually(LONG, "it was refused a connection", || {
        rejected() >= before + 3 && start.elapsed() >= Duration::from_millis(500)
    });
    assert_eq!(direct.call("CONFIG SET maxclients 1000"), Value::ok());
    assert_eq!(client.read(), Value::Nil);
    assert!(start.elapsed() >= Duration::from_millis(9_900), "{:?}", start.elapsed());
    let line = eventually_some(LONG, "the node was sent it", || {
        monitor.read().text().filter(|line| line.contains("\"BLPOP\""))
    });
    let left = line.rsplit('"').nth(1).and_then(|text| text.parse::<f64>().ok());
    assert!(left.is_some_and(|left| left < 10.0), "only for what was left of its time: {line}");
}
