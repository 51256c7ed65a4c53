//! Requests of a mebibyte and more are judged by their first bytes, before anything of them passes through.

use crate::support::{Bystander, Client, Group, LONG, Proxy, ProxyOptions, Value, encode, eventually};

const LARGE: usize = 2 << 20;

fn large(words: &str) -> Vec<u8> {
    let filler = "x".repeat(LARGE);
    encode(&words.split(' ').map(|word| if word == "~" { &filler } else { word }).collect::<Vec<_>>())
}

#[track_caller]
fn refused(client: &mut Client, request: &[u8], words: &str) {
    let mut sender = client.sender();
    let bytes = [request, b"*1\r\n$4\r\nPING\r\n"].concat();
    let sending = std::thread::spawn(move || sender.send_raw(&bytes));
    let reply = client.read();
    assert!(reply.error().is_some_and(|text| text.starts_with(words)), "{words}: {reply:?}");
    assert_eq!(client.read(), Value::Simple("PONG".to_owned()), "{words}: it goes on");
    sending.join().expect("everything is read");
}

#[test]
fn what_redhold_owns_is_refused_and_the_rest_of_it_dropped() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let before = proxy.rss();
    let mut client = proxy.client();
    for (request, words) in [
        ("REPLICAOF NO ~", "ERR REPLICAOF is managed by Redhold"),
        ("SHUTDOWN ~", "ERR SHUTDOWN is managed by Redhold"),
        ("failover to ~", "ERR FAILOVER is managed by Redhold"),
        ("CONFIG REWRITE ~", "ERR CONFIG REWRITE is managed by Redhold"),
        ("CONFIG SET save ~ repl-timeout 3", "ERR CONFIG SET save is managed by Redhold"),
        ("PROXY STATUS ~", "ERR PROXY is not taken"),
        ("HELLO 3 SETNAME ~", "ERR HELLO is not taken"),
        ("CLIENT SETNAME ~", "ERR CLIENT SETNAME is not taken"),
        ("CLIENT KILL ~", "ERR CLIENT KILL is not taken"),
        ("WATCH ~", "ERR WATCH is not taken"),
        ("SUBSCRIBE ~", "ERR SUBSCRIBE is not taken"),
        ("SCAN 0 MATCH ~", "ERR SCAN is not taken"),
    ] {
        refused(&mut client, &large(request), words);
    }
    let many: Vec<String> = (0..200_000).map(|number| format!("{number}xxxx")).collect();
    let many: Vec<&str> = ["SLAVEOF"].into_iter().chain(many.iter().map(String::as_str)).collect();
    refused(&mut client, &encode(&many), "ERR SLAVEOF is managed by Redhold");
    let grown = proxy.rss().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown}");
    assert_eq!((group.primary(), &proxy.status()["epoch"]), (0, &1.into()));
    assert_eq!(client.call("CLIENT GETNAME"), Value::Nil);
    bystander.finish_undisturbed();
}

#[test]
fn a_name_that_comes_piece_by_piece_is_waited_for() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let before = proxy.metric("redhold_bytes_total{side=\"client\",direction=\"in\"}").unwrap_or_default();
    let mut client = proxy.client();
    let request = large("CONFIG REWRITE ~");
    let mut sent = 0;
    for end in [20, 30, 36, request.len()] {
        client.send_raw(&request[sent..end]);
        sent = end;
        let all = before + if end == request.len() { 0.0 } else { end as f64 };
        eventually(LONG, "it is read", || {
            proxy
                .metric("redhold_bytes_total{side=\"client\",direction=\"in\"}")
                .is_some_and(|read| read >= all)
        });
    }
    let reply = client.read();
    assert!(reply.error().is_some_and(|text| text.contains("managed by Redhold")), "{reply:?}");
    let reply = client.cmd(&["x".repeat(LARGE)]);
    assert!(
        reply.error().is_some_and(|text| text.starts_with("ERR unknown command")),
        "{:.80}",
        format!("{reply:?}")
    );
    assert_eq!(client.cmd(&["SET", "k", &"x".repeat(LARGE)]), Value::ok());
    assert_eq!(client.call("STRLEN k"), Value::Int(LARGE as i64));
}

#[test]
fn what_closes_a_client_closes_it_when_it_is_large() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    for (request, answer) in [("POST ~", ""), ("host: ~", ""), ("QUIT ~", "+OK\r\n")] {
        let mut client = proxy.client();
        client.try_send_raw(&large(request)).ok();
        assert_eq!(String::from_utf8_lossy(&client.read_to_close()), answer, "{request}");
    }
    let mut client = proxy.client();
    let broken = [&b"*3\r\n$9\r\nREPLICAOF\r\n$2000000\r\n"[..], &[b'x'; 2_000_000], b"\r\n:1\r\n"].concat();
    client.try_send_raw(&broken).ok();
    let answer = String::from_utf8_lossy(&client.read_to_close()).into_owned();
    assert!(answer.ends_with("-ERR Protocol error: expected '$', got ':'\r\n"), "{answer}");
    let mut node = group.nodes()[0].client();
    let stats = node.call("INFO commandstats").text().expect("text");
    assert!(
        !["replicaof", "post", "host:", "quit"]
            .iter()
            .any(|name| stats.contains(&format!("cmdstat_{name}:")))
    );
}

#[test]
fn it_passes_where_the_configuration_says_so() {
    let group = Group::plain(0);
    let proxy = ProxyOptions::new(&group.addresses()).set("proxy.owned_commands", "\"pass\"").start();
    let request = ["REPLICAOF", "NO", &"x".repeat(LARGE)];
    let (reply, direct) = (proxy.client().cmd(&request), group.nodes()[0].client().cmd(&request));
    assert!(reply == direct && direct.error().is_some(), "{reply:?}, {direct:?}");
}
