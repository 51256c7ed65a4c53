//! Settings that bound what waits, each moved to where its effect is seen.

use std::time::{Duration, Instant};

use crate::support::{Group, LONG, Proxy, ProxyOptions, Server, Value, eventually};

/// One worker, and a node that may stand still for long.
fn patient(server: &Server) -> ProxyOptions {
    ProxyOptions::new(&[server.address()])
        .set("proxy.workers", "1")
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"60s\"")
}

/// Waits until so many requests of this command were sent to the node.
fn wait_sent(proxy: &Proxy, command: &str, count: u32) {
    let series = format!("redhold_commands_total{{command=\"{command}\",node_role=\"primary\"}}");
    eventually(LONG, &format!("{count} of {command} are sent"), || {
        proxy.metric(&series) == Some(f64::from(count))
    });
}

#[test]
fn copies_kept_for_sending_again_are_bounded_by_their_memory() {
    let server = Server::start();
    let proxy = patient(&server).set("failover.hold_memory", "\"1MiB\"").start();
    let value = "x".repeat(200 << 10);
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
    // Nobody sends as much before the node has admitted him.
    let admitted = "x".repeat(20 << 10);
    clients.iter_mut().for_each(|client| assert_eq!(client.cmd(&["SET", "k", &admitted]), Value::ok()));
    server.sigstop();
    clients.iter_mut().for_each(|client| client.send(&["SET", "k", &value]));
    wait_sent(&proxy, "set", 8 + 5);
    assert!(clients.iter_mut().all(|client| client.is_silent_for(Duration::from_millis(20))));
    wait_sent(&proxy, "set", 8 + 5);
    server.sigcont();
    clients.iter_mut().for_each(|client| assert_eq!(client.read(), Value::ok()));
    wait_sent(&proxy, "set", 8 + 8);
}

#[test]
fn one_clients_requests_on_a_shared_connection_are_bounded() {
    let server = Server::start();
    let proxy = patient(&server).set("limits.in_flight_per_client", "\"1KiB\"").start();
    let mut client = proxy.client();
    let request = crate::support::encode(&["SET", "k", &"x".repeat(228)]);
    assert_eq!(request.len(), 256);
    server.sigstop();
    client.send_raw(&request.repeat(20));
    wait_sent(&proxy, "set", 4);
    assert!(client.is_silent_for(Duration::from_millis(100)));
    wait_sent(&proxy, "set", 4);
    server.sigcont();
    (0..20).for_each(|_| assert_eq!(client.read(), Value::ok()));
}

/// Nothing is known of how long their replies are.
#[test]
fn a_clients_first_requests_are_bounded_in_number() {
    let server = Server::start();
    let proxy = patient(&server).start();
    // The node has admitted somebody.
    assert_eq!(proxy.client().call("GET k"), Value::Nil);
    let mut client = proxy.client();
    server.sigstop();
    client.send_raw(&crate::support::encode(&["GET", "k"]).repeat(500));
    wait_sent(&proxy, "get", 1 + 64);
    assert!(client.is_silent_for(Duration::from_millis(100)));
    wait_sent(&proxy, "get", 1 + 64);
    server.sigcont();
    (0..500).for_each(|_| assert_eq!(client.read(), Value::Nil));
    wait_sent(&proxy, "get", 1 + 500);
}

#[test]
fn a_pipeline_is_bounded_by_the_memory_for_copies_too() {
    let server = Server::start();
    let options = patient(&server).set("failover.hold_memory", "\"1MiB\"");
    let proxy = options.set("limits.in_flight_per_client", "\"8MiB\"").start();
    let mut client = proxy.client();
    // Many may be on their way at once when the replies before were short.
    assert_eq!(client.pipeline(&["GET k"; 500]), vec![Value::Nil; 500]);
    let request = crate::support::encode(&["SET", "k", &"x".repeat(8 << 10)]);
    let fitting = u32::try_from((1 << 20) / request.len()).expect("a small number");
    server.sigstop();
    let mut sender = client.sender();
    let bytes = request.repeat(200);
    let sending = std::thread::spawn(move || sender.send_raw(&bytes));
    wait_sent(&proxy, "set", fitting);
    assert!(client.is_silent_for(Duration::from_millis(100)));
    wait_sent(&proxy, "set", fitting);
    server.sigcont();
    (0..200).for_each(|_| assert_eq!(client.read(), Value::ok()));
    sending.join().expect("all was sent");
}

#[test]
fn a_drain_waits_so_long_for_who_holds_something() {
    let group = Group::plain(0);
    let options = ProxyOptions::new(&group.addresses()).set("proxy.drain_timeout", "\"300ms\"");
    let mut proxy = options.start();
    let mut listener = proxy.client();
    listener.call("SUBSCRIBE news");
    let start = Instant::now();
    proxy.sigterm();
    listener.read_to_close();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(290), "{waited:?}");
    assert!(waited < Duration::from_secs(9), "the default is ten seconds: {waited:?}");
    assert!(proxy.wait_exit().success());
}

#[test]
fn a_write_of_unknown_outcome_is_sent_again_where_the_configuration_says_so() {
    let lost = "AMBIGUOUS write may have been executed: connection to the primary lost (epoch 1";
    for (in_flight, set, incr) in [
        ("error", None, None),
        ("auto", Some(Value::ok()), None),
        ("retry_idempotent", Some(Value::ok()), None),
        ("retry_all", Some(Value::ok()), Some(Value::Int(1))),
    ] {
        let mut group = Group::plain(1);
        let proxy = ProxyOptions::new(&group.addresses())
            .set("failover.in_flight", &format!("\"{in_flight}\""))
            .set("failover.hold", "\"60s\"")
            .set("proxy.workers", "1")
            .set("health.timeout", "\"60s\"")
            .set("health.busy_timeout", "\"60s\"")
            .start();
        let (mut setter, mut counter) = (proxy.client(), proxy.client());
        group.nodes()[0].sigstop();
        setter.send(&["SET", "k", "v"]);
        counter.send(&["INCR", "n"]);
        wait_sent(&proxy, "set", 1);
        wait_sent(&proxy, "incr", 1);
        group.node(0).kill9();
        for (client, expected) in [(&mut setter, set), (&mut counter, incr)] {
            let reply = client.read();
            match expected {
                Some(expected) => assert_eq!(reply, expected, "{in_flight}"),
                None => assert!(
                    reply.error().is_some_and(|text| text.starts_with(lost)),
                    "{in_flight}: {reply:?}"
                ),
            }
        }
    }
}
