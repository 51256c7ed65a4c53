//! `[[users]]`: nobody else comes in, the nodes enforce what a user may, or the proxy where they can not.

use std::fs;

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, Server, Value, chosen, eventually, scratch_folder,
};

/// SHA-256 of `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// A user that the nodes are given: password `secret`, and further keys.
fn user(name: &str, more: &str) -> String {
    format!("name = \"{name}\"\npassword_sha256 = \"{SECRET}\"\n{more}")
}

#[track_caller]
fn start(options: ProxyOptions) -> Proxy {
    let proxy = options.start_unready();
    eventually(LONG, "the proxy is ready", || {
        proxy.http("GET", "/readyz").is_some_and(|(code, _)| code == 200)
    });
    proxy
}

#[track_caller]
fn logged_in(proxy: &Proxy, login: &str) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.call(login), Value::ok(), "{login}");
    client
}

#[track_caller]
fn refused(client: &mut Client, request: &str, begin: &str) {
    let reply = client.call(request);
    assert!(reply.error().is_some_and(|text| text.starts_with(begin)), "{request}: {reply:?}");
}

/// Its line in ACL LIST; a node that is told whom to follow closes connections meanwhile.
fn lists(node: &Server, name: &str) -> Option<String> {
    let users = Client::try_connect(node.address()).ok()?.try_cmd(&["ACL", "LIST"]).ok()?;
    let line = |user: &Value| user.text().filter(|line| line.starts_with(&format!("user {name} ")));
    users.items().iter().find_map(line)
}

#[test]
fn nobody_else_comes_in() {
    let group = Group::plain(1);
    let proxy = start(ProxyOptions::new(&group.addresses()).user(&user("app", "")));
    let mut client = proxy.client();
    for request in [
        "GET k",
        "PING",
        "nosuch",
        "MULTI",
        "SUBSCRIBE c",
        "BLPOP l 0",
        "CLIENT ID",
        "SELECT 1",
        "PROXY STATUS",
        "REPLICAOF NO ONE",
    ] {
        assert_eq!(client.call(request), Value::Error("NOAUTH Authentication required.".into()), "{request}");
    }
    refused(&mut client, "EXEC", "EXECABORT Transaction discarded because of: NOAUTH ");
    refused(&mut client, "HELLO 3", "NOAUTH HELLO must be called with the client already authenticated");
    refused(&mut client, "HELLO 4", "NOPROTO ");
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    for request in [
        "AUTH app Secret",
        "AUTH nobody secret",
        "AUTH secret",
        "AUTH default secret",
        "AUTH app ",
        "HELLO 3 AUTH app no",
    ] {
        refused(&mut client, request, wrong);
    }
    refused(&mut client, "AUTH", "ERR wrong number of arguments");
    refused(&mut client, "GET k", "NOAUTH ");
    refused(&mut client, "RESET x", "ERR wrong number of arguments");
    for bytes in [&b"POST / HTTP/1.1\r\nAUTH app secret\r\n"[..], b"*1\r\n$5\r\nhost:\r\n"] {
        let mut page = proxy.client();
        page.send_raw(bytes);
        assert_eq!(page.read_to_close(), b"", "as from a server");
    }
    let stats = group.nodes()[0].client().call("INFO commandstats").text().expect("a text");
    assert!(
        !stats.contains("cmdstat_auth") && !stats.contains("cmdstat_reset"),
        "no node was asked: {stats}"
    );
    assert_eq!(client.call("AUTH app secret"), Value::ok());
    assert_eq!(client.call("ACL WHOAMI"), Value::bulk("app"));
    assert_eq!(client.call("SET k v"), Value::ok());
    refused(&mut client, "AUTH app no", wrong);
    assert_eq!(client.call("GET k"), Value::bulk("v"), "it stays who it was");
    assert_eq!(client.call("RESET"), Value::Simple("RESET".into()));
    refused(&mut client, "GET k", "NOAUTH ");
    let hello = client.call("HELLO 3 AUTH app secret SETNAME me");
    assert!(hello.error().is_none(), "{hello:?}");
    assert_eq!(client.call("CLIENT GETNAME"), Value::bulk("me"));
    assert_eq!(client.call("GET k"), Value::bulk("v"));
    let counted = proxy.metric("redhold_errors_total{kind=\"unauthorised\"}");
    assert_eq!(counted, Some(23.0));
    // What a stranger may send is bounded as a server bounds it, and the client is told.
    let mut stranger = proxy.client();
    stranger.send_raw(b"*11\r\n");
    assert_eq!(stranger.read_to_close(), b"-ERR Protocol error: unauthenticated multibulk length\r\n");
    assert!(!proxy.log().contains("secret") && !proxy.log().contains(SECRET), "{}", proxy.log());
    assert!(!proxy.http("GET", "/api/status").expect("an answer").1.contains(SECRET));
}

#[test]
fn every_node_enforces_what_a_user_may() {
    let group = Group::plain(1);
    let rules = "keys = [\"app:*\"]\nchannels = [\"app:*\"]\ncommands = [\"+@all\", \"-@dangerous\"]";
    let options = ProxyOptions::new(&group.addresses()).user(&user("app", rules)).user(&user("all", ""));
    let proxy = start(options);
    let mut root = logged_in(&proxy, "AUTH all secret");
    for order in ["SET other:k hidden", "SET w_b 1", "SET w_a 2"] {
        assert_eq!(root.call(order), Value::ok());
    }
    let mut app = logged_in(&proxy, "AUTH app secret");
    assert_eq!(app.call("MSET app:1 a app:2 b"), Value::ok());
    assert_eq!(app.call("RPUSH app:list b a"), Value::Int(2));
    assert_eq!(app.cmd(&["EVAL", "return redis.call('GET', KEYS[1])", "1", "app:1"]), Value::bulk("a"));
    for request in [
        &["GET", "other:k"][..],
        &["MSET", "app:1", "x", "other:k", "x"],
        &["EVAL", "return redis.call('GET', 'other:k')", "0"],
        &["EVAL", "return redis.call('GET', KEYS[1])", "1", "other:k"],
        &["SORT", "app:list", "BY", "w_*"],
        &["SORT", "app:list", "GET", "other:k"],
        &["SORT", "app:list", "STORE", "other:k"],
        &["COPY", "other:k", "app:copy"],
        &["PUBLISH", "other", "m"],
        &["FLUSHALL"],
        &["KEYS", "*"],
    ] {
        let reply = app.cmd(request);
        let text = reply.error().unwrap_or_default();
        assert!(
            text.contains("NOPERM") || text.contains("can't access") || text.contains("ermission"),
            "{request:?}: {reply:?}"
        );
    }
    refused(&mut app, "SUBSCRIBE other", "NOPERM ");
    assert_eq!(app.call("MULTI"), Value::ok());
    refused(&mut app, "SET other:k x", "NOPERM ");
    refused(&mut app, "EXEC", "EXECABORT ");
    let digest =
        root.cmd(&["SCRIPT", "LOAD", "return redis.call('GET', 'other:k')"]).text().expect("a digest");
    let reply = app.cmd(&["EVALSHA", &digest, "0"]);
    assert!(reply.error().is_some(), "{reply:?}");
    assert_eq!(root.call("GET other:k"), Value::bulk("hidden"));
    assert_eq!(app.call("GET app:1"), Value::bulk("a"));
    for node in group.nodes() {
        eventually(LONG, "the node has the user", || {
            lists(node, "app").is_some() && lists(node, "all").is_some()
        });
        assert!(lists(node, "app").is_some_and(|line| line.contains(SECRET) && line.contains("~app:*")));
    }
    let (code, status) = proxy.http("GET", "/api/status").expect("an answer");
    assert!(code == 200 && !status.contains("refused ACL"), "{status}");
}

#[test]
fn a_node_that_forgot_a_user_is_given_it_before_anybody_notices() {
    let group = Group::plain(0);
    let options = ProxyOptions::new(&group.addresses()).looking_once_a_minute();
    let proxy = start(options.user(&user("app", "keys = [\"app:*\"]")));
    let node = &group.nodes()[0];
    let mut clients: Vec<Client> = (0..4).map(|_| logged_in(&proxy, "AUTH app secret")).collect();
    for round in 0..5 {
        // Closes its connections as well.
        assert_eq!(node.call("ACL DELUSER app"), Value::Int(1));
        eventually(LONG, "its connections are closed", || {
            node.call("CLIENT LIST").text().is_some_and(|list| !list.contains(" user=app "))
        });
        for (at, client) in clients.iter_mut().enumerate() {
            let key = format!("app:{at}");
            assert_eq!(client.cmd(&["SET", &key, &round.to_string()]), Value::ok());
            assert_eq!(client.cmd(&["GET", &key]), Value::bulk(round.to_string()));
            assert_eq!(client.pipeline(&["MULTI", "PING", "EXEC"])[0], Value::ok());
            refused(client, "GET other", "NOPERM ");
        }
    }
    assert!(proxy.log().contains("given to a node that did not know it"), "{}", proxy.log());
}

#[test]
fn a_node_that_starts_again_has_the_users_and_what_somebody_changed_is_put_back() {
    let mut group = Group::plain(1);
    let proxy = start(
        ProxyOptions::new(&group.addresses()).user(&user("app", "keys = [\"app:*\"]")).user(&user("all", "")),
    );
    let given = |node: &Server| {
        lists(node, "app").is_some_and(|line| line.contains("~app:*") && !line.contains("~*"))
    };
    eventually(LONG, "both have it", || group.nodes().iter().all(given));
    group.node(1).kill9();
    group.node(1).restart();
    eventually(LONG, "it has it again", || given(&group.nodes()[1]));
    // Who is told whom to follow loses its connections with that; they are opened below.
    group.wait_in_sync(0);
    let mut root = logged_in(&proxy, "AUTH all secret");
    for node in group.nodes() {
        assert_eq!(node.call("ACL SETUSER app allkeys"), Value::ok());
    }
    // A change by a client has the nodes compared.
    assert_eq!(root.call("CONFIG SET slowlog-max-len 77"), Value::ok());
    eventually(LONG, "the rules are again what the configuration says", || group.nodes().iter().all(given));
}

#[test]
fn a_group_fails_over_under_its_users() {
    let mut group = Group::plain(2);
    let proxy = start(ProxyOptions::new(&group.addresses()).user(&user("app", "keys = [\"app:*\"]")));
    let mut client = logged_in(&proxy, "AUTH app secret");
    proxy.wait_well();
    group.wait_in_sync(0);
    for round in 0..20 {
        assert_eq!(client.call(&format!("SET app:k {round}")), Value::ok());
    }
    group.node(0).kill9();
    assert_eq!(client.call("SET app:after 1"), Value::ok());
    assert_eq!(client.call("GET app:k"), Value::bulk("19"));
    refused(&mut client, "GET other", "NOPERM ");
    assert_eq!(logged_in(&proxy, "AUTH app secret").call("GET app:after"), Value::bulk("1"));
}

#[test]
fn a_node_that_will_not_be_given_users_is_named() {
    let group = Group::plain(0);
    let node = &group.nodes()[0];
    assert_eq!(node.call("ACL SETUSER own on >own ~* &* +@all -acl"), Value::ok());
    let options = ProxyOptions::new(&group.addresses())
        .set("backend.username", "\"own\"")
        .set("backend.password", "\"own\"");
    let proxy = start(options.user(&user("app", "")));
    let mut client = proxy.client();
    let begin = format!(
        "ERR node {} does not know user 'app' and refuses to be given it, the proxy's log says why",
        node.address()
    );
    refused(&mut client, "AUTH app secret", &begin);
    refused(&mut client, "GET k", "NOAUTH ");
    eventually(LONG, "the status says so", || {
        proxy
            .http("GET", "/api/status")
            .is_some_and(|(_, text)| text.contains("refused ACL SETUSER app: NOPERM"))
    });
    // Whoever makes the user there has it.
    assert_eq!(node.call("ACL SETUSER app on >secret ~* +@all"), Value::ok());
    assert_eq!(client.call("AUTH app secret"), Value::ok());
    assert_eq!(client.call("SET k v"), Value::ok());
}

/// How often a node refused `ACL SETUSER`, with whatever else of ACL it refused before 7.0.
fn refused_setusers(node: &Server) -> u64 {
    let stats = node.call("INFO commandstats").text().expect("a text");
    let name = |line: &&str| line.starts_with("cmdstat_acl|setuser:") || line.starts_with("cmdstat_acl:");
    let counted = |line: &str| {
        let number = line.split(',').find_map(|field| field.strip_prefix("rejected_calls="));
        number.and_then(|number| number.parse::<u64>().ok()).expect("a number")
    };
    stats.lines().filter(name).map(counted).sum()
}

#[test]
fn a_node_that_will_not_be_given_users_is_asked_and_told_of_once_a_pause() {
    let group = Group::plain(0);
    let node = &group.nodes()[0];
    let own = "ACL SETUSER own on >own ~* &* +@all -acl";
    assert_eq!(node.call(own), Value::ok());
    let options = ProxyOptions::new(&group.addresses())
        .set("backend.username", "\"own\"")
        .set("backend.password", "\"own\"")
        .looking_once_a_minute();
    let proxy = start(options.user(&user("app", "")));
    eventually(LONG, "the looks that come with a start are over", || {
        proxy.status()["nodes"][0]["silent_for_ms"].as_u64().is_some_and(|ms| ms >= 500)
    });
    let begin = format!("ERR node {} does not know user 'app' and refuses", node.address());
    let auth = || refused(&mut proxy.client(), "AUTH app secret", &begin);
    let lines = || {
        let log = proxy.log();
        log.lines()
            .filter(|line| line.contains("will not be given it"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = refused_setusers(node);
    let asked = || usize::try_from(refused_setusers(node) - before).expect("a few");
    (0..100).for_each(|_| auth());
    // Once at the start, and after pauses of 1, 2, 4 and 8 s.
    let (times, told) = (asked(), lines());
    assert!((1..=5).contains(&times) && told.len() == times, "{times}: {told:?}");
    eventually(LONG, "it is asked again", || {
        auth();
        asked() > times
    });
    let told = lines();
    let last = &told[times];
    assert!(told.len() == asked() && last.contains("NOPERM") && !last.contains("connections=1 "), "{told:?}");

    // Who has it by hand comes in during the pause, and whom the node forgets afterwards it is given at once.
    assert_eq!(node.call("ACL SETUSER app on >secret ~* +@all"), Value::ok());
    logged_in(&proxy, "AUTH app secret");
    assert_eq!(node.call("ACL SETUSER own +acl"), Value::ok());
    assert_eq!(node.call("ACL DELUSER app"), Value::Int(1));
    eventually(LONG, "its connections are closed", || {
        node.call("CLIENT LIST").text().is_some_and(|list| !list.contains(" user=app "))
    });
    logged_in(&proxy, "AUTH app secret");
}

/// In front of a node with a user `there`, password `pw`: `mapped` is it, for some keys.
fn mapped() -> (Group, Proxy) {
    let group = Group::plain(0);
    assert_eq!(group.nodes()[0].call("ACL SETUSER there on >pw ~* &* +@all"), Value::ok());
    let folder = scratch_folder("users");
    fs::create_dir_all(&folder).expect("a folder");
    let (outside, inside) = (folder.join("outside"), folder.join("inside"));
    fs::write(&outside, "mine\n").and_then(|()| fs::write(&inside, "pw\n")).expect("files");
    let keys = format!(
        "name = \"mapped\"\npassword_file = \"{}\"\nbackend_user = \"there\"\nbackend_password_file = \"{}\"\nkeys = [\"app:*\", \"a[0-9]\"]",
        outside.display(),
        inside.display()
    );
    let other = "name = \"same\"\npassword_env = \"HOME\"\nbackend_user = \"there\"";
    let options = ProxyOptions::new(&group.addresses()).user(&keys).user(other).user(&user("given", ""));
    let proxy = start(options);
    (group, proxy)
}

#[test]
fn where_nodes_have_their_users_the_keys_are_judged_here() {
    let (group, proxy) = mapped();
    assert_eq!(group.nodes()[0].call("SET other hidden"), Value::ok());
    let mut client = proxy.client();
    refused(&mut client, "AUTH mapped pw", "WRONGPASS ");
    refused(&mut client, "AUTH there pw", "WRONGPASS ");
    // The node's password is not this one.
    let home = std::env::var("HOME").expect("a home");
    refused(&mut client, &format!("AUTH same {home}"), "ERR the node refuses the user or the password");
    assert_eq!(client.call("AUTH mapped mine"), Value::ok());
    assert_eq!(client.call("ACL WHOAMI"), Value::bulk("there"));
    assert_eq!(
        client.pipeline(&["SET app:k v", "SET a1 v", "RPUSH app:l 1", "MSET app:1 x app:2 y"])[3],
        Value::ok()
    );
    assert_eq!(client.call("SORT app:l"), Value::Array(vec![Value::bulk("1")]));
    let denied = Value::Error("NOPERM No permissions to access a key".into());
    for request in [
        "GET other",
        "SET a11 v",
        "MSET app:1 x other y",
        "RENAME app:k other",
        "SORT app:l STORE other",
        "WATCH other",
        "BLPOP app:x other 1",
        "XREAD STREAMS other 0",
        "OBJECT ENCODING other",
    ] {
        assert_eq!(client.call(request), denied, "{request}");
    }
    let unseen =
        "NOPERM No permissions to access a key: Redhold can not tell which ones this command touches";
    for request in [
        "EVAL return(1) 0",
        "EVALSHA 0 0",
        "FCALL f 0",
        "SORT app:l BY w_*",
        "SORT app:l GET other",
        "nosuch other",
        "DEBUG OBJECT other",
        "MIGRATE h 1 app:k 0 1",
        "FT.SEARCH i q",
    ] {
        assert_eq!(client.call(request), Value::Error(unseen.into()), "{request}");
    }
    let replies = client.pipeline(&["MULTI", "SET app:k w", "SET other x", "EXEC", "GET app:k"]);
    assert_eq!(replies[2], denied);
    assert!(replies[3].error().is_some_and(|text| text.starts_with("EXECABORT ")), "{replies:?}");
    assert_eq!(replies[4], Value::bulk("v"));
    assert_eq!(client.pipeline(&["MULTI", "SET app:k w", "EXEC"])[2], Value::Array(vec![Value::ok()]));
    // In a pipeline each is judged, alike as they may be.
    let replies = client.pipeline(&["GET app:k", "GET other", "GET app:k", "GET a1", "GET other"]);
    assert_eq!(
        replies,
        [Value::bulk("w"), denied.clone(), Value::bulk("w"), Value::bulk("v"), denied.clone()]
    );
    let large = "x".repeat(3 << 20);
    assert_eq!(client.cmd(&["SET", "app:large", &large]), Value::ok());
    assert_eq!(client.cmd(&["SET", "other", &large]), denied);
    assert_eq!(client.cmd(&["MSET", "app:1", &large]), Value::Error(unseen.into()));
    // What may look up other keys is refused before all of it is here.
    let sort = ["SORT_RO", "app:l", "BY", &large, "GET", "other"];
    assert_eq!(client.cmd(&sort), Value::Error(unseen.into()));
    assert_eq!(client.call("STRLEN app:large"), Value::Int(3 << 20));
    assert_eq!(client.call("PING"), Value::Simple("PONG".into()));
    assert_eq!(group.nodes()[0].call("GET other"), Value::bulk("hidden"));
}

#[test]
fn a_client_with_a_connection_of_its_own_proves_itself_there() {
    let (_group, proxy) = mapped();
    let mut client = proxy.client();
    let hello = client.call("HELLO 3 AUTH mapped mine");
    assert!(hello.error().is_none(), "{hello:?}");
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    refused(&mut client, "AUTH mapped pw", "WRONGPASS ");
    assert_eq!(client.call("GET app:k"), Value::Nil);
    refused(&mut client, "GET other", "NOPERM ");
    assert_eq!(client.call("AUTH mapped mine"), Value::ok());
    let hello = client.call("HELLO 3 AUTH mapped mine");
    assert!(hello.error().is_none(), "{hello:?}");
    assert_eq!(client.call("ACL WHOAMI"), Value::bulk("there"));
    refused(&mut client, "GET other", "NOPERM ");
    let mut client = logged_in(&proxy, "AUTH mapped mine");
    assert_eq!(client.call("MULTI"), Value::ok());
    refused(&mut client, "AUTH mapped mine", "ERR AUTH and HELLO are refused by Redhold from MULTI to EXEC");
    refused(&mut client, "EXEC", "EXECABORT ");
    assert_eq!(client.call("GET app:k"), Value::Nil);
}

#[test]
fn a_rate_holds_for_all_clients_of_a_user_and_for_nobody_else() {
    let group = Group::plain(0);
    let options = ProxyOptions::new(&group.addresses())
        .user(&user("slow", "rate = \"1/h\""))
        .user(&user("fast", "rate = \"1000000/s\""));
    let proxy = start(options);
    let mut one = logged_in(&proxy, "AUTH slow secret");
    let mut two = logged_in(&proxy, "AUTH slow secret");
    let over = Value::Error("ERR user 'slow' may send 1/h and has; command was not executed".into());
    assert_eq!(one.pipeline(&["SET k 1", "SET k 2", "SET k 3"]), [Value::ok(), over.clone(), over.clone()]);
    assert_eq!(two.call("SET k 4"), over);
    assert_eq!(two.call("MULTI"), over);
    assert_eq!(two.call("AUTH slow secret"), Value::ok(), "who it is costs nothing");
    let mut fast = logged_in(&proxy, "AUTH fast secret");
    assert_eq!(fast.call("GET k"), Value::bulk("1"));
    assert_eq!(fast.pipeline(&["SET k v"; 100]), vec![Value::ok(); 100]);
    assert_eq!(two.call("AUTH fast secret"), Value::ok());
    assert_eq!(two.call("GET k"), Value::bulk("v"), "it is another user now");
    assert_eq!(proxy.metric("redhold_errors_total{kind=\"rate_limited\"}"), Some(4.0));
}

#[test]
fn orders_are_for_users_who_may_give_them() {
    let group = Group::plain(1);
    let options =
        ProxyOptions::new(&group.addresses()).user(&user("boss", "admin = true")).user(&user("app", ""));
    let proxy = start(options);
    proxy.wait_well();
    let mut app = logged_in(&proxy, "AUTH app secret");
    refused(
        &mut app,
        "PROXY SWITCHOVER",
        "NOPERM PROXY SWITCHOVER is for users with `admin = true` in [[users]], and `app` has none",
    );
    let leads = || proxy.status()["primary"].as_str().map(str::to_owned);
    let before = leads();
    let reply = logged_in(&proxy, "AUTH boss secret").call("PROXY SWITCHOVER");
    assert!(reply.text().is_some(), "{reply:?}");
    assert_ne!(leads(), before);
}

#[test]
fn who_may_not_look_at_others_is_told_where_to_write_what_lets_him() {
    let group = Group::plain(0);
    let node = &group.nodes()[0];
    assert_eq!(node.call("ACL SETUSER there on >secret ~* &* +@all -slowlog"), Value::ok());
    let there = user("mapped", "backend_user = \"there\"");
    let before = |commands: &str| {
        let options = ProxyOptions::new(&group.addresses());
        start(options.user(&user("app", commands)).user(&there))
    };
    let proxy = before("commands = [\"+@all\", \"-slowlog\"]");
    // An older server does not say what somebody may who may not do everything.
    let (given, advised, rule) = if chosen().release >= 70 {
        let commands = "commands = [\"+@all\", \"-slowlog\", \"+slowlog\"]";
        ("add \"+slowlog\" to its `commands` in [[users]] and restart Redhold", commands, "+slowlog")
    } else {
        ("its `commands` in [[users]] have to be left out, and Redhold restarted", "", "+@all")
    };
    let mut mapped = logged_in(&proxy, "AUTH mapped secret");
    let order = format!("ACL SETUSER there {rule}");
    for (client, advice) in [
        (&mut logged_in(&proxy, "AUTH app secret"), given.to_owned()),
        (&mut mapped, format!("ask for `{order}`")),
    ] {
        let reply = client.call("PROXY SLOWLOG LEN");
        let text = reply.error().unwrap_or_default();
        assert!(text.starts_with("NOPERM PROXY SLOWLOG shows requests of others"), "{reply:?}");
        assert!(text.ends_with(&format!("): {advice}")), "{reply:?}");
    }
    // Who does as he is told may.
    assert_eq!(node.call(&order), Value::ok());
    let may_look = |client: &mut Client| matches!(client.call("PROXY SLOWLOG LEN"), Value::Int(_));
    assert!(may_look(&mut mapped));
    drop(proxy);
    let proxy = before(advised);
    eventually(LONG, "the node is given the new rules", || {
        may_look(&mut logged_in(&proxy, "AUTH app secret"))
    });
}

#[test]
fn what_is_not_understood_of_a_proof_reaches_no_node() {
    let (group, proxy) = mapped();
    assert_eq!(group.nodes()[0].call("SET other hidden"), Value::ok());
    let mut client = proxy.client();
    let hello = client.call("HELLO 3 AUTH mapped mine");
    assert!(hello.error().is_none(), "{hello:?}");
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    // Servers before 7.2 have authenticated before they come to the fault.
    for request in ["HELLO 9 AUTH there pw", "HELLO 3 AUTH there pw BOGUS", "HELLO 3 AUTH default x BOGUS"] {
        assert!(client.call(request).error().is_some(), "{request}");
    }
    assert_eq!(client.call("ACL WHOAMI"), Value::bulk("there"));
    refused(&mut client, "AUTH a b c", "ERR wrong number of arguments");
    refused(&mut client, "GET other", "NOPERM ");
}

#[test]
fn what_follows_a_proof_is_judged_as_who_proved_itself() {
    let (group, proxy) = mapped();
    assert_eq!(group.nodes()[0].call("SET other hidden"), Value::ok());
    let mut client = logged_in(&proxy, "AUTH given secret");
    assert_eq!(client.call("CLIENT TRACKING ON"), Value::ok());
    let replies = client.pipeline(&["GET app:k", "AUTH mapped mine", "GET other", "GET app:k"]);
    let denied = Value::Error("NOPERM No permissions to access a key".into());
    assert_eq!(replies, [Value::Nil, Value::ok(), denied, Value::Nil]);
    let mut client = logged_in(&proxy, "AUTH given secret");
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["AUTH", "mapped", "mine"]);
    assert_eq!(client.call("ACL WHOAMI"), Value::bulk("given"), "what nobody hears of is not done");
}

#[test]
fn a_client_that_has_logged_out_gets_nowhere_by_others() {
    let (group, proxy) = mapped();
    let mut stranger = logged_in(&proxy, "AUTH given secret");
    let Value::Int(id) = stranger.call("CLIENT ID") else { panic!("an id") };
    stranger.call("RESET");
    let mut friend = logged_in(&proxy, "AUTH given secret");
    let redirected = friend.call(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    refused(&mut stranger, "HELLO 3", "NOAUTH ");
    refused(&mut stranger, "GET k", "NOAUTH ");
    friend.call("CLIENT TRACKING OFF");
    refused(&mut stranger, "SET k v", "NOAUTH ");
    stranger.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2000000\r\n");
    let told = stranger.read_to_close();
    assert_eq!(told, b"-ERR Protocol error: unauthenticated bulk length\r\n", "{redirected:?}");
    assert_eq!(group.nodes()[0].call("EXISTS k"), Value::Int(0));
}
