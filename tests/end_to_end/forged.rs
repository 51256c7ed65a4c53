//! Clients that would pass for somebody else: for another brain to the proxy, for its lines to who reads the log, for its series to who
//! reads the metrics.

use std::collections::BTreeSet;

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Server, Value, encode, eventually};

/// Ends a line, an element or a text, and rules a terminal.
const SPOILT: &str = "x\r\n2030-01-01T00:00:00Z ERROR forged: a\"} 1\n\u{1b}[2J\u{9b}31m\t\\\u{7f}";

fn observes(proxy: &Proxy) -> bool {
    proxy.http("GET", "/readyz").is_some_and(|(_, text)| text.contains("observing"))
}

#[test]
fn a_client_does_not_pass_for_another_brain() {
    let mut group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let mut client = proxy.client();
    let hello = "127.0.0.1,26379,0123456789abcdef0123456789abcdef01234567,0,mymaster,127.0.0.1,6379,0";
    for command in ["PUBLISH", "SPUBLISH"] {
        let text = format!(
            "ERR {command} to __sentinel__:hello is refused by Redhold, which would take the client for a Sentinel; not executed"
        );
        let refused = Value::Error(text);
        assert_eq!(client.cmd(&[command, "__sentinel__:hello", hello]), refused);
        let replies = client.pipeline(&["MULTI", &format!("{command} __sentinel__:hello {hello}"), "EXEC"]);
        assert_eq!(replies[1], refused);
        assert!(replies[2].error().is_some_and(|text| text.starts_with("EXECABORT")), "{replies:?}");
    }
    for name in ["sentinel-01234567-cmd", "redhold:control:fedcba9876543210"] {
        for request in [["CLIENT", "SETNAME", name].as_slice(), &["HELLO", "3", "SETNAME", name]] {
            let reply = client.cmd(request);
            let refused =
                reply.error().is_some_and(|text| text.starts_with("ERR client names like sentinel-"));
            assert!(refused, "{request:?}: {reply:?}");
        }
    }
    // A connection of its own, and a queue.
    client.pipeline(&["WATCH k", "CLIENT SETNAME sentinel-01234567-cmd", "MULTI"]);
    client.pipeline(&["CLIENT SETNAME sentinel-01234567-cmd", "EXEC"]);
    let mut node = group.nodes()[0].client();
    let list = node.call("CLIENT LIST").text().expect("rows");
    assert!(!list.contains("name=sentinel-") && !list.contains("fedcba9876543210"), "{list}");
    drop(node);
    group.node(0).kill9();
    // Who hears another brain only observes.
    assert_eq!(client.call("SET k v"), Value::ok());
    assert!(!observes(&proxy));
    // What is heard on a node itself counts.
    let mut replica = group.nodes()[1].client();
    eventually(LONG, "a Sentinel is heard", || {
        replica.cmd(&["PUBLISH", "__sentinel__:hello", hello]);
        observes(&proxy)
    });
    let (_, text) = proxy.http("GET", "/readyz").expect("an answer");
    assert_eq!(text, "ready, only observing: Sentinel 01234567\n");
}

/// What somebody may say who was let in, and what nobody ought to see as it is.
fn say_everything(proxy: &Proxy, node: &Server) {
    let mut client = proxy.client();
    let spoilt = SPOILT;
    for request in [
        vec!["CLIENT", "SETNAME", spoilt],
        vec!["CLIENT", "SETINFO", "LIB-NAME", spoilt],
        vec!["HELLO", "3", "SETNAME", spoilt],
        vec!["AUTH", spoilt, spoilt],
        vec!["HELLO", "3", "AUTH", spoilt, spoilt],
        vec!["ACL", "SETUSER", spoilt, "on", "nopass"],
        vec![spoilt],
        vec![spoilt, spoilt],
        vec!["CONFIG", spoilt],
        vec!["CONFIG", "SET", &format!("repl-{spoilt}"), "1"],
        vec!["CLIENT", spoilt, spoilt],
        vec!["CLIENT", "KILL", "ADDR", spoilt],
        vec!["REPLICAOF", spoilt, "1"],
        vec!["GET", spoilt, spoilt],
        vec!["SCAN", spoilt],
        vec!["EVALSHA", spoilt, "0"],
        vec!["EVAL", spoilt, "0"],
        vec!["PROXY", spoilt],
        vec!["PROXY", "SWITCHOVER", spoilt],
        vec!["PROXY", "ROUTE", "GET", spoilt],
        vec!["PROXY", "ROUTE", spoilt],
        vec!["SUBSCRIBE", spoilt],
    ] {
        client.cmd(&request);
        if request[0] == "SUBSCRIBE" {
            client.call("UNSUBSCRIBE");
        }
    }
    for path in ["/api/switchover?to=a%0d%0aERROR+forged%1b%5b2J", "/api/log-level", "/%0aERROR%20forged"] {
        proxy.http_with_body("POST", path, spoilt);
        proxy.http_with_body("PUT", path, spoilt);
    }
    // A request that its node never answers is told of in the log.
    let mut lost = proxy.client();
    lost.send(&["EVAL", "local n = 0 while true do n = n + 1 end", "1", spoilt]);
    let mut direct = node.client();
    eventually(LONG, "the script runs", || {
        direct.call("PING").error().is_some_and(|text| text.starts_with("BUSY"))
    });
}

/// What begins a line of the log as text.
fn begins_a_line(line: &str) -> bool {
    let (time, rest) = line.split_at_checked("2026-11-28T20:00:00.000000Z".len()).unwrap_or_default();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
    shape == "0000-00-00T00:00:00.000000Z" && levels.iter().any(|level| rest.trim_start().starts_with(level))
}

#[test]
fn what_clients_say_neither_makes_lines_of_the_log_nor_rules_a_terminal() {
    for format in ["text", "json"] {
        let mut group = Group::plain_with(0, &Server::options().set("busy-reply-threshold", "50"));
        let proxy = ProxyOptions::new(&group.addresses())
            .set("log.format", &format!("\"{format}\""))
            .set("log.level", "\"trace\"")
            .set("proxy.max_clients", "50")
            .start();
        say_everything(&proxy, &group.nodes()[0]);
        group.node(0).kill9();
        eventually(LONG, "the lost request is told", || {
            proxy.log().contains("unanswered when its connection")
        });
        let log = proxy.log();
        assert!(log.contains("order"), "{log}");
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.len() > 10, "{log}");
        for line in lines {
            match format {
                "json" => drop(serde_json::from_str::<serde_json::Value>(line).expect(line)),
                _ => assert!(begins_a_line(line) && !line.chars().any(char::is_control), "{line:?}"),
            }
        }
        let status = proxy.status().to_string();
        assert!(!status.chars().any(|c| c.is_ascii_control()), "{status}");
    }
}

/// Names of series with their labels.
fn series(proxy: &Proxy) -> BTreeSet<String> {
    let (code, text) = proxy.http("GET", "/metrics").expect("an answer");
    assert_eq!(code, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(value.parse::<f64>().is_ok() && name.starts_with("redhold_"), "{line}");
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
            name.to_owned()
        })
        .collect()
}

#[test]
fn no_client_makes_a_series_or_breaks_a_line_of_the_metrics() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("proxy.workers", "1").start();
    let mut client = proxy.client();
    // Series come when something is counted for the first time: everything that is said below, once.
    let bodies = [
        encode(&["GET", "k"]),
        encode(&["nosuch"]),
        encode(&["CONFIG", "nosuch"]),
        encode(&["AUTH", "nobody", "x"]),
        encode(&["HELLO", "3", "SETNAME", "x"]),
    ];
    let play = |client: &mut Client, bodies: &[Vec<u8>]| {
        bodies.iter().for_each(|body| client.send_raw(body));
        bodies.iter().for_each(|_| drop(client.read()));
    };
    play(&mut client, &bodies);
    let counted = |command: &str, least: f64| {
        let series = format!("redhold_commands_total{{command=\"{command}\",node_role=\"primary\"}}");
        proxy.metric(&series).is_some_and(|count| count >= least)
    };
    eventually(LONG, "all is counted", || counted("get", 1.0) && counted("hello", 1.0));
    // It comes with the first comparison, of itself.
    let compared = |text: &str| text.contains("\nredhold_node_parity{");
    eventually(LONG, "the node is compared", || {
        proxy.http("GET", "/metrics").is_some_and(|(_, text)| compared(&text))
    });
    let before = series(&proxy);
    for round in 0..200 {
        let word = format!("{SPOILT}{round}");
        let words = word.as_str();
        play(
            &mut client,
            &[
                encode(&["GET", words]),
                encode(&[words]),
                encode(&["CONFIG", words]),
                encode(&["AUTH", words, "x"]),
                encode(&["HELLO", "3", "SETNAME", words]),
            ],
        );
    }
    eventually(LONG, "all is counted", || counted("get", 201.0));
    let after = series(&proxy);
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
}
