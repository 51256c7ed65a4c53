//! Commands to a running proxy in front of a real group.

use super::support::{Group, LONG, Proxy, ProxyOptions, Server, Value, eventually, free_port};
use super::{File, redhold};

fn url(proxy: &Proxy) -> String {
    format!("http://{}", proxy.admin_address())
}

#[test]
fn status_shows_the_group_for_people_and_programs() {
    let group = Group::plain(1);
    let [primary, replica] = group.nodes() else { unreachable!("two nodes were asked for") };
    let proxy = Proxy::start(&group.addresses());
    let url = url(&proxy);
    eventually(LONG, "the replica is seen", || redhold(&["status", "--admin", &url]).out.contains("replica"));
    let ended = redhold(&["status", "--admin", &url]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    let first = ended.out.lines().next().unwrap();
    let (leads, follows) = (primary.address().to_string(), replica.address().to_string());
    assert!(
        first.starts_with(&format!("primary   {leads}  (epoch ")) && first.ends_with(", writable)"),
        "{ended:?}"
    );
    let row = |node: &str| ended.out.lines().find(|line| line.starts_with(node)).unwrap().to_owned();
    assert!(row(&leads).contains(" primary*  up ") && row(&follows).contains(" replica   up "), "{ended:?}");

    let ended = redhold(&["status", "--json", "--admin", &url]);
    let body: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(body["primary"], leads.as_str());
    assert_eq!(body["writable"], true);
}

#[test]
fn a_switchover_is_confirmed_with_its_timeline() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let url = url(&proxy);
    let mut client = proxy.client();
    assert_eq!(client.call("SET key before"), Value::ok());
    let replica = &group.nodes()[1];
    eventually(LONG, "the stream flows", || replica.call("GET key").text().as_deref() == Some("before"));
    let target = replica.address().to_string();
    let ended = redhold(&["switchover", "--to", &target, "--admin", &url]);
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", proxy.log());
    let source = group.nodes()[0].address();
    assert!(ended.out.contains(&format!("ordered, {source} -> {target}")), "{ended:?}");
    assert!(ended.out.lines().count() > 2, "{ended:?}");
    assert_eq!(group.primaries(), [1]);
    assert_eq!(client.call("GET key").text().as_deref(), Some("before"));
    assert_eq!(client.call("SET key after"), Value::ok());
    let metric = |series: &str| proxy.metric(series).unwrap_or(0.0);
    eventually(LONG, "the metric follows", || {
        metric(r#"redhold_failovers_total{kind="switchover",result="changed"}"#) == 1.0
    });
    let status = redhold(&["status", "--admin", &url]).out;
    assert!(status.contains("Last failovers, newest first") && status.contains(&target), "{status}");
}

#[test]
fn an_order_for_a_node_that_is_not_there_is_bad_usage() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    for arguments in [&["switchover", "--to", "10.0.0.1:1"][..], &["adopt", "10.0.0.1:1"]] {
        let ended = redhold(&[arguments, &["--admin", &url(&proxy)]].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("there is no node `10.0.0.1:1`"), "{ended:?}");
    }
    assert_eq!(group.primaries(), [0]);
}

#[test]
fn orders_carry_the_token_where_there_is_one_and_looking_needs_none() {
    let (token, other) = (File::new("0123456789abcdef\n"), File::new("0123456789abcdeg\n"));
    let group = Group::plain(1);
    let options = ProxyOptions::new(&group.addresses());
    let proxy = options.set("admin.token_file", &format!("{:?}", token.path())).start();
    let url = url(&proxy);
    let refused = |ended: &super::Ended| ended.code == Some(1) && ended.err.contains("refused with 401");
    let without = redhold(&["switchover", "--admin", &url]);
    assert!(refused(&without) && without.err.contains("admin.token_file"), "{without:?}");
    let wrong = redhold(&["switchover", "--admin", &url, "--token-file", other.path()]);
    assert!(refused(&wrong) && wrong.err.contains("not the token"), "{wrong:?}");
    assert_eq!(proxy.http_with_body("PUT", "/api/log-level", "debug").map(|(code, _)| code), Some(401));
    assert_eq!(group.primaries(), [0]);
    for path in ["/livez", "/readyz", "/metrics", "/api/status", "/api/log-level", "/"] {
        assert_eq!(proxy.http("GET", path).map(|(code, _)| code), Some(200), "{path}");
    }
    // A replica that has just come is no candidate yet.
    eventually(LONG, "the order is carried out", || {
        redhold(&["switchover", "--admin", &url, "--token-file", token.path()]).code == Some(0)
    });
    assert_eq!(group.primaries(), [1]);
    let said = [proxy.log(), redhold(&["status", "--json", "--admin", &url]).out].concat();
    assert!(said.contains("order refused") && !said.contains("0123456789abcde"), "{said}");
    // Another token needs no restart.
    std::fs::copy(other.path(), token.path()).expect("it can be overwritten");
    let at_env = |file: &File| {
        super::redhold_with(&["switchover", "--admin", &url], &[("REDHOLD_ADMIN_TOKEN_FILE", file.path())])
    };
    eventually(LONG, "the order is carried out", || at_env(&other).code == Some(0));
    assert_eq!(group.primaries(), [0]);
    std::fs::write(token.path(), "short").expect("it can be overwritten");
    let ended = at_env(&other);
    assert!(ended.code == Some(1) && ended.err.contains("refused with 503"), "{ended:?}");
    let ended = at_env(&token);
    assert!(ended.err.contains("--token-file: ") && ended.err.contains("a token has"), "{ended:?}");
}

#[test]
fn a_drain_over_http_or_by_signal_ends_with_0() {
    let group = Group::plain(0);
    let mut proxy = Proxy::start(&group.addresses());
    assert_eq!(proxy.http("POST", "/api/drain"), Some((202, "draining\n".to_owned())));
    assert!(proxy.wait_exit().success(), "{}", proxy.log());
    let mut proxy = Proxy::start(&group.addresses());
    proxy.sigterm();
    assert!(proxy.wait_exit().success(), "{}", proxy.log());
}

#[test]
fn a_configuration_is_read_again_by_order_and_by_signal() {
    let group = Group::plain(0);
    let mut proxy = Proxy::start(&group.addresses());
    let first = std::fs::read_to_string(proxy.config_file()).unwrap();
    let write = |text: &str| std::fs::write(proxy.config_file(), text).unwrap();
    let reload = || {
        let (code, body) = proxy.http("POST", "/api/reload").unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        (code, body["answer"].as_str().unwrap().to_owned())
    };
    let level = || proxy.http("GET", "/api/log-level").unwrap().1;
    assert_eq!(reload(), (200, "nothing has changed".to_owned()));
    write(&first.replace("[log]\n", "[log]\nlevel = \"debug\"\n"));
    assert_eq!(reload(), (200, "log.level is now debug".to_owned()));
    assert_eq!(level(), "debug\n");
    write(&first.replace("workers = 2", "workers = 1"));
    proxy.sighup();
    let told = "SIGHUP: log.level is now info; proxy.workers waits for an upgrade in place (`redhold upgrade`) or a restart";
    eventually(LONG, "the log tells", || proxy.log().contains(told));
    write(
        &first
            .replace("[log]\n", "[log]\nlevel = \"trace\"\nlines = 1\n")
            .replace("workers = 2", "workers = -1"),
    );
    let (code, answer) = reload();
    assert!(code == 409 && answer.contains("log.lines") && answer.contains("proxy.workers"), "{answer}");
    assert_eq!(level(), "info\n");
    std::fs::remove_file(proxy.config_file()).unwrap();
    proxy.sighup();
    eventually(LONG, "the log tells", || proxy.log().contains("cannot read"));
    assert!(!proxy.has_exited());
    assert_eq!(proxy.client().call("SET key value"), Value::ok());
}

#[test]
fn a_watch_outlives_the_proxy_and_prints_again() {
    let group = Group::plain(0);
    let mut proxy = Proxy::start(&group.addresses());
    let mut watch = std::process::Command::new(env!("CARGO_BIN_EXE_redhold"))
        .args(["status", "--watch", "--admin", &url(&proxy)])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let mut until = |text: &str| lines.by_ref().any(|line| line.unwrap().contains(text));
    assert!(until("writable"));
    assert!(until("writable"), "it prints again");
    proxy.kill9();
    assert!(until("nobody listens at"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn while_it_drains_it_is_not_ready_but_serves() {
    let group = Group::plain(0);
    let mut proxy = ProxyOptions::new(&group.addresses()).set("proxy.drain_delay", "\"1h\"").start();
    let mut client = proxy.client();
    proxy.sigterm();
    eventually(LONG, "/readyz says draining", || {
        proxy.http("GET", "/readyz") == Some((503, "draining\n".to_owned()))
    });
    assert_eq!(client.call("SET key value"), Value::ok());
    assert_eq!(proxy.client().call("GET key").text().as_deref(), Some("value"), "a new client is served too");
    proxy.kill9();
}

#[test]
fn an_address_in_use_ends_run_with_1() {
    let port = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let address = taken.local_addr().unwrap();
    for (section, list) in [("proxy", format!("[\"{address}\"]")), ("admin", format!("\"{address}\""))] {
        let other = if section == "proxy" { "admin" } else { "proxy" };
        let free = if other == "proxy" { "[\"127.0.0.1:0\"]" } else { "\"127.0.0.1:0\"" };
        let text = format!(
            "[{section}]\nlisten = {list}\n[{other}]\nlisten = {free}\n[failover]\nstate_dir = \"\"\n[backend]\nnodes = [\"127.0.0.1:1\"]\n"
        );
        let file = File::new(&text);
        let ended = redhold(&["run", "--config", file.path()]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.err.contains(&format!("{section}.listen")) && ended.err.contains("in use"),
            "{ended:?}"
        );
    }
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    assert_eq!(proxy.http("GET", "/api/log-level"), Some((200, "info\n".to_owned())));
    assert_eq!(proxy.http_with_body("PUT", "/api/log-level", "debug"), Some((200, "debug\n".to_owned())));
    assert_eq!(proxy.http("GET", "/api/log-level"), Some((200, "debug\n".to_owned())));
    assert_eq!(proxy.http_with_body("PUT", "/api/log-level", "loud").map(|(code, _)| code), Some(400));
}

#[test]
fn traffic_and_a_failover_move_the_metrics_by_known_amounts() {
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let value = |series: &str| proxy.metric(series).unwrap_or(0.0);
    let set = r#"redhold_commands_total{command="set",node_role="primary"}"#;
    let changed = r#"redhold_failovers_total{kind="failover",result="changed"}"#;
    let refused = r#"redhold_errors_total{kind="managed"}"#;
    eventually(LONG, "the client that found the proxy ready is gone", || value("redhold_clients") == 0.0);
    let before = [set, refused, "redhold_client_connections_total", "redhold_clients"].map(value);
    let mut client = proxy.client();
    for _ in 0..100 {
        assert_eq!(client.call("SET key value"), Value::ok());
    }
    assert!(client.call("REPLICAOF NO ONE").error().is_some());
    // Counts are written a batch at a time, maybe after the reply.
    let moved = || {
        let after = [set, refused, "redhold_client_connections_total", "redhold_clients"].map(value);
        let [sets, refusals, connections, clients] = std::array::from_fn(|at| after[at] - before[at]);
        // A connection that was opened to find out whether the proxy is ready may be counted late.
        [sets, refusals, clients] == [100.0, 1.0, 1.0] && connections >= 1.0
    };
    eventually(LONG, "counts arrive", moved);
    let durations = value(r#"redhold_command_duration_seconds_count{command="set"}"#);
    assert!(durations >= 100.0, "{durations}");
    let (sent, read) = (r#"{side="client",direction="in"}"#, r#"{side="backend",direction="in"}"#);
    assert!(value(&format!("redhold_bytes_total{sent}")) >= 100.0 * 30.0);
    assert!(value(&format!("redhold_bytes_total{read}")) >= 100.0 * 5.0);
    assert_eq!((value("redhold_epoch"), value(changed)), (1.0, 0.0));

    let replica = &group.nodes()[1];
    eventually(LONG, "the stream flows", || replica.call("GET key").text().as_deref() == Some("value"));
    group.node(0).kill9();
    assert_eq!(client.call("SET key after"), Value::ok());
    eventually(LONG, "the failover is counted", || value(changed) == 1.0);
    assert_eq!(value("redhold_epoch"), 2.0);
    let primary = |node: usize| {
        value(&format!("redhold_node_role{{node=\"{}\",role=\"primary\"}}", group.nodes()[node].address()))
    };
    eventually(LONG, "the new primary is the only one", || (primary(0), primary(1)) == (0.0, 1.0));
    assert_eq!(value(r#"redhold_failover_duration_seconds_count{phase="total"}"#), 1.0);
    let status = redhold(&["status", "--admin", &url(&proxy)]).out;
    let (from, to) = (group.nodes()[0].address(), group.nodes()[1].address());
    assert!(status.contains(&format!("failover, {from} -> {to}, epoch 1 -> 2, took ")), "{status}");
    assert!(status.contains(&format!("start, none -> {from}, epoch 0 -> 1, took ")), "{status}");
}

/// The proxy for a hundred clients, started with this hard limit of open files, and half of it as the soft one.
fn with_descriptors(server: &Server, hard: usize) -> Proxy {
    let program = env!("CARGO_BIN_EXE_redhold");
    let script = File::new("");
    let text = format!("#!/bin/sh\nulimit -S -n {}\nulimit -H -n {hard}\nexec {program} \"$@\"\n", hard / 2);
    // Written by another process: what this one has open for writing, a child of it may have for a moment.
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let written = std::process::Command::new("sh").args(["-c", write, script.path(), &text]).status();
    assert!(written.is_ok_and(|status| status.success()));
    let options = ProxyOptions::new(&[server.address()]).set("proxy.max_clients", "100");
    options.set("backend.pipelines_max", "10").program(script.path().into()).start()
}

#[test]
fn the_limit_of_open_files_is_raised_and_one_that_is_too_low_is_told() {
    let server = Server::start();
    // A hundred clients, a connection of its own for each, ten for each of two workers, and 1,024.
    let needed = 100 + 100 + 20 + 1_024;
    for (hard, told) in [
        (1_000, Some("1000, is too low for proxy.max_clients: up to 1244 may be needed")),
        (
            1_200,
            Some(
                "1200, is too low for proxy.max_clients when many clients block, watch or subscribe: up to 1244",
            ),
        ),
        (2_000, None),
    ] {
        let proxy = with_descriptors(&server, hard);
        assert_eq!(proxy.client().call("PING"), Value::Simple("PONG".to_owned()));
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).expect("it runs");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it is listed");
        let soft: usize =
            line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).expect("a number");
        assert_eq!(soft, hard.min(needed), "{line}");
        let log = proxy.log();
        assert_eq!(log.contains("the limit of open files"), told.is_some(), "{log}");
        assert!(told.is_none_or(|told| log.contains(told)), "{log}");
    }
}
