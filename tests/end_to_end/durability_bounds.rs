//! What may wait for replicas in the output of one client.

use std::time::{Duration, Instant};

use crate::support::{Group, LONG, Memory, Proxy, ProxyOptions, Server, Value, eventually};

const UNCOMMITTED: &str =
    "TRYAGAIN what was read is not known to be held by enough replicas; nothing was changed";
const UNAWAITED: &str = "NOTDURABLE executed on the primary, and not waited for: more than limits.client_output would wait for replicas";

/// Nothing else ends the wait of what is withheld while a test lasts.
const AT_ONCE: Duration = Duration::from_secs(30);

/// What a proxy may grow by for what was not counted on.
const LITTLE: u64 = 24 << 20;

fn start(group: &Group, reads: &str) -> Proxy {
    ProxyOptions::new(&group.addresses())
        .set("durability.mode", "\"semi_sync\"")
        .set("durability.reads", reads)
        .set("durability.timeout", "\"300s\"")
        .set("limits.client_output", "\"8MiB\"")
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"60s\"")
        .start()
}

fn closed(proxy: &Proxy) -> f64 {
    proxy.metric("redhold_errors_total{kind=\"client_output\"}").unwrap_or_default()
}

#[test]
fn reads_that_wait_together_beyond_the_bound_are_given_up_and_their_client_is_kept() {
    let group = Group::plain(1);
    let proxy = start(&group, "\"committed\"");
    let mut client = proxy.client();
    let large = Value::bulk("x".repeat(1 << 20));
    assert_eq!(client.cmd(&["SET", "large", large.text().expect("a text").as_str()]), Value::ok());
    assert_eq!(client.call("GET large"), large);
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    let memory = Memory::watch(proxy.pid());
    group.nodes()[1].sigstop();
    let start = Instant::now();
    client.send(&["SET", "k", "waits"]);
    client.send_raw(&crate::support::encode(&["GET", "large"]).repeat(60));
    let given_up = || proxy.metric("redhold_errors_total{kind=\"uncommitted\"}").unwrap_or_default();
    // All but what the bound allows, and one that has not ended.
    eventually(LONG, "reads are given up", || given_up() >= 50.0);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    group.nodes()[1].sigcont();
    assert_eq!(client.read(), Value::ok(), "what is small waits on");
    let replies: Vec<_> = (0..60).map(|_| client.read()).collect();
    let (shown, others): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| *reply == large);
    assert!(others.iter().all(|reply| reply.error() == Some(UNCOMMITTED)), "{:.300}", format!("{others:?}"));
    assert!(shown.len() <= 10, "{}", shown.len());
    assert_eq!((given_up(), closed(&proxy)), (others.len() as f64, 0.0));
    assert_eq!(client.call("GET large"), large, "as ever");
    memory.assert_grown_less((8 << 20) * 2 + LITTLE, "the bound, while it is copied");
    eventually(LONG, "the log says so", || {
        proxy.log().contains("replies given up: more than limits.client_output would wait for replicas")
    });
}

#[test]
fn what_writes_answer_is_given_up_where_it_alone_is_beyond_the_bound() {
    let group = Group::plain(1);
    let proxy = start(&group, "\"uncommitted\"");
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    group.nodes()[1].sigstop();
    let script = ["EVAL", "redis.call('incr', 'n') return string.rep('x', 1048576)", "0"];
    client.send_raw(&crate::support::encode(&script).repeat(12));
    assert_eq!(client.read(), Value::Error(UNAWAITED.to_owned()));
    group.nodes()[1].sigcont();
    let right = |reply: &Value| {
        reply.error() == Some(UNAWAITED) || reply.text().is_some_and(|text| text.len() == 1 << 20)
    };
    (0..11).for_each(|_| assert!(right(&client.read())));
    assert_eq!((client.call("GET n"), closed(&proxy)), (Value::bulk("12"), 0.0));
}

/// It is the client that does not read, whatever waits for replicas besides.
#[test]
fn who_does_not_read_is_closed_while_others_wait() {
    let group = Group::plain(1);
    let proxy = start(&group, "\"uncommitted\"");
    let node: &Server = &group.nodes()[0];
    node.client().cmd(&["SET", "large", &"x".repeat(1 << 20)]);
    let [mut client, mut other] = [(); 2].map(|()| proxy.client());
    assert_eq!(client.call("SET k v"), Value::ok());
    group.nodes()[1].sigstop();
    other.send(&["SET", "k", "waits"]);
    client.send_raw(&crate::support::encode(&["GET", "large"]).repeat(60));
    eventually(LONG, "it is closed", || closed(&proxy) == 1.0);
    eventually(LONG, "it is said", || proxy.log().contains("closed: it does not read its replies"));
    group.nodes()[1].sigcont();
    assert_eq!(other.read(), Value::ok());
}
