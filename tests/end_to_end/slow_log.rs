//! PROXY SLOWLOG: what took long and where, in the shape of Redis's SLOWLOG.

use std::time::Duration;

use crate::support::{
    CONFIG_SET_SEVERAL, Client, Group, LONG, Proxy, ProxyOptions, Server, Value, applies, chosen, eventually,
};

/// What is remembered in these tests, and longer than that.
pub const THRESHOLD: &str = "\"50ms\"";
pub const LONGER: Duration = Duration::from_millis(100);

/// Where the arguments of an entry stand, and what they were.
const ARGUMENTS: usize = 3;

pub fn entries(client: &mut Client) -> Vec<Value> {
    let reply = client.call("PROXY SLOWLOG GET -1");
    assert!(matches!(reply, Value::Array(_)), "{reply:?}");
    reply.items().to_vec()
}

pub fn words(entry: &Value) -> Vec<String> {
    entry.items()[ARGUMENTS].items().iter().filter_map(Value::text).collect()
}

/// Where the time passed.
pub fn place(entry: &Value) -> String {
    entry.items()[6].text().expect("text")
}

/// The one entry of a request that begins so. A busy machine may make others slow.
#[track_caller]
pub fn only(entries: &[Value], begins: &str) -> Value {
    let found: Vec<_> = entries.iter().filter(|entry| words(entry).join(" ").starts_with(begins)).collect();
    assert_eq!(found.len(), 1, "{begins} in {entries:?}");
    found[0].clone()
}

/// Calls while `server` is stopped for longer than what is remembered.
#[track_caller]
pub fn call_stopped(server: &Server, client: &mut Client, request: &str) {
    server.sigstop();
    client.send(&request.split(' ').collect::<Vec<_>>());
    assert!(client.is_silent_for(LONGER));
    server.sigcont();
    assert!(client.read().error().is_none());
}

#[test]
fn a_slow_request_is_remembered_with_its_client_and_its_node() {
    let group = Group::plain(1);
    let options = || ProxyOptions::new(&group.addresses()).set("log.slowlog", THRESHOLD);
    let proxy = options().start();
    let (mut client, mut asker) = (proxy.client(), proxy.client());
    client.call("CLIENT SETNAME me");
    assert_eq!(client.call("SET k v"), Value::ok());
    assert_eq!(asker.call("PROXY SLOWLOG RESET"), Value::ok());
    call_stopped(&group.nodes()[0], &mut client, "GET k");
    let entry = only(&entries(&mut asker), "GET");
    let [id, time, micros] = [0, 1, 2].map(|at| entry.items()[at].int().expect("a number"));
    assert!(micros >= 100_000 && time > 1_600_000_000, "{entry:?}");
    assert_eq!(words(&entry), ["GET", "k"]);
    assert_eq!(entry.items()[4].text(), Some(client.local_address().to_string()));
    assert_eq!(entry.items()[5], Value::bulk("me"));
    assert_eq!((place(&entry), entry.items().len()), (group.addresses()[0].to_string(), 9));
    // On a busy machine other requests may be slow in between.
    eventually(LONG, "as many are counted as are told", || {
        let len = asker.call("PROXY SLOWLOG LEN").int().expect("a number");
        len == i64::try_from(entries(&mut asker).len()).expect("few")
    });
    assert_eq!(asker.call("PROXY SLOWLOG GET 0"), Value::Array(vec![]));
    assert_eq!(asker.call("proxy slowlog reset"), Value::ok());
    assert!(entries(&mut asker).iter().all(|entry| words(entry)[0] != "GET"));
    call_stopped(&group.nodes()[0], &mut client, "SET k w");
    let newest = asker.call("PROXY SLOWLOG GET 1");
    assert_eq!(newest.items().len(), 1);
    assert!(newest.items()[0].items()[0].int().expect("a number") > id, "ids never return");

    let replicas = options().set("reads.policy", "\"replica\"").start();
    let mut reader = replicas.client();
    assert!(reader.call("EXISTS k").error().is_none());
    call_stopped(&group.nodes()[1], &mut reader, "GET k");
    let entry = only(&entries(&mut replicas.client()), "GET");
    assert_eq!(place(&entry), group.addresses()[1].to_string());
}

#[test]
fn on_a_connection_of_ones_own_too_but_not_the_wait_for_something_to_happen() {
    let server = Server::options().set("enable-debug-command", "yes").start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.slowlog", THRESHOLD).start();
    let (mut client, mut parked) = (proxy.client(), proxy.client());
    parked.send(&["BLPOP", "list", "0"]);
    eventually(LONG, "it is parked", || server.info("blocked_clients").as_deref() == Some("1"));
    assert_eq!(client.call("DEBUG SLEEP 0.1"), Value::ok());
    for request in ["MULTI", "SET k v", "DEBUG SLEEP 0.2"] {
        assert!(client.call(request).error().is_none(), "{request}");
    }
    assert!(client.call("EXEC").error().is_none());
    assert_eq!(client.call("RPUSH list x"), Value::Int(1));
    assert_eq!(parked.read().items().len(), 2);
    let entries = entries(&mut client);
    let slept = only(&entries, "DEBUG SLEEP 0.1");
    assert_eq!(
        (words(&slept), place(&slept)),
        (vec!["DEBUG".into(), "SLEEP".into(), "0.1".into()], server.address().to_string())
    );
    let block = only(&entries, "EXEC");
    assert!(block.items()[2].int() >= Some(200_000), "{block:?}");
    assert!(entries.iter().all(|entry| words(entry)[0] != "BLPOP"), "{entries:?}");
}

#[test]
fn who_stood_behind_a_slow_request_does_not_push_it_out() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()])
        .set("proxy.workers", "1")
        .set("log.slowlog", "\"1s\"")
        .set("log.slowlog_len", "5")
        .start();
    let mut clients: Vec<Client> = (0..30).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("GET k"), Value::Nil);
    }
    let mut slow = proxy.client();
    assert!(slow.call("SORT list").error().is_none());
    server.sigstop();
    slow.send(&["SORT", "list"]);
    clients.iter_mut().for_each(|client| client.send(&["GET", "k"]));
    assert!(slow.is_silent_for(Duration::from_millis(1_100)));
    server.sigcont();
    assert!(slow.read().error().is_none());
    clients.iter_mut().for_each(|client| assert_eq!(client.read(), Value::Nil));
    let entries = entries(&mut slow);
    only(&entries, "SORT");
    only(&entries, "GET");
}

#[test]
fn how_long_a_client_takes_to_send_a_large_request_does_not_count() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.slowlog", "\"1s\"").start();
    let mut client = proxy.client();
    let size = 2 << 20;
    client.send_raw(format!("*4\r\n$8\r\nSETRANGE\r\n$1\r\nk\r\n$1\r\n0\r\n${size}\r\n").as_bytes());
    client.send_raw(&vec![b'x'; size / 2]);
    assert!(client.is_silent_for(Duration::from_millis(1_100)));
    client.send_raw(&vec![b'x'; size / 2]);
    client.send_raw(b"\r\n");
    assert_eq!(client.read(), Value::Int(2 << 20));
    assert_eq!(entries(&mut client), []);
}

#[test]
fn a_request_that_was_held_is_remembered_by_its_name() {
    let server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()]).set("log.slowlog", THRESHOLD).start();
    let mut client = proxy.client();
    assert_eq!(proxy.http("POST", "/api/pause").map(|(code, _)| code), Some(200));
    client.send(&["CONFIG", "GET", "hz"]);
    eventually(LONG, "it is held", || proxy.metric("redhold_held_requests") == Some(1.0));
    assert!(client.is_silent_for(LONGER));
    assert_eq!(proxy.http("POST", "/api/resume").map(|(code, _)| code), Some(200));
    assert!(client.read().error().is_none());
    let held: Vec<_> = entries(&mut client).into_iter().filter(|entry| place(entry) == "proxy").collect();
    let entry = only(&held, "CONFIG");
    assert_eq!(words(&entry), ["CONFIG", "GET"]);
    assert_eq!(
        (place(&entry).as_str(), entry.items()[4].text()),
        ("proxy", Some(client.local_address().to_string()))
    );
    assert!(entry.items()[2].int() >= Some(100_000), "{entry:?}");
}

/// What both show of requests: no secrets, and arguments cut.
#[test]
fn requests_are_shown_as_the_server_itself_shows_them() {
    let (plain, behind) = (Server::start(), Server::start());
    let proxy = ProxyOptions::new(&[behind.address()]).set("log.slowlog", "\"0s\"").start();
    assert_eq!(plain.call("CONFIG SET slowlog-log-slower-than 0"), Value::ok());
    let (mut direct, mut client) = (plain.client(), proxy.client());
    let many = (0..40).map(|at| format!(" key:{at}")).collect::<String>();
    let long = "x".repeat(200);
    for request in [
        "SET k v",
        "CONFIG SET masterauth sesame",
        "config set hz 11 masteruser sesame maxmemory-samples 6",
        "ACL SETUSER joe on >sesame +@all",
        "MIGRATE 127.0.0.1 1 none 0 10 AUTH sesame",
        "MIGRATE 127.0.0.1 1 none 0 10 COPY AUTH2 sesame sesame",
        &format!("DEL{many}"),
        &format!("SET {long} {long}"),
        &format!("DEL{}", &many[..many.find(" key:31").expect("a key")]),
    ] {
        if request.contains("maxmemory-samples") && !CONFIG_SET_SEVERAL.is_there() {
            continue;
        }
        assert_eq!(direct.call("SLOWLOG RESET"), Value::ok());
        assert_eq!(client.call("PROXY SLOWLOG RESET"), Value::ok());
        let replies = (direct.call(request), client.call(request));
        assert_eq!(replies.0, replies.1, "{request}");
        let name = &request[..request.find(' ').expect("a blank")];
        let shown = |entries: Vec<Value>| words(&only(&entries, name));
        let theirs = direct.call("SLOWLOG GET -1").items().to_vec();
        assert_eq!(shown(entries(&mut client)), shown(theirs), "{request}");
    }
    // Whoever the client becomes, and how it proves that, is in no entry.
    assert_eq!(client.call("PROXY SLOWLOG RESET"), Value::ok());
    for request in [
        "AUTH joe sesame",
        "HELLO 3 AUTH joe sesame",
        "AUTH default sesame",
        "MULTI",
        "AUTH joe sesame",
        "EXEC",
    ] {
        client.call(request);
    }
    let entries = entries(&mut client);
    assert!(entries.iter().any(|entry| words(entry)[0] == "EXEC"), "{entries:?}");
    assert!(!format!("{entries:?}").contains("sesame"), "{entries:?}");
}

#[test]
fn wrong_requests_are_answered_in_the_words_of_the_server() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let mut client = proxy.client();
    let counts = ["x", "-2", "1.5", "99999999999999999999"];
    let told = applies(chosen().release >= 70, "SLOWLOG GET says which counts it takes");
    for count in counts.iter().filter(|_| told) {
        let theirs = server.call(&format!("SLOWLOG GET {count}"));
        assert!(theirs.error().is_some());
        assert_eq!(client.call(&format!("PROXY SLOWLOG GET {count}")), theirs, "{count}");
    }
    for (request, words) in [
        ("PROXY SLOWLOG", "wrong number of arguments for 'proxy|slowlog' command"),
        ("PROXY SLOWLOG GET 1 2", "wrong number of arguments for 'proxy|slowlog' command"),
        ("PROXY SLOWLOG LEN 1", "wrong number of arguments for 'proxy|slowlog' command"),
        ("PROXY SLOWLOG RESET 1", "wrong number of arguments for 'proxy|slowlog' command"),
        ("PROXY SLOWLOG nonsense", "unknown subcommand 'nonsense'. Try PROXY HELP."),
        ("PROXY HOTKEYS 1 2", "wrong number of arguments for 'proxy|hotkeys' command"),
        ("PROXY BIGKEYS RESET 1", "wrong number of arguments for 'proxy|bigkeys' command"),
        ("PROXY BIGKEYS nonsense", "count should be greater than or equal to -1"),
        ("PROXY HOTKEYS -2", "count should be greater than or equal to -1"),
    ] {
        assert_eq!(client.call(request), Value::Error(format!("ERR {words}")), "{request}");
    }
    let help = client.call("PROXY HELP");
    let help: Vec<String> = help.items().iter().filter_map(Value::text).collect();
    for line in
        ["SLOWLOG GET [<count>]", "SLOWLOG LEN", "SLOWLOG RESET", "HOTKEYS [<count>]", "BIGKEYS [<count>]"]
    {
        assert!(help.iter().any(|said| said == line), "{line} in {help:?}");
    }
    let none = ProxyOptions::new(&[server.address()])
        .set("log.slowlog", "\"0s\"")
        .set("log.slowlog_len", "0")
        .start();
    let mut client = none.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    assert_eq!(client.call("PROXY SLOWLOG LEN"), Value::Int(0));
}

#[test]
fn requests_of_others_are_for_whom_the_node_would_show_its_own_slow_log() {
    let server = Server::start();
    let mut node = server.client();
    // An older server does not say what somebody may who may not do everything.
    let short_of_all = if chosen().release >= 70 { "-failover" } else { "" };
    for order in [
        format!("ACL SETUSER boss on >pw ~* &* +@all {short_of_all}").trim_end(),
        "ACL SETUSER clerk on >pw ~* &* +@all -slowlog",
        "CONFIG SET requirepass sesame",
    ] {
        assert_eq!(node.call(order), Value::ok(), "{order}");
    }
    let proxy = ProxyOptions::new(&[server.address()]).set("backend.password", "\"sesame\"").start_unready();
    eventually(LONG, "the proxy is ready", || {
        proxy.http("GET", "/readyz").is_some_and(|(code, _)| code == 200)
    });
    let (mut stranger, mut clerk, mut boss) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(clerk.call("AUTH clerk pw"), Value::ok());
    assert_eq!(boss.call("AUTH boss pw"), Value::ok());
    for look in ["SLOWLOG GET", "SLOWLOG LEN", "SLOWLOG RESET", "HOTKEYS", "BIGKEYS", "BIGKEYS RESET"] {
        let look = format!("PROXY {look}");
        assert_eq!(
            stranger.call(&look),
            Value::Error("NOAUTH Authentication required.".to_owned()),
            "{look}"
        );
        let refusal = clerk.call(&look);
        assert!(refusal.error().is_some_and(|text| text.starts_with("NOPERM PROXY ")), "{look}: {refusal:?}");
        assert!(boss.call(&look).error().is_none(), "{look}");
    }
    // What follows waits for the answer.
    let replies = boss.pipeline(&["SET k v", "PROXY SLOWLOG LEN", "GET k"]);
    assert!(matches!(replies[1], Value::Int(_)) && replies[2] == Value::bulk("v"), "{replies:?}");
}
