//! Nodes that come and go in the configuration file while clients are served.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::support::{Client, Group, LONG, Load, Proxy, ProxyOptions, Server, Value, eventually};

/// Has the file name these nodes, and orders that it is read again: the code, and what is answered or refused.
fn declare(proxy: &Proxy, nodes: &[SocketAddr]) -> (u16, String) {
    let text = fs::read_to_string(proxy.config_file()).expect("the file is there");
    let mut file: toml::Table = text.parse().expect("it is TOML");
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    file["backend"].as_table_mut().expect("a section").insert("nodes".to_owned(), nodes.into());
    fs::write(proxy.config_file(), file.to_string()).expect("the file can be written");
    let (code, body) = proxy.http("POST", "/api/reload").expect("the admin page answers");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let words = body["answer"].as_str().or(body["error"].as_str());
    (code, words.unwrap_or_else(|| panic!("{body}")).to_owned())
}

fn shown(proxy: &Proxy) -> Vec<String> {
    let status = proxy.status();
    let nodes = status["nodes"].as_array().expect("a list").clone();
    nodes.iter().map(|node| node["address"].as_str().expect("a text").to_owned()).collect()
}

/// Whether anybody has a connection to the node, beside who asks and those with whom it replicates.
fn is_connected(server: &Server) -> bool {
    let list = server.call("CLIENT LIST").text().expect("a text");
    let is_other =
        |line: &&str| !["flags=M", "flags=S", "cmd=client"].iter().any(|words| line.contains(words));
    list.lines().any(|line| is_other(&line))
}

/// Reads again and again until it is dropped; a reply that is none ends it at once.
struct Reader {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(mut client: Client) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let read = move || {
            while !told.load(Ordering::Relaxed) {
                for reply in client.pipeline(&["GET absent"; 16]) {
                    assert_eq!(reply, Value::Nil);
                }
            }
        };
        Self { over, thread: Some(thread::spawn(read)) }
    }

    fn finish(mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().expect("it was started").join().expect("no read failed");
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nodes_come_and_go_under_load_without_an_error_and_without_a_closed_connection() {
    let group = Group::plain(2);
    let [first, second, third] = [0, 1, 2].map(|index| group.addresses()[index]);
    let options = ProxyOptions::new(&[first, second]).set("reads.policy", "\"replica\"");
    let proxy = options.set("reads.max_staleness", "\"60s\"").set("failover.in_flight", "\"error\"").start();
    proxy.wait_well();
    let load = Load::start(proxy.address(), 4, 8);
    let reader = Reader::start(proxy.client());
    let (mut blocked, mut subscribed) = (proxy.client(), proxy.client());
    blocked.send(&["BLPOP", "nothing", "0"]);
    assert_eq!(subscribed.call("SUBSCRIBE news").items().len(), 3);
    for (comes, goes) in [(2, 1), (1, 2), (2, 1)] {
        let [comes, goes] = [comes, goes].map(|index: usize| &group.nodes()[index]);
        let said = declare(&proxy, &[first, second, third]);
        assert_eq!(said, (200, format!("nodes: added {}", comes.address())));
        let is_readable = |node: &serde_json::Value| {
            node["address"] == comes.address().to_string() && node["readable"] == true
        };
        eventually(LONG, "the newcomer is readable", || {
            proxy.status()["nodes"].as_array().is_some_and(|nodes| nodes.iter().any(is_readable))
        });
        let said = declare(&proxy, &[first, comes.address()]);
        assert_eq!(said, (200, format!("nodes: removed {}", goes.address())));
        eventually(LONG, "nobody speaks with it any more", || !is_connected(goes));
        let missed = comes.info("keyspace_misses");
        eventually(LONG, "the newcomer is read from", || comes.info("keyspace_misses") != missed);
        load.wait_for(50);
    }
    reader.finish();
    let outcome = load.finish();
    assert_eq!(outcome.faults(), Default::default());
    assert_eq!(outcome.missing_on(first), 0);
    assert_eq!(group.nodes()[0].call("RPUSH nothing something"), Value::Int(1));
    assert_eq!(blocked.read(), Value::Array(vec![Value::bulk("nothing"), Value::bulk("something")]));
    group.nodes()[0].call("PUBLISH news hello");
    assert_eq!(subscribed.read().items()[2], Value::bulk("hello"));
    assert!(proxy.metric(&format!("redhold_node_up{{node=\"{second}\"}}")).is_none());
    assert_eq!(proxy.metric(&format!("redhold_node_up{{node=\"{third}\"}}")), Some(1.0));
    assert_eq!(proxy.status()["epoch"], 1, "nobody was replaced");
}

#[test]
fn what_a_node_still_owes_when_it_goes_is_waited_for() {
    let group = Group::plain(1);
    let [first, second] = [0, 1].map(|index| group.addresses()[index]);
    let replica = &group.nodes()[1];
    for order in ["CONFIG SET replica-read-only no", "SET k here", "CONFIG SET replica-read-only yes"] {
        assert_eq!(replica.call(order), Value::ok(), "{order}");
    }
    let options = ProxyOptions::new(&[first, second]).set("reads.policy", "\"replica\"");
    let proxy = options.set("failover.tune_nodes", "false").start();
    proxy.wait_well();
    let mut client = proxy.client();
    assert_eq!(client.call("GET k"), Value::bulk("here"), "the replica alone has it");
    let came = || proxy.metric("redhold_bytes_total{side=\"client\",direction=\"in\"}").unwrap_or_default();
    let before = came();
    assert_eq!(replica.call("CLIENT PAUSE 1500"), Value::ok());
    client.send(&["GET", "k"]);
    eventually(LONG, "it is on its way", || came() > before);
    assert_eq!(declare(&proxy, &[first]), (200, format!("nodes: removed {second}")));
    assert_eq!(client.call("PING"), Value::bulk("here"), "the reply of the node that has gone comes first");
    assert_eq!(client.read(), Value::Simple("PONG".to_owned()));
    assert_eq!(client.call("GET k"), Value::Nil);
    eventually(LONG, "nobody speaks with it any more", || !is_connected(replica));
}

#[test]
fn the_primary_can_be_taken_out_once_another_one_leads_and_a_node_that_has_come_may() {
    let mut group = Group::plain(1);
    let [first, second] = [0, 1].map(|index| group.addresses()[index]);
    let proxy = Proxy::start(&[first]);
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    let (code, words) = declare(&proxy, &[second]);
    assert!(code >= 400 && words.contains("nothing has changed: backend.nodes: "), "{code} {words}");
    assert!(words.contains(&format!("{first} leads and can not be taken out")), "{words}");
    assert_eq!(shown(&proxy), [first.to_string()]);
    assert_eq!(declare(&proxy, &[second, first]), (200, format!("nodes: added {second}")));
    proxy.wait_well();
    proxy.switch_over_to(second);
    assert_eq!(client.call("SET k w"), Value::ok());
    group.wait_following(0, 1);
    assert_eq!(declare(&proxy, &[second]), (200, format!("nodes: removed {first}")));
    eventually(LONG, "nobody speaks with it any more", || !is_connected(&group.nodes()[0]));
    assert_eq!(client.call("GET k"), Value::bulk("w"));
    assert!(proxy.status()["episodes"].to_string().contains(&first.to_string()), "its name is kept");
    // What has come back under another id is looked at like any other, and takes over.
    assert_eq!(declare(&proxy, &[second, first]), (200, format!("nodes: added {first}")));
    proxy.wait_well();
    group.node(1).kill9();
    assert_eq!(client.call("GET k"), Value::bulk("w"));
    assert_eq!(client.call("SET k x"), Value::ok());
    assert_eq!(group.primary(), 0);
    assert_eq!(proxy.status()["primary"], first.to_string());
}

#[test]
fn a_file_with_a_bad_list_changes_nothing() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let (code, words) = declare(&proxy, &[server.address(), server.address()]);
    assert!(code >= 400 && words.contains("is listed twice"), "{code} {words}");
    assert_eq!(shown(&proxy), [server.address().to_string()]);
    assert_eq!(Client::connect(proxy.address()).call("PING"), Value::Simple("PONG".to_owned()));
}
