//! Another process of the program takes over: the sockets listen all the time, and one process decides.

use std::fs;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use socket2::SockRef;

use crate::support::{
    Client, Group, LONG, Load, Proxy, ProxyOptions, Successor, Value, eventually, eventually_some, row_field,
    signal,
};

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
        let mut lives = vec![Successor::of(proxy.pid(), &proxy)];
        for _ in 0..4 {
            let next = Successor::of(lives[lives.len() - 1].pid, &proxy);
            lives.push(next);
        }
        drop(ends);
        // Whoever comes to a process that is about to end is closed by it.
        eventually(LONG, "the others have ended", || proxy.log().matches("app::life: stopped").count() == 5);
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
    replaces_the_primary(&mut group, &proxy);
    let log = proxy.log();
    assert!(!log.contains("another brain"), "neither takes the other for a stranger: {log}");
    // It is parked where the process that it has stayed with finds the new primary.
    assert_eq!(served(&proxy).call("RPUSH q job"), Value::Int(1));
    assert_eq!(waiter.read().items()[1], Value::bulk("job"));
    eventually(LONG, "the process ends", || proxy.has_exited());
    served(&proxy);
}

#[test]
fn who_can_not_take_over_changes_nothing() {
    let mut group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let good = fs::read_to_string(proxy.config_file()).expect("the file is there");
    let fails = |text: String, why: &str| {
        fs::write(proxy.config_file(), text).expect("the file can be written");
        let written = proxy.log().len();
        signal(proxy.pid(), Signal::USR2);
        eventually(LONG, "it is said", || proxy.log()[written..].contains("no other process takes over"));
        let log = proxy.log()[written..].to_owned();
        assert!(log.contains(why) && log.contains("ended before it served"), "{log}");
        served(&proxy);
    };
    fails(format!("nonsense\n{good}"), "1 fault");
    // Found when the process before has stopped deciding already.
    let state = proxy.state_dir().display().to_string();
    let blocked = proxy.state_dir().join("file");
    fs::write(&blocked, "").expect("the folder is writable");
    fails(good.replace(&state, &blocked.display().to_string()), "failover.state_dir");
    eventually(LONG, "it decides again", || proxy.log().contains("deciding again"));
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
    let good = fs::read_to_string(proxy.config_file()).expect("the file is there");
    // A name that stands for nobody yet is waited for.
    let node = format!("{:?}", group.addresses()[0].to_string());
    assert!(good.contains(&node), "{good}");
    let waits = good.replace(&node, "\"dns:nowhere.invalid:6379\"");
    fs::write(proxy.config_file(), waits).expect("the file can be written");
    signal(proxy.pid(), Signal::USR2);
    let child = eventually_some(LONG, "a process is started", || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", proxy.pid())).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    });
    served(&proxy);
    signal(proxy.pid(), Signal::TERM);
    eventually(LONG, "the process ends", || proxy.has_exited());
    assert!(!fs::exists(format!("/proc/{child}")).expect("a path"), "and takes the other with it");
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
    }
    eventually(LONG, "the others have ended", || proxy.log().matches("app::life: stopped").count() == 4);
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
    eventually(LONG, "the process before has ended", || proxy.log().contains("app::life: stopped"));
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
