//! MONITOR shows what clients do, and nothing that Redhold does by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Relay, Server, Value, chosen, eventually};

/// Requests as MONITOR repeats them.
fn printed(request: &str) -> String {
    let quoted: Vec<String> = request.split(' ').map(|word| format!("\"{word}\"")).collect();
    quoted.join(" ")
}

/// Lines without time and address.
fn content(line: &str) -> &str {
    line.split_once("] ").map_or(line, |(_, content)| content)
}

/// How often each line is to be expected.
fn counted(requests: &[String]) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    requests.iter().for_each(|request| *lines.entry(printed(request)).or_insert(0) += 1);
    lines
}

/// How often the node was asked for INFO.
fn server_looks(node: &Server) -> u64 {
    let text = node.info("cmdstat_info").unwrap_or_default();
    text.split_once("calls=").and_then(|(_, rest)| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// Reads up to the line of this request; returns how often each line came, the test's own questions left out.
fn lines_to(monitoring: &mut Client, last: &str) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    loop {
        let line = monitoring.read().text().expect("a line");
        *seen.entry(content(&line).to_owned()).or_insert(0) += 1;
        if content(&line) == printed(last) {
            seen.remove("\"INFO\" \"everything\"");
            return seen;
        }
    }
}

/// A client's work that makes Redhold do work of its own: connections opened, barriers, ids asked for.
fn work(proxy: &Proxy, round: usize, sent: &mut Vec<String>) {
    let mut client = proxy.client();
    let say = |sent: &mut Vec<String>, client: &mut Client, request: String, shown: &str| {
        let reply = client.call(&request);
        assert_eq!(reply.error(), None, "{request}");
        sent.push(shown.to_owned());
    };
    // More words than strangers may send: the node is asked first whether it serves this one.
    let many = format!("DEL {}", (0..12).map(|key| format!("none:{key}")).collect::<Vec<_>>().join(" "));
    say(sent, &mut client, many.clone(), &many);
    // The connections of this client's own are told its name.
    say(sent, &mut client, format!("CLIENT SETNAME at:{round}"), "CLIENT SETNAME ");
    if chosen().release < 70 {
        // It shows nobody's CLIENT.
        sent.pop();
    }
    for request in [
        format!("SET k:{round} v"),
        format!("SELECT {}", round % 8 + 1),
        format!("SET in:{round} v"),
        "HELLO 3".to_owned(),
        format!("GET in:{round}"),
        "WAIT 0 1000".to_owned(),
        format!("BLPOP none:{round} 0.01"),
        "INFO server".to_owned(),
        "PING".to_owned(),
        format!("PUBLISH news text-{round}"),
        "PUBSUB NUMPAT".to_owned(),
    ] {
        say(sent, &mut client, request.clone(), &request);
    }
    let mut other = proxy.client();
    // 7.0 hides what proves a user.
    say(sent, &mut other, "AUTH app words".to_owned(), "AUTH (redacted) (redacted)");
    for request in [format!("SET by-app:{round} v"), "WAIT 0 1000".to_owned()] {
        say(sent, &mut other, request.clone(), &request);
    }
    // PROXY and what Redhold refuses reach no node.
    let mut third = proxy.client();
    assert!(third.call("PROXY STATUS").error().is_none());
    assert!(third.call("REPLICAOF NO ONE").error().is_some());
}

#[test]
fn only_lines_that_clients_sent_are_seen_and_none_is_missing() {
    let mut group = Group::sealed(2);
    for node in group.nodes() {
        // Without rights to channels, so that its WAITs go over connections of Redhold's own user.
        assert_eq!(node.call("ACL SETUSER app on >words ~* +@all resetchannels"), Value::ok());
    }
    let proxy = ProxyOptions::new(&group.addresses()).set("health.interval", "\"20ms\"").start();
    let mut monitoring = proxy.client();
    assert_eq!(monitoring.call("MONITOR"), Value::ok());

    let mut sent = Vec::new();
    (0..20).for_each(|round| work(&proxy, round, &mut sent));
    let before = server_looks(&group.nodes()[0]);
    eventually(LONG, "Redhold looks at the node while it is watched", || {
        server_looks(&group.nodes()[0]) > before + 100
    });
    let mut client = proxy.client();
    sent.push("ECHO end-of-first".to_owned());
    client.call("ECHO end-of-first");
    assert_eq!(lines_to(&mut monitoring, "ECHO end-of-first"), counted(&sent));

    // Over a failover some lines are lost with the connection; what comes is still nothing but the clients'.
    let primary = group.primary();
    group.node(primary).kill9();
    client.call("SET after v");
    let mut probes = 0;
    let mut seen = BTreeMap::new();
    eventually(LONG, "MONITOR goes on at the new primary", || {
        probes += 1;
        client.call(&format!("ECHO probe-{probes}"));
        if monitoring.is_silent_for(Duration::from_millis(20)) {
            return false;
        }
        let line = monitoring.read().text().expect("a line");
        *seen.entry(content(&line).to_owned()).or_insert(0_usize) += 1;
        content(&line).starts_with("\"ECHO\" \"probe-")
    });
    let mut again = Vec::new();
    (100..110).for_each(|round| work(&proxy, round, &mut again));
    client.call("ECHO end-of-second");
    again.push("ECHO end-of-second".to_owned());
    seen.append(&mut lines_to(&mut monitoring, "ECHO end-of-second"));
    for request in &again {
        assert!(seen.contains_key(&printed(request)), "{request} is missing");
    }
    let known: Vec<String> = again.iter().chain(&sent).map(|request| printed(request)).collect();
    let is_alien = |line: &&String| {
        let kit = ["\"SET\" \"after\" \"v\"", "\"ECHO\" \"probe-", "\"INFO\" \"everything\"", "\"ROLE\""];
        !known.contains(line) && !kit.iter().any(|start| line.starts_with(start))
    };
    let alien: Vec<_> = seen.keys().filter(is_alien).collect();
    assert!(alien.is_empty(), "{alien:#?}");
}

#[test]
fn an_address_that_the_server_sees_otherwise_changes_nothing() {
    let server = Server::start();
    assert_eq!(server.call("ACL SETUSER app on >words ~* +@all resetchannels"), Value::ok());
    let relay = Relay::to(server.address());
    let proxy = ProxyOptions::new(&[relay.address()]).set("health.interval", "\"20ms\"").start();
    let mut monitoring = proxy.client();
    assert_eq!(monitoring.call("MONITOR"), Value::ok());
    let mut sent = Vec::new();
    let before = server_looks(&server);
    (0..3).for_each(|round| work(&proxy, round, &mut sent));
    eventually(LONG, "Redhold looks at the node", || server_looks(&server) > before + 20);
    let mut client = proxy.client();
    client.call("ECHO end");
    sent.push("ECHO end".to_owned());
    assert_eq!(lines_to(&mut monitoring, "ECHO end"), counted(&sent));
}

#[test]
fn a_line_is_no_reply_to_a_question_of_redholds_own() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let (mut monitoring, mut direct, mut other) = (proxy.client(), server.client(), server.client());
    for client in [&mut monitoring, &mut direct] {
        assert_eq!(client.call("MONITOR"), Value::ok());
    }
    // Stopped, the server has the line to write before it is asked for an id.
    server.sigstop();
    other.send(&["ECHO", "first"]);
    for client in [&mut monitoring, &mut direct] {
        client.send(&["BLPOP", "none", "0.01"]);
    }
    let sent = "redhold_commands_total{command=\"blpop\",node_role=\"primary\"}";
    eventually(LONG, "it is sent", || proxy.metric(sent) == Some(1.0));
    server.sigcont();
    let reply = |client: &mut Client| loop {
        let reply = client.read();
        if reply.text().is_none_or(|line| !line.contains(" [")) {
            return reply;
        }
    };
    assert_eq!(reply(&mut monitoring), reply(&mut direct));
    monitoring.send(&["ECHO", "back"]);
    assert_eq!(reply(&mut monitoring), Value::bulk("back"));
}

#[test]
fn a_monitoring_client_may_still_ask_and_leave() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let mut monitoring = proxy.client();
    assert_eq!(monitoring.call("MONITOR"), Value::ok());
    monitoring.send(&["RESET"]);
    let mut last = monitoring.read();
    while last.text().is_some_and(|line| line.contains(" [")) {
        last = monitoring.read();
    }
    assert_eq!(last, Value::Simple("RESET".to_owned()));
    assert_eq!(monitoring.call("ECHO back"), Value::bulk("back"));
}
