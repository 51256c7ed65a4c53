//! Traces: what a collector is told of requests and of changes of primary, and what becomes of it without a collector.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{
    Client, Collector, Group, LONG, Proxy, ProxyOptions, Server, Span, Value, eventually, listen,
};

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos())
        .expect("before 2554")
}

fn spans(proxy: &Proxy, outcome: &str) -> u64 {
    let series = format!("redhold_trace_spans_total{{outcome=\"{outcome}\"}}");
    proxy.metric(&series).expect("it is counted") as u64
}

/// The parts follow one another from the beginning of the whole to its end, and belong to it.
#[track_caller]
fn adds_up(root: &Span, parts: &[Span]) {
    let mut at = root.start;
    for part in parts {
        assert_eq!((part.parent.as_ref(), part.start), (Some(&root.id), at), "{root:?}: {parts:?}");
        assert!(part.end >= part.start, "{part:?}");
        at = part.end;
    }
    assert_eq!(at, root.end, "{root:?}: {parts:?}");
}

#[test]
fn a_request_is_told_with_its_parts_whichever_way_it_goes() {
    let (server, collector) = (Server::start(), Collector::start());
    let proxy = ProxyOptions::new(&[server.address()])
        .set("tracing.otlp", &collector.url())
        .set("tracing.sample", "1.0")
        .start();
    let before = now();
    let (mut client, mut parked) = (proxy.client(), proxy.client());
    assert_eq!(client.call("SET secret-key secret-value"), Value::ok());
    assert_eq!(client.call("GET secret-key"), Value::bulk("secret-value"));
    assert!(client.call("LPUSH secret-key x").error().is_some());
    let replies = client.pipeline(&["INCR n", "INCR secret-key", "INCR n"]);
    assert!(replies[1].error().is_some() && replies[2] == Value::Int(2), "{replies:?}");
    let script = "return redis.error_reply('secret-key is what a script may say')";
    assert!(client.cmd(&["EVAL", script, "0"]).error().is_some());
    for request in ["MULTI", "SET k v", "EXEC", "SELECT 3", "CLIENT ID", "PROXY HELP"] {
        assert!(client.call(request).error().is_none(), "{request}");
    }
    parked.send(&["BLPOP", "list", "0"]);
    eventually(LONG, "it is parked", || server.info("blocked_clients").as_deref() == Some("1"));
    assert!(parked.is_silent_for(Duration::from_millis(20)));
    client.call("SELECT 0");
    assert_eq!(client.call("RPUSH list x"), Value::Int(1));
    assert_eq!(parked.read().items().len(), 2);

    let node = server.address();
    for name in ["SET", "GET", "LPUSH", "MULTI", "EXEC", "BLPOP", "SELECT", "CLIENT ID", "INCR", "EVAL"] {
        let (root, parts) = collector.trace(name, |_| true);
        adds_up(&root, &parts);
        // A connection of its own may have had to be opened first.
        let (part, first) = parts.split_last().expect("the node's part");
        assert!(first.len() <= 1 && first.iter().all(|it| it.name == "held"), "{name}: {parts:?}");
        assert_eq!((root.kind, part.kind, part.name.as_str()), (2, 3, name));
        assert!(before <= root.start && root.end <= now(), "{root:?}");
        assert_eq!(part.says("server.port"), Some(node.port().to_string().as_str()));
        assert_eq!(part.says("redhold.node.role"), Some("primary"));
        assert_eq!(
            (root.says("db.system.name"), root.says("db.operation.name")),
            (Some("redis"), Some(name))
        );
        let of = if name == "BLPOP" { &parked } else { &client };
        assert_eq!(root.says("client.port"), Some(of.local_address().port().to_string().as_str()), "{name}");
        assert_eq!(root.says("server.port"), Some(proxy.address().port().to_string().as_str()));
    }
    let (blocked, _) = collector.trace("BLPOP", |_| true);
    assert!(blocked.end - blocked.start >= 20_000_000, "it waited: {blocked:?}");
    assert_eq!(collector.trace("RPUSH", |_| true).0.says("db.namespace"), Some("0"));
    let told = collector.spans();
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
    let codes = |name: &str| {
        let of = told.iter().filter(|it| it.parent.is_none() && it.name == name);
        of.map(|it| (it.failed, it.says("error.type"))).collect::<Vec<_>>()
    };
    assert_eq!(codes("LPUSH"), [(true, Some("WRONGTYPE"))]);
    assert_eq!(codes("INCR"), [(false, None), (true, Some("ERR")), (false, None)]);
    assert_eq!((codes("EVAL"), codes("GET")), (vec![(true, Some("_OTHER"))], vec![(false, None)]));
    assert_eq!(codes("SET"), [(false, None); 2], "the queued one as well");
    eventually(LONG, "what was told is counted", || spans(&proxy, "sent") == collector.spans().len() as u64);
    assert_eq!((spans(&proxy, "dropped"), spans(&proxy, "failed")), (0, 0));
}

/// So many requests, of which the proxy makes two spans each, whatever becomes of them.
fn ask(client: &mut Client, requests: usize) {
    for _ in 0..requests / 100 {
        assert_eq!(client.pipeline(&["GET k"; 100]), vec![Value::Nil; 100]);
    }
}

#[test]
fn without_a_collector_requests_are_served_and_what_is_lost_is_counted() {
    let (server, listener) = (Server::start(), listen());
    let place = listener.local_addr().expect("it is bound");
    drop(listener);
    let proxy = ProxyOptions::new(&[server.address()])
        .set("tracing.otlp", &format!("\"http://{place}/otlp\""))
        .set("tracing.sample", "1.0")
        .start();
    let mut client = proxy.client();
    let lost = || proxy.log().matches("traces are not taken").count();
    ask(&mut client, 100);
    eventually(LONG, "the loss is told", || lost() == 1);
    ask(&mut client, 6_000);
    assert!(spans(&proxy, "dropped") >= 2 * (6_000 - 4_096), "beyond what waits nothing is kept");

    let collector = Collector::at(std::net::TcpListener::bind(place).expect("the port is still free"));
    // The kit has asked for a PONG.
    let pings =
        proxy.metric("redhold_command_duration_seconds_count{command=\"ping\"}").unwrap_or(0.0) as u64;
    eventually(LONG, "what waited is told", || {
        ["sent", "dropped", "failed"].map(|outcome| spans(&proxy, outcome)).iter().sum::<u64>()
            == 2 * (6_100 + pings)
    });
    eventually(LONG, "as many have come", || spans(&proxy, "sent") == collector.spans().len() as u64);
    assert_eq!((lost(), proxy.log().matches("traces are taken again").count()), (1, 1), "{}", proxy.log());
    collector.answer_with(400, "");
    let failed = spans(&proxy, "failed");
    ask(&mut client, 100);
    eventually(LONG, "what is refused is not tried again", || spans(&proxy, "failed") == failed + 200);
    let posts = collector.posts();
    collector.answer_with(503, "retry-after: 0\r\n");
    ask(&mut client, 100);
    eventually(LONG, "it is asked to wait", || collector.posts() > posts);
    collector.answer_with(200, "");
    let sent = spans(&proxy, "sent");
    eventually(LONG, "it is told later", || spans(&proxy, "sent") == sent + 200);
}

#[test]
fn every_change_of_primary_is_told_and_requests_only_when_they_are_asked_for() {
    let (group, collector) = (Group::plain(1), Collector::start());
    let mut proxy = ProxyOptions::new(&group.addresses()).set("tracing.otlp", &collector.url()).start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    proxy.switch_over();
    let (root, phases) = collector.trace("switchover", |_| true);
    adds_up(&root, &phases);
    let [old, new] = [0, 1].map(|node| group.addresses()[node].to_string());
    assert_eq!(root.says("redhold.primary.before"), Some(old.as_str()));
    assert_eq!(root.says("redhold.primary.after"), Some(new.as_str()));
    assert_eq!((root.says("redhold.changed"), root.kind), (Some("true"), 1));
    assert!(phases[0].name == "intend" && phases.iter().all(|it| it.events > 0), "{phases:?}");
    assert!(collector.spans().iter().all(|it| it.trace == root.trace), "no request is told of");

    let text = fs::read_to_string(proxy.config_file()).expect("the file is there");
    fs::write(proxy.config_file(), text.replace("[tracing]\n", "[tracing]\nsample = 1.0\n"))
        .expect("it is written");
    let (code, said) = proxy.http("POST", "/api/reload").expect("the admin page answers");
    assert!(code == 200 && said.contains("tracing.sample"), "{said}");
    // Each worker looks a few times a second.
    eventually(LONG, "requests are told", || {
        client.call("PING");
        collector.spans().iter().any(|it| it.name == "PING")
    });
    assert_eq!(client.call("ECHO last-words"), Value::bulk("last-words"));
    proxy.sigterm();
    assert!(proxy.wait_exit().success());
    collector.trace("ECHO", |_| true);
}
