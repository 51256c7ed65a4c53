//! What is counted, beside what was done: each series moves by as much.

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, Relay, Server, Value, eventually, eventually_some,
};

/// How far a series is from where it was.
struct Since<'a> {
    proxy: &'a Proxy,
    series: Vec<(String, f64)>,
}

impl<'a> Since<'a> {
    fn now(proxy: &'a Proxy, series: &[&str]) -> Self {
        let series = series.iter().map(|name| ((*name).to_owned(), proxy.metric(name).unwrap_or(0.0)));
        Self { proxy, series: series.collect() }
    }

    /// Numbers of requests and bytes are whole.
    fn moved(&self) -> Vec<i64> {
        self.seconds().iter().map(|moved| moved.round() as i64).collect()
    }

    fn seconds(&self) -> Vec<f64> {
        let moved = |(name, before): &(String, f64)| self.proxy.metric(name).unwrap_or(0.0) - before;
        self.series.iter().map(moved).collect()
    }
}

/// A client that has a connection of its own from now on.
fn apart(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.call("WATCH elsewhere"), Value::ok());
    client
}

#[test]
fn a_request_is_counted_once_on_either_kind_of_connection() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let (shares, own) = (proxy.client(), apart(&proxy));
    let node = format!("redhold_backend_duration_seconds_count{{node=\"{}\"}}", server.address());
    for mut client in [shares, own] {
        assert_eq!(client.call("GET k"), Value::Nil, "its connection is open");
        let since = Since::now(
            &proxy,
            &[
                "redhold_commands_total{command=\"get\",node_role=\"primary\"}",
                "redhold_command_duration_seconds_count{command=\"get\"}",
                "redhold_commands_total{command=\"set\",node_role=\"primary\"}",
                "redhold_command_duration_seconds_count{command=\"set\"}",
                &node,
                "redhold_bytes_total{side=\"client\",direction=\"in\"}",
                "redhold_bytes_total{side=\"backend\",direction=\"out\"}",
                "redhold_bytes_total{side=\"backend\",direction=\"in\"}",
                "redhold_bytes_total{side=\"client\",direction=\"out\"}",
            ],
        );
        let asked = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".len() as i64;
        let wrote = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n".len() as i64;
        let said = ("$-1\r\n".len() + "+OK\r\n".len() + "$2\r\nvv\r\n".len()) as i64;
        assert_eq!(
            client.pipeline(&["GET k", "SET k vv", "GET k"]),
            [Value::Nil, Value::ok(), Value::bulk("vv")]
        );
        assert_eq!(client.call("GET k"), Value::bulk("vv"));
        let (there, back) = (3 * asked + wrote, said + "$2\r\nvv\r\n".len() as i64);
        // A reply is counted when it has left.
        let expected = [3, 3, 1, 1, 4, there, there, back, back];
        eventually(LONG, &format!("{expected:?}"), || since.moved() == expected);
        assert_eq!(client.call("DEL k"), Value::Int(1));
    }
}

#[test]
fn what_a_request_waited_counts_as_its_time_and_not_as_the_nodes() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let (mut shares, mut own) = (proxy.client(), apart(&proxy));
    let node = format!("redhold_backend_duration_seconds_sum{{node=\"{}\"}}", server.address());
    for client in [&mut shares, &mut own] {
        assert_eq!(client.call("SET k v"), Value::ok());
        let since = Since::now(
            &proxy,
            &[
                "redhold_command_duration_seconds_sum{command=\"set\"}",
                "redhold_hold_duration_seconds_sum",
                "redhold_hold_duration_seconds_count",
                &node,
            ],
        );
        proxy.order("/api/pause");
        client.send(&["SET", "k", "v"]);
        eventually(LONG, "it is held", || proxy.metric("redhold_held_requests") == Some(1.0));
        proxy.order("/api/resume");
        assert_eq!(client.read(), Value::ok());
        let [took, held, holds, at_node] = since.seconds()[..] else { panic!("four series") };
        assert_eq!(holds, 1.0);
        // Each is rounded to a microsecond.
        assert!(took + 4e-6 >= held + at_node && at_node > 0.0, "{took} {held} {at_node}");
    }
}

#[test]
fn an_outage_counts_as_the_time_of_what_waited_for_its_end() {
    let mut group = Group::plain(1);
    let addresses = group.addresses();
    let options = ProxyOptions::new(&addresses).set("failover.mode", "\"manual\"");
    let proxy = options.set("failover.hold", "\"60s\"").start();
    proxy.wait_well();
    let (mut shares, mut own) = (proxy.client(), Client::connect_resp3(proxy.address()));
    assert_eq!(own.call("CLIENT TRACKING ON"), Value::ok());
    for client in [&mut shares, &mut own] {
        assert_eq!(client.call("SET k v"), Value::ok());
    }
    group.node(0).kill9();
    eventually(LONG, "it is noticed", || proxy.http("GET", "/readyz").is_some_and(|(code, _)| code == 503));
    let since = Since::now(
        &proxy,
        &[
            "redhold_command_duration_seconds_sum{command=\"set\"}",
            "redhold_hold_duration_seconds_sum",
            "redhold_command_duration_seconds_count{command=\"set\"}",
        ],
    );
    shares.send(&["SET", "k", "v"]);
    own.send(&["SET", "k", "v"]);
    eventually(LONG, "both are held", || proxy.metric("redhold_held_requests") == Some(2.0));
    proxy.force_failover(addresses[1]);
    assert_eq!(shares.read(), Value::ok());
    loop {
        match own.read() {
            Value::Push(_) => {}
            reply => break assert_eq!(reply, Value::ok()),
        }
    }
    let [took, held, count] = since.seconds()[..] else { panic!("three series") };
    assert_eq!(count, 2.0);
    assert!(held > 0.0 && took + 4e-6 >= held, "{took} {held}");
}

#[test]
fn what_parks_at_a_node_says_nothing_of_the_node() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut client = proxy.client();
    let node = format!("redhold_backend_duration_seconds_count{{node=\"{}\"}}", server.address());
    let since =
        Since::now(&proxy, &["redhold_command_duration_seconds_count{command=\"blpop\"}", node.as_str()]);
    client.send(&["BLPOP", "l", "0"]);
    eventually(LONG, "it is parked", || server.info("blocked_clients").as_deref() == Some("1"));
    assert_eq!(proxy.client().call("RPUSH l x"), Value::Int(1));
    assert_eq!(client.read(), Value::Array(vec![Value::bulk("l"), Value::bulk("x")]));
    assert_eq!(since.moved(), [1, 1], "the node is RPUSH's");
    let mut own = apart(&proxy);
    let since =
        Since::now(&proxy, &["redhold_command_duration_seconds_count{command=\"wait\"}", node.as_str()]);
    for client in [&mut client, &mut own] {
        assert_eq!(client.call("SET k v"), Value::ok());
        assert_eq!(client.call("WAIT 1 20"), Value::Int(0));
    }
    assert_eq!(since.moved(), [2, 2], "the node is SET's");
}

#[test]
fn a_barrier_is_counted_for_each_write_that_waits_alone() {
    let group = Group::sealed(1);
    // Each worker has a barrier of its own to begin with, which may end later than this client's first.
    let options = ProxyOptions::new(&group.addresses()).set("durability.mode", "\"semi_sync\"");
    let proxy = options.set("proxy.workers", "1").start();
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    let since = Since::now(&proxy, &["redhold_barrier_duration_seconds_count"]);
    (0..7).for_each(|_| assert_eq!(client.call("SET k v"), Value::ok()));
    assert_eq!(since.moved(), [7]);
}

#[test]
fn how_far_a_replica_is_behind_is_told_in_bytes_and_seconds() {
    let group = Group::plain(1);
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    let relay = Relay::to(primary.address());
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.mode", "\"off\"").start();
    let at = |name: &str| format!("{name}{{node=\"{}\"}}", replica.address());
    replica.call(&format!("REPLICAOF 127.0.0.1 {}", relay.address().port()));
    eventually(LONG, "it is told", || proxy.metric(&at("redhold_node_replication_lag_bytes")) == Some(0.0));
    relay.stall();
    let value = "x".repeat(50_000);
    assert_eq!(proxy.client().cmd(&["SET", "k", value.as_str()]), Value::ok());
    let offset =
        |node: &Server| node.info("master_repl_offset").and_then(|offset| offset.parse::<u64>().ok());
    eventually(LONG, "the bytes that it does not have", || {
        // It may be told between two looks; the primary sends its PINGs on.
        let (has, told) = (offset(primary), proxy.metric(&at("redhold_node_replication_lag_bytes")));
        let behind = has.zip(offset(replica)).map(|(has, applied)| has - applied);
        told.is_some_and(|told| told > 50_000.0) && told == behind.map(|behind| behind as f64)
    });
    let age = || proxy.metric(&at("redhold_node_staleness_seconds"));
    let before = eventually_some(LONG, "its age is told", age);
    eventually(LONG, "it grows older", || age().is_some_and(|age| age > before));
    relay.resume();
    eventually(LONG, "it has all", || proxy.metric(&at("redhold_node_replication_lag_bytes")) == Some(0.0));
}

#[test]
fn a_change_of_primary_moves_the_epoch_the_roles_and_one_episode() {
    let mut group = Group::plain(1);
    let addresses = group.addresses();
    let proxy = Proxy::start(&addresses);
    assert_eq!(proxy.client().call("SET k v"), Value::ok());
    let version = format!("redhold_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(proxy.metric(&version), Some(1.0));
    let role =
        |node: usize, role| format!("redhold_node_role{{node=\"{}\",role=\"{role}\"}}", addresses[node]);
    let up = |node: usize| proxy.metric(&format!("redhold_node_up{{node=\"{}\"}}", addresses[node]));
    eventually(LONG, "both are seen", || (up(0), up(1)) == (Some(1.0), Some(1.0)));
    let since = Since::now(
        &proxy,
        &[
            "redhold_epoch",
            &role(0, "primary"),
            &role(1, "primary"),
            "redhold_failovers_total{kind=\"switchover\",result=\"changed\"}",
            "redhold_failover_duration_seconds_count{phase=\"total\"}",
            "redhold_failovers_total{kind=\"failover\",result=\"changed\"}",
        ],
    );
    proxy.switch_over_to(addresses[1]);
    eventually(LONG, "all of it is told", || since.moved() == [1, -1, 1, 1, 1, 0]);
    let phase = |phase: &str| {
        proxy
            .metric(&format!("redhold_failover_duration_seconds_sum{{phase=\"{phase}\"}}"))
            .unwrap_or_default()
    };
    let phases = ["intend", "quiesce", "pause", "catch_up", "promote", "verify", "demote"].map(phase);
    let (sum, total) = (phases.iter().sum::<f64>(), phase("total"));
    assert!(phase("promote") > 0.0 && (sum - total).abs() < 0.005, "{phases:?} are {sum} of {total}");
    group.wait_following(0, 1);
    group.node(1).kill9();
    eventually(LONG, "all of it is told", || since.moved() == [2, 0, 0, 1, 2, 1]);
    assert_eq!((up(0), up(1)), (Some(1.0), Some(0.0)));
    assert_eq!(proxy.metric(&role(1, "unknown")), Some(1.0));
}
