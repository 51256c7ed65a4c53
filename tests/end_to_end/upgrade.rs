//! Another process of the program takes over: the sockets listen all the time, and one process decides.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use socket2::SockRef;

use crate::support::{
    CertificateFolder, Client, Group, LONG, Load, Proxy, ProxyOptions, Server, Successor, Tunnel, Value,
    encode, eventually, row_field, signal, trusting,
};

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A client that is served from now on.
#[track_caller]
fn served(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.call("SET k v"), Value::ok());
    client
}

/// Set when this value ends, also by a panic, which would be waited behind otherwise.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// So many processes have ended: until then their clients may come to the next one, which has no successor meanwhile.
#[track_caller]
fn has_ended(count: usize, proxy: &Proxy) {
    eventually(LONG, "it has ended", || proxy.log().matches("app::life: stopped").count() == count);
}

/// Has the proxy start a process that waits for a name that stands for nobody yet; its id.
#[track_caller]
fn waits_for_a_name(proxy: &Proxy, group: &Group) -> String {
    let good = fs::read_to_string(proxy.config_file()).expect("the file is there");
    let node = format!("{:?}", group.addresses()[0].to_string());
    assert!(good.contains(&node), "{good}");
    let waits = good.replace(&node, "\"dns:nowhere.invalid:6379\"");
    fs::write(proxy.config_file(), waits).expect("the file can be written");
    signal(proxy.pid(), Signal::USR2);
    eventually(LONG, "it is waited for", || proxy.log().contains("it is waited for"));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", proxy.pid()));
    let children = children.expect("the process runs");
    children.split_whitespace().next().expect("a process was started").to_owned()
}

/// Reads up to the notice that writes go again, and returns its number.
#[track_caller]
fn notice_of_an_end(client: &mut Client) -> i64 {
    loop {
        if let Value::Push(items) = client.read()
            && items[0] == Value::bulk("MIGRATED")
        {
            return items[1].int().expect("a number");
        }
    }
}

/// Whoever decides at the moment replaces the primary.
#[track_caller]
fn replaces_the_primary(group: &mut Group, proxy: &Proxy) {
    let (primary, epoch) = (group.primary(), proxy.status()["epoch"].as_u64().expect("an epoch"));
    group.node(primary).kill9();
    let mut client = proxy.client();
    assert_eq!(client.call("SET after failover"), Value::ok());
    eventually(LONG, "it is a decision", || proxy.status()["epoch"] == epoch + 1);
}

#[test]
fn nobody_is_refused_while_one_process_after_the_other_takes_over() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let over = AtomicBool::new(false);
    let _lives = std::thread::scope(|scope| {
        let connect = || {
            let mut came = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let client = TcpStream::connect(proxy.address()).expect("somebody listens all the time");
                // Closed in the ordinary way, it would keep its port for a minute.
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a socket");
                came += 1;
            }
            came
        };
        let ends = Over(&over);
        let clients = [scope.spawn(connect), scope.spawn(connect)];
        let mut lives: Vec<Successor> = Vec::new();
        for _ in 0..5 {
            let of = lives.last().map_or(proxy.pid(), |last| last.pid);
            lives.push(Successor::of(of, &proxy));
            has_ended(lives.len(), &proxy);
        }
        drop(ends);
        for client in clients {
            assert!(client.join().expect("nobody was refused") > 0);
        }
        lives
    });
    assert_eq!(served(&proxy).call("GET k"), Value::bulk("v"));
    assert_eq!(proxy.status()["epoch"], 1, "the record says who leads");
}

#[test]
fn the_one_decides_and_the_other_follows_until_its_last_client_is_free() {
    let mut group = Group::plain(2);
    let mut proxy = ProxyOptions::new(&group.addresses()).set("proxy.drain_timeout", "\"60s\"").start();
    let mut waiter = proxy.client();
    waiter.send(&["BLPOP", "q", "0"]);
    eventually(LONG, "it waits", || group.nodes()[0].info("blocked_clients").as_deref() == Some("1"));
    let _successor = Successor::of(proxy.pid(), &proxy);
    let here: Vec<Client> = (0..4).map(|_| served(&proxy)).collect();
    let counted = || proxy.metric("redhold_clients");
    assert!((0..32).all(|_| counted() == Some(4.0)), "the successor alone answers who asks for metrics");
    drop(here);
    let upgrade = format!("process {}, which this one has taken over from, serves clients yet", proxy.pid());
    assert_eq!(proxy.status()["upgrade"], upgrade.as_str());
    replaces_the_primary(&mut group, &proxy);
    let log = proxy.log();
    assert!(!log.contains("another brain"), "neither takes the other for a stranger: {log}");
    // It is parked where the process that it has stayed with finds the new primary.
    assert_eq!(served(&proxy).call("RPUSH q job"), Value::Int(1));
    assert_eq!(waiter.read().items()[1], Value::bulk("job"));
    eventually(LONG, "the process ends", || proxy.has_exited());
    served(&proxy);
    eventually(LONG, "it is told of no more", || proxy.status()["upgrade"].is_null());
}

#[test]
fn who_never_gets_free_is_closed_at_the_drain_timeout() {
    let group = Group::plain(0);
    let mut proxy = ProxyOptions::new(&group.addresses()).set("proxy.drain_timeout", "\"10s\"").start();
    let mut watcher = proxy.client();
    assert_eq!(watcher.call("WATCH k"), Value::ok());
    let _successor = Successor::of(proxy.pid(), &proxy);
    assert_eq!(watcher.call("GET k"), Value::Nil, "it is served yet");
    // What it watches is the connection's, which nobody can hand over.
    assert_eq!(watcher.read_to_close(), b"");
    eventually(LONG, "the process ends", || proxy.has_exited());
    served(&proxy);
}

#[test]
fn who_speaks_tls_stays_until_nothing_is_owed_and_comes_back_over_tls() {
    let (folder, group) = (CertificateFolder::new(), Group::plain(0));
    let options = folder.shown_by(ProxyOptions::new(&group.addresses()));
    let mut proxy = options.set("proxy.drain_timeout", "\"60s\"").start();
    let way = Tunnel::open(proxy.address(), trusting(&folder.authority, None, rustls::ALL_VERSIONS));
    let (mut waiter, mut idle) = (Client::connect(way.address()), Client::connect(way.address()));
    assert_eq!(idle.call("SET k v"), Value::ok());
    waiter.send(&["BLPOP", "q", "0"]);
    eventually(LONG, "it waits", || group.nodes()[0].info("blocked_clients").as_deref() == Some("1"));
    let _successor = Successor::of(proxy.pid(), &proxy);
    // Its keys can not be handed over, and it is owed nothing.
    assert_eq!(idle.read_to_close(), b"");
    let mut next = Client::connect(way.address());
    assert_eq!(next.call("RPUSH q job"), Value::Int(1));
    assert_eq!(waiter.read().items()[1], Value::bulk("job"));
    assert_eq!(waiter.read_to_close(), b"");
    eventually(LONG, "the process ends", || proxy.has_exited());
    assert_eq!(next.call("GET k"), Value::bulk("v"), "whoever takes over speaks TLS");
}

#[test]
fn who_can_not_take_over_changes_nothing() {
    let mut group = Group::plain(2);
    // That there are keys, and each setting that it changed, would be recorded at any moment of the test.
    assert_eq!(group.nodes()[0].call("SET first key"), Value::ok());
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.tune_nodes", "false").start();
    let good = fs::read_to_string(proxy.config_file()).expect("the file is there");
    let fails = |text: String, why: &str| {
        fs::write(proxy.config_file(), text).expect("the file can be written");
        let written = proxy.log().len();
        let (code, answer) = proxy.http("POST", "/api/upgrade").expect("it is answered");
        let (log, says) = (proxy.log()[written..].to_owned(), ["no other process takes over: ", why]);
        assert!(code == 409 && says.iter().all(|words| answer.contains(words)), "{code} {answer}");
        assert!(says.iter().all(|words| log.contains(words)), "{log}");
        served(&proxy);
    };
    fails(format!("nonsense\n{good}"), ": 1 fault ");
    // Found when the process before has stopped deciding already.
    let state = proxy.state_dir().display().to_string();
    let blocked = proxy.state_dir().join("file");
    fs::write(&blocked, "").expect("the folder is writable");
    fails(good.replace(&state, &blocked.display().to_string()), "failover.state_dir");
    let again = || proxy.log().matches("deciding again").count();
    eventually(LONG, "it decides again", || again() == 1);
    // A record that can not be taken back either is tried for until it can. None is due meanwhile: every node is in the last one.
    let is_in =
        |node: &Server, record: &str| node.info("run_id").is_some_and(|run_id| record.contains(&run_id));
    eventually(LONG, "the record has every node", || {
        let record = fs::read_to_string(proxy.state_dir().join("group.record")).unwrap_or_default();
        group.nodes().iter().all(|node| is_in(node, &record))
    });
    let (state, aside) = (proxy.state_dir(), proxy.state_dir().with_extension("aside"));
    fs::rename(&state, &aside).and_then(|()| fs::write(&state, "")).expect("the folder is writable");
    fails(fs::read_to_string(proxy.config_file()).expect("the file is there"), "failover.state_dir");
    assert!(proxy.log().contains("nothing is decided until") && again() == 1, "{}", proxy.log());
    fs::remove_file(&state).and_then(|()| fs::rename(&aside, &state)).expect("the folder is writable");
    eventually(LONG, "it decides after all", || again() == 2);
    replaces_the_primary(&mut group, &proxy);
    // And it can be succeeded yet.
    fs::write(proxy.config_file(), good).expect("the file can be written");
    let _successor = Successor::of(proxy.pid(), &proxy);
    served(&proxy);
    assert_eq!(proxy.status()["epoch"], 2);
}

#[test]
fn who_waits_for_a_successor_may_be_ended() {
    let group = Group::plain(0);
    let mut proxy = Proxy::start(&group.addresses());
    let child = waits_for_a_name(&proxy, &group);
    served(&proxy);
    signal(proxy.pid(), Signal::TERM);
    eventually(LONG, "the process ends", || proxy.has_exited());
    assert!(!fs::exists(format!("/proc/{child}")).expect("a path"), "and takes the other with it");
}

#[test]
fn who_waits_to_be_a_successor_ends_with_who_started_it() {
    let group = Group::plain(0);
    let mut proxy = Proxy::start(&group.addresses());
    let child = waits_for_a_name(&proxy, &group);
    proxy.kill9();
    // Where nobody waits for it, it stays as one that has ended.
    let has_ended = || {
        let status = fs::read_to_string(format!("/proc/{child}/stat"));
        status.map_or(true, |status| status.contains(") Z "))
    };
    eventually(LONG, "the other ends too", has_ended);
    assert!(TcpStream::connect(proxy.address()).is_err(), "and nobody listens");
}

/// The reply to a request of a client that is told of holds, which a process begins with.
fn call_among_notices(client: &mut Client, request: &str) -> Value {
    let mut reply = client.call(request);
    while let Value::Push(_) = reply {
        reply = client.read();
    }
    reply
}

#[test]
fn who_orders_it_is_told_who_took_over_and_keeps_the_connection() {
    let group = Group::plain(1);
    group.nodes().iter().for_each(|node| drop(node.call("ACL SETUSER boss on >pw ~* &* +@all")));
    let proxy = Proxy::start(&group.addresses());
    let mut boss = proxy.client();
    assert_eq!(boss.call("HELLO 3 AUTH boss pw").get("proto"), Some(&Value::Int(3)));
    assert_eq!(boss.call("CLIENT MAINT_NOTIFICATIONS ON"), Value::ok());
    let id = boss.call("CLIENT ID");
    proxy.switch_over();
    let before = notice_of_an_end(&mut boss);
    let url = format!("http://{}", proxy.admin_address());
    let ordered = || Command::new(env!("CARGO_BIN_EXE_redhold")).args(["upgrade", "--admin", &url]).output();
    let reply = call_among_notices(&mut boss, "PROXY UPGRADE");
    let first = Successor::told(&reply.text().unwrap_or_else(|| panic!("{reply:?}")));
    has_ended(1, &proxy);
    let told = ordered().expect("the program can be started");
    let second = Successor::told(&String::from_utf8_lossy(&told.stdout));
    has_ended(2, &proxy);
    assert!(second.pid != first.pid && told.status.success());
    proxy.switch_over();
    let after = notice_of_an_end(&mut boss);
    assert!(after > before, "clients know notices by their numbers: {before}, {after}");
    assert_eq!(call_among_notices(&mut boss, "CLIENT ID"), id);
}

#[test]
fn the_end_is_the_end_of_the_sockets_too() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let mut subscriber = proxy.client();
    subscriber.call("SUBSCRIBE c");
    signal(proxy.pid(), Signal::TERM);
    // Somebody is here yet, and who comes goes elsewhere at once.
    eventually(LONG, "nobody listens", || TcpStream::connect(proxy.address()).is_err());
    group.nodes()[0].call("PUBLISH c said");
    assert_eq!(subscriber.read().items()[2], Value::bulk("said"));
}

#[test]
fn under_load_no_client_sees_an_error_or_the_end_of_its_connection() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let load = Load::start(proxy.address(), 8, 16);
    let mut lives: Vec<Successor> = Vec::new();
    for _ in 0..4 {
        load.wait_for(1000);
        let of = lives.last().map_or(proxy.pid(), |last| last.pid);
        lives.push(Successor::of(of, &proxy));
        has_ended(lives.len(), &proxy);
    }
    let outcome = load.finish();
    assert_eq!((outcome.faults(), outcome.ambiguous()), Default::default());
    assert_eq!(outcome.missing_on(group.nodes()[0].address()), 0);
}

#[test]
fn a_client_is_after_it_who_it_was() {
    let group = Group::plain(0);
    group.nodes()[0].call("ACL SETUSER app on >pw ~* &* +@all");
    let proxy = Proxy::start(&group.addresses());
    let mut client = proxy.client();
    assert_eq!(client.call("HELLO 3 AUTH app pw SETNAME mine").get("proto"), Some(&Value::Int(3)));
    assert_eq!(client.call("SELECT 3"), Value::ok());
    let (id, before) = (client.call("CLIENT ID"), client.call("CLIENT INFO"));
    let mut plain = proxy.client();
    plain.send_raw(b"*2\r\n$4\r\nECHO\r\n$3\r\nha");
    eventually(LONG, "a part of it is there", || {
        proxy.client().call("CLIENT LIST").text().is_some_and(|rows| rows.contains("qbuf=20"))
    });
    let _successor = Successor::of(proxy.pid(), &proxy);
    has_ended(1, &proxy);
    plain.send_raw(b"h\r\n");
    assert_eq!(plain.read(), Value::bulk("hah"));
    assert_eq!(client.call("CLIENT ID"), id);
    let after = client.call("CLIENT INFO");
    let (before, after) = (before.text().expect("a row"), after.text().expect("a row"));
    for field in ["addr", "laddr", "name", "db", "user", "resp"] {
        assert_eq!(row_field(&after, field), row_field(&before, field), "{field}");
    }
    let mut younger = proxy.client();
    assert!(matches!((younger.call("CLIENT ID"), id), (Value::Int(new), Value::Int(old)) if new > old));
    assert_eq!(proxy.metric("redhold_clients"), Some(3.0));
}

#[test]
fn many_go_over_while_others_come_and_nobody_is_taken_for_another() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let named = |at: usize| {
        let mut client = proxy.client();
        assert_eq!(client.call(&format!("CLIENT SETNAME c{at}")), Value::ok());
        client
    };
    let mut clients: Vec<Client> = (0..400).map(named).collect();
    let over = AtomicBool::new(false);
    let (_successor, newcomers) = std::thread::scope(|scope| {
        let ends = Over(&over);
        let come = scope.spawn(|| {
            let mut came = Vec::new();
            while came.len() < 400 && (came.is_empty() || !over.load(Ordering::Relaxed)) {
                came.push(named(400 + came.len()));
            }
            came
        });
        let successor = Successor::of(proxy.pid(), &proxy);
        has_ended(1, &proxy);
        drop(ends);
        (successor, come.join().expect("all were served"))
    });
    clients.extend(newcomers);
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.call("CLIENT GETNAME"), Value::bulk(format!("c{at}")));
    }
    let rows = clients[0].call("CLIENT LIST").text().expect("rows");
    assert_eq!(rows.lines().count(), clients.len());
    assert_eq!(proxy.metric("redhold_clients"), Some(clients.len() as f64));
}

#[test]
fn who_is_in_the_middle_of_a_large_request_goes_over_behind_it() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let (mut client, value) = (proxy.client(), "x".repeat(600 << 10));
    let request = encode(&["SET", "k", &value]);
    let (first, rest) = request.split_at(400 << 10);
    client.send_raw(first);
    eventually(LONG, "much of it is there", || {
        let rows = proxy.client().call("CLIENT LIST").text().expect("rows");
        let buffered = |row: &str| row_field(row, "qbuf").and_then(|bytes| bytes.parse::<usize>().ok());
        rows.lines().filter_map(buffered).any(|bytes| bytes > 300 << 10)
    });
    let _successor = Successor::of(proxy.pid(), &proxy);
    client.send_raw(rest);
    assert_eq!(client.read(), Value::ok());
    has_ended(1, &proxy);
    assert_eq!(client.call("STRLEN k"), Value::Int(600 << 10));
}

#[test]
fn a_user_of_the_proxys_own_is_one_for_the_successor_too() {
    let group = Group::plain(0);
    let user = format!("name = \"app\"\npassword_sha256 = \"{SECRET}\"\nkeys = [\"app:*\"]\n");
    let proxy = ProxyOptions::new(&group.addresses()).user(&user).start_unready();
    eventually(LONG, "it is ready", || proxy.http("GET", "/readyz").is_some_and(|(code, _)| code == 200));
    let mut client = proxy.client();
    assert_eq!(client.call("AUTH app secret"), Value::ok());
    assert_eq!(client.call("SET app:k v"), Value::ok());
    let _successor = Successor::of(proxy.pid(), &proxy);
    has_ended(1, &proxy);
    assert_eq!(client.call("ACL WHOAMI"), Value::bulk("app"));
    assert_eq!(client.call("GET app:k"), Value::bulk("v"));
    assert!(client.call("GET other").error().is_some_and(|text| text.starts_with("NOPERM")));
    assert!(proxy.client().call("GET app:k").error().is_some_and(|text| text.starts_with("NOAUTH")));
}

#[test]
fn a_unix_socket_goes_over_and_who_came_by_it_and_what_a_balancer_announced() {
    let group = Group::plain(0);
    let options = ProxyOptions::new(&group.addresses()).set("proxy.proxy_protocol", "true");
    let proxy = options.set("proxy.trusted", "[\"127.0.0.2\"]").start();
    let (file, path) = (proxy.config_file(), proxy.config_file().with_file_name("socket"));
    let text = fs::read_to_string(&file).expect("the file is there");
    let beside = text.replacen("listen = [", &format!("listen = [\"unix:{}\", ", path.display()), 1);
    assert_ne!(beside, text);
    fs::write(&file, beside).expect("the file can be written");
    let first = Successor::of(proxy.pid(), &proxy);
    has_ended(1, &proxy);
    let ask = |stream: &mut UnixStream| {
        stream.write_all(b"CLIENT INFO\r\n").expect("it is served");
        let mut reply = vec![0; 1 << 12];
        let read = stream.read(&mut reply).expect("it is answered");
        String::from_utf8_lossy(&reply[..read]).into_owned()
    };
    let mut local = UnixStream::connect(&path).expect("it listens");
    local.set_read_timeout(Some(LONG)).expect("a socket");
    let mut announced = Client::connect_from(IpAddr::from([127, 0, 0, 2]), proxy.address());
    announced.send_raw(b"PROXY TCP4 10.1.2.3 10.0.0.9 5000 6380\r\n");
    let mut row = || announced.call("CLIENT INFO").text().expect("a row");
    let known = |row: &str| ["id", "addr", "laddr"].map(|field| row_field(row, field).expect(field));
    let (before, local_before) = (known(&row()), known(&ask(&mut local)));
    assert_eq!(before[1..], ["10.1.2.3:5000", "10.0.0.9:6380"]);
    assert!(local_before[1].starts_with(&path.display().to_string()), "{local_before:?}");
    let _second = Successor::of(first.pid, &proxy);
    has_ended(2, &proxy);
    assert_eq!((known(&row()), known(&ask(&mut local))), (before, local_before));
    let mut newcomer = UnixStream::connect(&path).expect("it listens");
    newcomer.set_read_timeout(Some(LONG)).expect("a socket");
    assert!(ask(&mut newcomer).contains("cmd=client"));
}
