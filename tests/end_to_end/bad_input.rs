//! Input that no good client sends: bytes on the wire, the words of the refusal, and a second client unharmed.

use crate::support::{
    Bystander, Client, Group, LONG, Memory, Proxy, ProxyOptions, Server, Value, applies, chosen, eventually,
};
use crate::target::{Target, Way, both_ways};

/// Ample for what small requests leave behind in buffers.
const LITTLE: u64 = 16 << 20;

both_ways!(
    malformed_frames_are_refused_in_redis_words,
    empty_arrays_have_no_answer_and_cost_nothing,
    http_is_turned_away,
    a_broken_request_costs_the_good_ones_before_it_nothing,
    a_pause_that_a_client_ordered,
    who_leaves_while_it_waits_is_gone,
    replies_may_be_nested_deep,
);

#[test]
fn a_request_beyond_the_bound_is_refused_before_the_node_sees_any_of_it() {
    let group = Group::plain(0);
    let server = &group.nodes()[0];
    let proxy = ProxyOptions::new(&group.addresses())
        .set("limits.request_size", "\"3MiB\"")
        .set("proxy.workers", "1")
        .start();
    let witness = Bystander::start(proxy.address(), server.address());
    let refusal = "-ERR Protocol error: request larger than limits.request_size (3145728 bytes)\r\n";
    let value = |bytes: usize| "x".repeat(bytes);
    let mut good = proxy.client();
    assert_eq!(good.cmd(&["SET", "k", &value((3 << 20) - 64)]), Value::ok());
    let input = || {
        server.info("total_net_input_bytes").and_then(|bytes| bytes.parse::<u64>().ok()).expect("a number")
    };
    let before = input();
    for header in ["*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3145728\r\n", "*1000000\r\n$4\r\nMSET\r\n"] {
        let mut client = proxy.client();
        client.send_raw(b"SET first 1\r\n");
        client.send_raw(header.as_bytes());
        client.try_send_raw(value(1 << 20).as_bytes()).ok();
        assert_eq!(String::from_utf8_lossy(&client.read_to_close()), format!("+OK\r\n{refusal}"), "{header}");
    }
    assert!(input() - before < 1 << 20, "the node got none of it");
    // Each argument is small enough, and only the last one is too many.
    let mut client = proxy.client();
    let part = value(1 << 20);
    let request = crate::support::encode(&["RPUSH", "list", &part, &part, &part, &part]);
    client.try_send_raw(&request).ok();
    assert_eq!(String::from_utf8_lossy(&client.read_to_close()), refusal);
    assert_eq!(good.call("EXISTS list"), Value::Int(0), "nor was its beginning executed");
    assert_eq!(good.call("STRLEN k"), Value::Int((3 << 20) - 64));
    witness.finish_undisturbed();
}

/// The second client of a test that runs against a server too, and the proxy's memory if there is one.
fn watched(target: &Target) -> (Bystander, Option<Memory>) {
    let bystander = Bystander::start(target.address(), target.primary().address());
    (bystander, target.proxy.as_ref().map(|proxy| Memory::watch(proxy.pid())))
}

fn unharmed((bystander, memory): (Bystander, Option<Memory>)) {
    bystander.finish_undisturbed();
    if let Some(memory) = memory {
        memory.assert_grown_less(LITTLE, "ample for small requests");
    }
}

fn malformed_frames_are_refused_in_redis_words(way: Way) {
    let target = Target::new(way, 0);
    let watched = watched(&target);
    let long = "9".repeat(70_000);
    for (bytes, words) in [
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        ("*abc\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*1\r\n$abc\r\n", "invalid bulk length"),
        ("*1\r\n$-7\r\n", "invalid bulk length"),
        ("*1\r\n$9999999999999\r\n", "invalid bulk length"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n:5\r\n", "expected '$', got ':'"),
        ("SET k \"open\r\n", "unbalanced quotes in request"),
        (&long, "too big inline request"),
        (&format!("*{long}"), "too big mbulk count string"),
        (&format!("*1\r\n${long}"), "too big bulk count string"),
    ] {
        let mut client = target.client();
        // The refusal may come, and the close with it, before the last byte was sent.
        client.try_send_raw(bytes.as_bytes()).ok();
        let answer = String::from_utf8_lossy(&client.read_to_close()).into_owned();
        assert_eq!(answer, format!("-ERR Protocol error: {words}\r\n"), "{:.40}", bytes);
    }
    assert!(target.proxy.as_ref().is_none_or(|proxy| proxy.errors("protocol") == 12.0));
    unharmed(watched);
}

fn empty_arrays_have_no_answer_and_cost_nothing(way: Way) {
    let target = Target::new(way, 0);
    let watched = watched(&target);
    let mut client = target.client();
    client.send_raw(b"*0\r\n*-1\r\n\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.read_raw(7), b"+PONG\r\n");
    client.send_raw(&b"*0\r\n".repeat(500_000));
    client.send_raw(b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.read_raw(7), b"+PONG\r\n");
    assert!(client.is_silent_for(std::time::Duration::from_millis(50)));
    unharmed(watched);
}

fn http_is_turned_away(way: Way) {
    let target = Target::new(way, 0);
    let watched = watched(&target);
    for (bytes, answer) in [
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nSET k injected\r\n\r\n\r\n", ""),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k injected\r\n",
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        ("MULTI\r\nPOST / HTTP/1.1\r\nSET k injected\r\nEXEC\r\n", "+OK\r\n"),
        ("WATCH k\r\nHost: x\r\nSET k injected\r\n", "+OK\r\n"),
        ("*1\r\n$4\r\nPOST\r\n", ""),
        ("*2\r\n$5\r\nhost:\r\n$1\r\nx\r\n", ""),
    ] {
        if way == Way::Direct && chosen().release < 70 && answer == "+OK\r\n" {
            // There it is queued, and what stands behind it is executed.
            continue;
        }
        let mut client = target.client();
        client.send_raw(bytes.as_bytes());
        // Redis may close before it has sent what the first line deserves.
        let got = client.read_to_close();
        assert!(answer.as_bytes().starts_with(&got), "{bytes:?}: {}", got.escape_ascii());
    }
    assert_eq!(target.client().call("EXISTS k"), Value::Int(0), "nothing behind it was executed");
    unharmed(watched);
}

fn a_broken_request_costs_the_good_ones_before_it_nothing(way: Way) {
    let looks_behind = !chosen().valkey;
    if way == Way::Direct && !applies(looks_behind, "what stands behind a word's bytes is not looked at") {
        return;
    }
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.send_raw(b"SET k v\r\nGET k\r\n*1\r\n$3\r\nGETxx\r\n*x\r\nSET k later\r\n");
    let expected = "+OK\r\n$1\r\nv\r\n-ERR wrong number of arguments for 'get' command\r\n-ERR Protocol error: invalid multibulk length\r\n";
    assert_eq!(String::from_utf8_lossy(&client.read_to_close()), expected);
    assert_eq!(target.client().call("GET k"), Value::bulk("v"));
}

#[test]
fn clients_that_never_finish_a_request_cost_little() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let part = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n".as_slice(), &[b'x'; 60_000]].concat();
    let small: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = proxy.client();
            client.send_raw(&part);
            client
        })
        .collect();
    let part = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n".as_slice(), &vec![b'x'; 8 << 20]].concat();
    let large: Vec<Client> = (0..10)
        .map(|_| {
            let mut client = proxy.client();
            client.send_raw(&part);
            client
        })
        .collect();
    bystander.wait_for(200);
    drop((small, large));
    eventually(LONG, "their clients are gone", || proxy.metric("redhold_clients") == Some(1.0));
    bystander.finish_undisturbed();
    // What is below 1 MiB is kept until it is whole; what is not passes through, 256 KiB at a time.
    memory
        .assert_grown_less(300 * (128 << 10) + 10 * (512 << 10) + LITTLE, "twice what was sent and is kept");
    assert_eq!(proxy.client().call("EXISTS k"), Value::Int(0));
}

#[test]
fn a_client_that_never_reads_is_closed_at_its_bound() {
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).set("limits.client_output", "\"8MiB\"").start();
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["SET", "big", &"x".repeat(1 << 20)]), Value::ok());
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let mut greedy = proxy.client();
    let requests = b"GET big\r\n".repeat(2_000);
    greedy.try_send_raw(&requests).ok();
    eventually(LONG, "the client that does not read is closed", || {
        proxy.metric("redhold_errors_total{kind=\"client_output\"}").is_some_and(|count| count >= 1.0)
    });
    bystander.wait_for(200);
    bystander.finish_undisturbed();
    memory.assert_grown_less((8 << 20) + (8 << 20) + LITTLE, "limits.client_output and 8 MiB of window");
    let told = "closed: it does not read its replies, and more than limits.client_output waits for it";
    eventually(LONG, "a person can see why", || proxy.log().contains(told));
    assert_eq!(client.call("STRLEN big"), Value::Int(1 << 20));
}

#[test]
fn beyond_max_clients_a_client_is_told_so() {
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).set("proxy.max_clients", "8").start();
    let mut clients: Vec<Client> = Vec::new();
    eventually(LONG, "eight clients are in", || {
        let mut client = proxy.client();
        if client.try_cmd(&["PING"]).is_ok_and(|reply| reply.error().is_none()) {
            clients.push(client);
        }
        clients.len() == 8
    });
    let mut ninth = proxy.client();
    assert_eq!(ninth.read_to_close(), b"-ERR max number of clients reached\r\n");
    assert_eq!(clients[0].call("PING"), Value::Simple("PONG".to_owned()));
    clients.pop();
    eventually(LONG, "there is room again", || {
        proxy.client().try_cmd(&["PING"]).is_ok_and(|reply| reply.error().is_none())
    });
}

fn a_pause_that_a_client_ordered(way: Way) {
    let target = Target::noticing_silence(way, 1);
    let mut client = target.client();
    assert_eq!(client.cmd(&["SET", "k", "before"]), Value::ok());
    assert_eq!(client.cmd(&["CLIENT", "PAUSE", "4000"]), Value::ok());
    assert_eq!(client.cmd(&["GET", "k"]), Value::bulk("before"));
    if let Some(proxy) = &target.proxy {
        assert_eq!(proxy.status()["epoch"], 1, "a silence that a client ordered is no failure");
    }
}

/// Whatever of it waits in the proxy when the client has said all that it will say. How much the way takes is not known, so that
/// several lengths are tried.
#[test]
fn who_quits_and_sends_no_more_gets_all_that_was_asked_for() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    assert_eq!(server.client().cmd(&["SETRANGE", "k", "8388607", "x"]), Value::Int(8 << 20));
    for len in (128 << 10..8 << 20).step_by(128 << 10) {
        let mut client = Client::connect_narrow(proxy.address());
        client.send_raw(format!("GETRANGE k 0 {}\r\nQUIT\r\n", len - 1).as_bytes());
        client.finish_sending();
        assert!(!client.is_silent_for(LONG));
        assert_eq!(client.read(), Value::Bulk(vec![0; len]), "{len}");
        assert_eq!(client.read(), Value::ok());
    }
}

/// What never comes is not waited for in its place. Redis closes when it reads the end of what a client sends.
fn who_leaves_while_it_waits_is_gone(way: Way) {
    let target = Target::new(way, 0);
    for request in [
        "WAIT 1 0",
        "BLPOP none 0",
        "XREAD BLOCK 0 STREAMS none $",
        "SUBSCRIBE news",
        "MONITOR\r\nMONITOR\r\nPING",
        "MULTI\r\nGET k",
        "WATCH k",
    ] {
        let mut client = target.client();
        client.send_raw(format!("{request}\r\n").as_bytes());
        client.finish_sending();
        client.read_to_close();
    }
    let Some(proxy) = &target.proxy else { return };
    let mut waits = proxy.client();
    waits.send(&["WAIT", "1", "0"]);
    eventually(LONG, "it waits at the node", || {
        target.primary().info("blocked_clients").is_some_and(|count| count == "1")
    });
    drop(waits);
    eventually(LONG, "it is gone", || proxy.metric("redhold_clients") == Some(0.0));
    eventually(LONG, "at the node too", || {
        target.primary().info("blocked_clients").is_some_and(|count| count == "0")
    });
}

/// The deepest that a server makes of a script's answer, and beyond it.
fn replies_may_be_nested_deep(way: Way) {
    let target = Target::new(way, 0);
    let watched = watched(&target);
    // 6.2.5 writes beyond its stack with more (CVE-2021-32626).
    let depths = if chosen().release < 70 { &[100][..] } else { &[100, 1_000, 7_000] };
    for depth in depths.iter().copied() {
        let script = format!("local t = {{}} for i = 1, {depth} do t = {{t}} end return t");
        let expected = [&b"*1\r\n".repeat(depth)[..], b"*0\r\n"].concat();
        let mut client = target.client();
        client.send(&["EVAL", &script, "0"]);
        assert_eq!(client.read_raw(expected.len()), expected);
        // A reply that is looked into on its way.
        client.send_raw(b"MULTI\r\nSCAN 0 COUNT 1\r\n");
        client.send(&["EVAL", &script, "0"]);
        client.send_raw(b"EXEC\r\nPING\r\n");
        assert_eq!(client.read_raw(23), b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"[..23]);
        let tail = [&expected[..], b"+PONG\r\n"].concat();
        let mut found = Vec::new();
        while !found.ends_with(&tail) {
            found.extend(client.read_raw(1));
            assert!(found.len() < tail.len() + 100, "{depth}");
        }
    }
    unharmed(watched);
}
