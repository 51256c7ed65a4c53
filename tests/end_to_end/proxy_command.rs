//! PROXY over RESP: what it says, and who may order what.

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Server, Value, eventually};

fn text_of(client: &mut Client, request: &str) -> String {
    let reply = client.call(request);
    reply.text().unwrap_or_else(|| panic!("{request}: {reply:?}"))
}

/// A group behind a password, with one user who may run FAILOVER and one who may not.
fn guarded() -> (Group, Proxy) {
    guarded_for("[]")
}

/// … where these alone may give orders, if any are named.
fn guarded_for(users: &str) -> (Group, Proxy) {
    let group = Group::plain(1);
    for node in group.nodes() {
        let mut client = node.client();
        for order in [
            "CONFIG SET masterauth sesame",
            "ACL SETUSER boss on >pw ~* &* +@all",
            "ACL SETUSER clerk on >pw ~* &* +@all -failover",
            "CONFIG SET requirepass sesame",
        ] {
            assert_eq!(client.call(order), Value::ok(), "{order}");
        }
    }
    let options = ProxyOptions::new(&group.addresses()).set("backend.password", "\"sesame\"");
    let proxy = options.set("admin.users", users).start_unready();
    eventually(LONG, "the proxy is ready", || {
        proxy.http("GET", "/readyz").is_some_and(|(code, _)| code == 200)
    });
    proxy.wait_well();
    (group, proxy)
}

#[test]
fn it_says_what_it_knows() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let [primary, replica] = [0, 1].map(|index| group.addresses()[index].to_string());
    let mut client = proxy.client();
    assert!(client.call("PROXY HELP").items().len() > 10);
    let status = text_of(&mut client, "PROXY STATUS");
    for line in [format!("primary:{primary}"), "epoch:1".into(), "writable:1".into(), "nodes_up:2".into()] {
        assert!(status.lines().any(|found| found == line), "{line} in\n{status}");
    }
    let nodes = text_of(&mut client, "PROXY NODES");
    assert!(
        nodes.lines().any(|line| line.starts_with(&format!("addr={primary} role=primary leads=1"))),
        "{nodes}"
    );
    assert!(
        nodes.lines().any(|line| line.starts_with(&format!("addr={replica} role=replica leads=0"))),
        "{nodes}"
    );
    client.call("CLIENT SETNAME me");
    assert!(text_of(&mut client, "PROXY CLIENTS").contains(" name=me "));
    let route = text_of(&mut client, "PROXY ROUTE SET k v");
    let way = format!("primary {primary} over a shared connection, epoch 1: it may write");
    assert_eq!(route.lines().next(), Some(way.as_str()));
    let route = text_of(&mut client, "PROXY ROUTE BLPOP k 0");
    assert!(route.starts_with(&format!("primary {primary} over a connection of its own")), "{route}");
    assert!(text_of(&mut client, "PROXY ROUTE SHUTDOWN").starts_with("nowhere: "));
    assert_eq!(client.call("GET k"), Value::Nil, "nothing was executed");
    for (request, words) in [
        ("PROXY", "wrong number of arguments for 'proxy' command"),
        ("PROXY nonsense", "unknown subcommand 'nonsense'. Try PROXY HELP."),
        ("PROXY STATUS x", "wrong number of arguments for 'proxy|status' command"),
        ("PROXY route", "wrong number of arguments for 'proxy|route' command"),
        ("PROXY READONLY", "wrong number of arguments for 'proxy|readonly' command"),
        ("PROXY READONLY perhaps", "syntax error"),
    ] {
        assert_eq!(client.call(request), Value::Error(format!("ERR {words}")), "{request}");
    }
    let spread = ProxyOptions::new(&group.addresses()).set("reads.policy", "\"prefer_replica\"").start();
    eventually(LONG, "the replica answers reads", || {
        text_of(&mut spread.client(), "PROXY ROUTE GET k")
            .starts_with(&format!("replica {replica} over a shared"))
    });
}

#[test]
fn named_users_alone_give_orders_if_they_have_a_password() {
    let (group, proxy) = guarded_for("[\"clerk\", \"guest\"]");
    for node in group.nodes() {
        let mut client = node.client();
        client.call("AUTH sesame");
        assert_eq!(client.call("ACL SETUSER guest on nopass ~* &* +@all"), Value::ok());
    }
    let mut client = proxy.client();
    for (login, refused) in [
        ("AUTH boss pw", "is for the users in admin.users, and `boss` is none of them"),
        ("AUTH sesame", "and `default` is none of them"),
        ("AUTH guest any", "the nodes let `guest` in without"),
    ] {
        assert_eq!(client.call(login), Value::ok(), "{login}");
        let reply = client.call("PROXY SWITCHOVER");
        let text = reply.error().unwrap_or_default();
        assert!(text.starts_with("NOPERM PROXY SWITCHOVER ") && text.contains(refused), "{login}: {reply:?}");
    }
    let leads = || proxy.status()["primary"].as_str().map(str::to_owned);
    let addresses = group.addresses().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(leads().as_ref(), Some(&addresses[0]));
    assert_eq!(client.call("AUTH clerk pw"), Value::ok());
    let reply = client.call("PROXY SWITCHOVER");
    assert!(reply.text().is_some(), "{reply:?}");
    assert_eq!(leads().as_ref(), Some(&addresses[1]));
}

#[test]
fn it_names_what_a_node_works_on_and_what_a_lost_one_had_not_answered() {
    let mut server = Server::start();
    let proxy = ProxyOptions::new(&[server.address()])
        .set("proxy.workers", "1")
        .set("health.timeout", "\"60s\"")
        .set("health.busy_timeout", "\"60s\"")
        .start();
    let (mut asker, mut busy) = (proxy.client(), proxy.client());
    let lost = |text: String| text.lines().find_map(|line| line.strip_prefix("lost:").map(str::to_owned));
    assert_eq!(lost(text_of(&mut asker, "PROXY STATUS")), None);
    assert!(text_of(&mut asker, "PROXY NODES").contains(" works-on= works-on-ms= remark="));
    assert_eq!(busy.call("EVAL return(1) 0"), Value::Int(1), "its connection is open");
    server.sigstop();
    busy.send(&["EVAL", "return 1", "1", "cart:7"]);
    eventually(LONG, "it works on the script", || {
        text_of(&mut asker, "PROXY NODES").contains(" works-on=eval works-on-ms=")
    });
    server.kill9();
    assert!(busy.read().error().is_some_and(|text| text.starts_with("AMBIGUOUS ")));
    let told = lost(text_of(&mut asker, "PROXY STATUS")).expect("a line");
    assert!(told.starts_with(&format!("{} ", server.address())), "{told}");
    assert!(told.contains(" ms ago, 1 in all: EVAL (after ") && told.ends_with(" ms)"), "{told}");
    assert!(!told.contains("cart"), "keys are for those who operate the proxy: {told}");
    assert_eq!(proxy.status()["lost"][0]["requests"][0]["request"], "EVAL cart:7");
}

#[test]
fn nobody_orders_where_anybody_may_enter() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let (mut nobody, mut anybody) = (proxy.client(), proxy.client());
    // A user without a password takes every password.
    assert_eq!(anybody.call("AUTH default anything"), Value::ok());
    for client in [&mut nobody, &mut anybody] {
        for order in [
            "SWITCHOVER",
            "FAILOVER FORCE",
            "DRAIN",
            "RELOAD",
            "PAUSE",
            "RESUME",
            "READONLY ON",
            "UPGRADE",
            &format!("ADOPT {}", group.addresses()[1]),
        ] {
            let refusal = client.call(&format!("PROXY {order}"));
            assert!(
                refusal.error().is_some_and(|text| text.starts_with("NOPERM PROXY ")),
                "{order}: {refusal:?}"
            );
        }
    }
    assert_eq!(group.primary(), 0);
    assert_eq!(nobody.call("SET k v"), Value::ok(), "it does not drain");
}

#[test]
fn that_the_proxys_own_user_may_not_ask_is_said_and_nobody_elses_fault() {
    let server = Server::start();
    for order in [
        "ACL SETUSER own on >own ~* &* +@all -acl",
        "ACL SETUSER clerk on >pw ~* &* +@all -failover -slowlog",
    ] {
        assert_eq!(server.call(order), Value::ok(), "{order}");
    }
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options.set("backend.username", "\"own\"").set("backend.password", "\"own\"").start();
    let mut clerk = proxy.client();
    assert_eq!(clerk.call("AUTH clerk pw"), Value::ok());
    for (request, begin, end) in [
        ("SWITCHOVER", "no node tells whether `clerk` has a password (NOPERM ", "nothing was done"),
        (
            "SLOWLOG LEN",
            "no node tells what `clerk` may (NOPERM ",
            "Redhold's own user has to run ACL GETUSER",
        ),
    ] {
        let reply = clerk.call(&format!("PROXY {request}"));
        let text = reply.error().unwrap_or_default();
        assert!(text.starts_with(&format!("NOPERM {begin}")) && text.ends_with(end), "{reply:?}");
        assert!(text.contains("ACL GETUSER") && !text.contains("SETUSER"), "{reply:?}");
    }
}

#[test]
fn where_the_proxys_own_user_may_not_ask_for_a_dry_run_who_may_do_everything_may_order() {
    let server = Server::start();
    for order in [
        "ACL SETUSER own on >own ~* &* +@all -acl +acl|getuser",
        "ACL SETUSER boss on >pw ~* &* +@all",
        "ACL SETUSER clerk on >pw ~* &* +@all -config",
    ] {
        assert_eq!(server.call(order), Value::ok(), "{order}");
    }
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options.set("backend.username", "\"own\"").set("backend.password", "\"own\"").start();
    let (mut boss, mut clerk) = (proxy.client(), proxy.client());
    assert_eq!(boss.call("AUTH boss pw"), Value::ok());
    assert_eq!(clerk.call("AUTH clerk pw"), Value::ok());
    assert_eq!(boss.call("PROXY RELOAD"), Value::bulk("nothing has changed"));
    for request in ["RELOAD", "SLOWLOG LEN"] {
        let reply = clerk.call(&format!("PROXY {request}"));
        let text = reply.error().unwrap_or_default();
        assert!(text.starts_with("NOPERM PROXY") && text.contains("(NOPERM "), "{reply:?}");
        assert!(text.contains("Redhold's own user has to run ACL DRYRUN"), "{reply:?}");
    }
}

#[test]
fn who_has_a_connection_of_his_own_may_ask_as_well() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    let (mut watcher, mut subscriber) = (proxy.client(), Client::connect_resp3(proxy.address()));
    assert_eq!(watcher.call("WATCH k"), Value::ok());
    subscriber.call("SUBSCRIBE news");
    for client in [&mut watcher, &mut subscriber] {
        assert!(text_of(client, "PROXY STATUS").contains("writable:1"));
        assert_eq!(text_of(client, "PROXY CLIENTS").lines().count(), 2);
        let replies = client.pipeline(&["SET a 1", "PROXY ROUTE GET a", "GET a", "PROXY NONE", "INCR a"]);
        assert_eq!(
            [&replies[0], &replies[2], &replies[4]],
            [&Value::ok(), &Value::bulk("1"), &Value::Int(2)]
        );
        assert!(
            replies[1].text().is_some() && replies[3].error().is_some_and(|text| text.contains("PROXY HELP"))
        );
    }
    server.call("SET k changed");
    server.call("PUBLISH news hello");
    assert_eq!(subscriber.read().items()[2], Value::bulk("hello"));
    let replies = watcher.pipeline(&["MULTI", "PROXY STATUS", "EXEC", "MULTI", "GET a", "EXEC"]);
    assert!(replies[1].error().is_some_and(|text| text.starts_with("ERR unknown command")), "{replies:?}");
    assert!(replies[2].error().is_some_and(|text| text.starts_with("EXECABORT ")), "{replies:?}");
    assert_eq!(replies[5], Value::Array(vec![Value::bulk("2")]), "it watches no more");
}

#[test]
fn who_is_there_is_shown_to_whom_the_node_would_show_it() {
    let server = Server::start();
    assert_eq!(server.call("ACL SETUSER clerk on >pw ~* &* +@all -client"), Value::ok());
    let proxy = Proxy::start(&[server.address()]);
    let (mut anybody, mut clerk) = (proxy.client(), proxy.client());
    anybody.call("CLIENT SETNAME me");
    assert_eq!(clerk.call("AUTH clerk pw"), Value::ok());
    let shown = text_of(&mut anybody, "PROXY CLIENTS");
    let rows: Vec<_> = shown.lines().collect();
    assert!(rows.len() == 2 && rows[0].contains(" name=me ") && rows[1].contains(" user=clerk "), "{shown}");
    let refused = clerk.call("PROXY CLIENTS");
    let begin = "NOPERM PROXY CLIENTS shows other clients and is for users who may run CLIENT LIST, and `clerk` may not (";
    assert!(refused.error().is_some_and(|text| text.starts_with(begin)), "{refused:?}");
}

#[test]
fn only_who_may_run_failover_orders_and_the_order_is_carried_out() {
    let (group, proxy) = guarded();
    let (mut stranger, mut clerk, mut boss) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(stranger.call("PROXY STATUS"), Value::Error("NOAUTH Authentication required.".to_owned()));
    assert_eq!(clerk.call("AUTH clerk pw"), Value::ok());
    assert_eq!(boss.call("AUTH boss pw"), Value::ok());
    for client in [&mut stranger, &mut clerk] {
        let refusal = client.call("PROXY SWITCHOVER");
        assert!(
            refusal.error().is_some_and(|text| text.starts_with("NOPERM PROXY SWITCHOVER")),
            "{refusal:?}"
        );
    }
    for (wrong, word) in
        [("SWITCHOVER 127.0.0.1:1", "there is no node"), ("FAILOVER", "FORCE"), ("ADOPT", "wrong number")]
    {
        let refusal = boss.call(&format!("PROXY {wrong}"));
        assert!(refusal.error().is_some_and(|text| text.contains(word)), "{refusal:?}");
    }
    // Whoever asks for the status may be faster than it is made.
    eventually(LONG, "the first epoch is told", || proxy.status()["epoch"] != 0);
    assert_eq!(proxy.status()["epoch"], 1, "nothing was ordered so far");
    // What follows the order waits for its end.
    let replies = boss.pipeline(&["SET k v", &format!("PROXY SWITCHOVER {}", group.addresses()[1]), "GET k"]);
    assert!(replies[1].text().is_some(), "{replies:?}");
    assert_eq!(replies[2], Value::bulk("v"));
    assert_eq!(proxy.status()["primary"], group.addresses()[1].to_string());
    eventually(LONG, "the switchover is told", || {
        let told = text_of(&mut boss, "PROXY FAILOVERS");
        told.lines().any(|line| line.starts_with("ordered and over: epoch 1 to 2"))
    });
    assert_eq!(clerk.call("GET k"), Value::bulk("v"));
    assert_eq!(boss.call("PROXY RELOAD"), Value::bulk("nothing has changed"));
    std::fs::write(proxy.config_file(), "[proxy]\nports = 1\n[logs]\n").expect("its folder is writable");
    let refusal = boss.call("PROXY RELOAD");
    let words = ["ERR ", "nothing has changed: ", "proxy.ports", "(line 2); ", "logs"];
    assert!(words.iter().all(|word| refusal.error().is_some_and(|text| text.contains(word))), "{refusal:?}");
    assert_eq!(boss.call("PROXY DRAIN"), Value::bulk("draining"));
    let mut proxy = proxy;
    drop((stranger, clerk, boss));
    assert!(proxy.wait_exit().success());
}
