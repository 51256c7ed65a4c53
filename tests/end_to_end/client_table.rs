//! HELLO and CLIENT: what Redhold answers about clients is what Redis would have answered had they come to it.

use std::net::SocketAddr;

use crate::support::{
    Client, Group, LONG, Proxy, ProxyOptions, ServerOptions, Value, applies, chosen, eventually,
    eventually_some, in_its_words, row_field,
};

/// Runs `test` against a server and against Redhold in front of another one: what holds for the one holds for the
/// other.
fn both(options: &ServerOptions, test: fn(&dyn Fn() -> Client, &Group)) {
    let group = Group::plain_with(0, options);
    let address = group.addresses()[0];
    test(&|| Client::connect(address), &group);
    let group = Group::plain_with(0, options);
    let proxy = Proxy::start(&group.addresses());
    test(&|| proxy.client(), &group);
}

fn plainly(test: fn(&dyn Fn() -> Client, &Group)) {
    both(&ServerOptions::default(), test);
}

fn error(text: &str) -> Value {
    in_its_words(text)
}

/// The row of a client in CLIENT LIST.
fn row_of(asking: &mut Client, address: SocketAddr) -> Option<String> {
    let list = asking.call("CLIENT LIST").text().expect("text");
    list.lines().find(|line| row_field(line, "addr") == Some(address.to_string())).map(str::to_owned)
}

#[track_caller]
fn wait_for(asking: &mut Client, address: SocketAddr, name: &str, value: &str) {
    eventually(LONG, &format!("{name}={value} of {address}"), || {
        row_of(asking, address).and_then(|row| row_field(&row, name)).as_deref() == Some(value)
    });
}

fn id_of(client: &mut Client) -> i64 {
    client.call("CLIENT ID").int().expect("a number")
}

#[test]
fn hello_speaks_of_the_clients_own_connection() {
    plainly(|connect, _| {
        let (mut a, mut b) = (connect(), connect());
        for (client, proto) in [(&mut a, 2), (&mut b, 3)] {
            let hello = client.call(&format!("HELLO {proto} SETNAME n{proto}"));
            assert_eq!(hello.get("id").and_then(Value::int), Some(id_of(client)), "{hello:?}");
            assert_eq!(hello.get("role"), Some(&Value::bulk("master")));
            assert_eq!(hello.get("proto"), Some(&Value::Int(proto)));
            assert_eq!(client.call("CLIENT GETNAME"), Value::bulk(format!("n{proto}")));
        }
        assert_ne!(id_of(&mut a), id_of(&mut b));
        for (request, text) in [
            ("HELLO 4", "NOPROTO unsupported protocol version"),
            ("HELLO x", "ERR Protocol version is not an integer or out of range"),
            ("HELLO 3 AUTH default", "ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 SETNAME", "ERR Syntax error in HELLO option 'SETNAME'"),
        ] {
            assert_eq!(a.call(request), error(text), "{request}");
        }
        assert_eq!(a.call("CLIENT GETNAME"), Value::bulk("n2"));
    });
}

#[test]
fn a_hello_that_is_refused_in_its_middle_makes_nobody_somebody_else() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let (mut a, mut b) = (proxy.client(), proxy.client());
    assert_eq!(a.call("ACL SETUSER other on >pw +@all ~*"), Value::ok());
    let refusal = a.call("HELLO 2 AUTH other pw SETNAME x NONSENSE");
    assert_eq!(refusal, error("ERR Syntax error in HELLO option 'NONSENSE'"));
    for client in [&mut a, &mut b] {
        for _ in 0..10 {
            assert_eq!(client.call("ACL WHOAMI"), Value::bulk("default"));
        }
    }
}

#[test]
fn names_are_kept_and_judged_as_redis_does() {
    plainly(|connect, group| {
        let (mut a, mut b) = (connect(), connect());
        let address = a.local_address();
        assert_eq!(a.call("CLIENT GETNAME"), Value::Nil);
        assert_eq!(a.call("CLIENT SETNAME alpha"), Value::ok());
        let refusal = error("ERR Client names cannot contain spaces, newlines or special characters.");
        assert_eq!(a.cmd(&["CLIENT", "SETNAME", "a b"]), refusal);
        assert_eq!(a.call("HELLO 3 SETNAME beta").get("proto"), Some(&Value::Int(3)));
        assert_eq!(b.call("CLIENT GETNAME"), Value::Nil);
        wait_for(&mut b, address, "name", "beta");
        if applies(chosen().release >= 70, "CLIENT LIST tells the protocol") {
            wait_for(&mut b, address, "resp", "3");
        }
        assert_eq!(a.cmd(&["CLIENT", "SETNAME", ""]), Value::ok());
        assert_eq!(a.call("CLIENT GETNAME"), Value::Nil);
        for request in ["CLIENT CAPA redirect", "CLIENT SETINFO lib-name x", "CLIENT nonsense"] {
            assert_eq!(a.call(request), group.nodes()[0].call(request), "{request}");
        }
        assert_eq!(a.call("CLIENT nonsense"), error("ERR unknown subcommand 'nonsense'. Try CLIENT HELP."));
    });
}

#[test]
fn list_and_info_show_every_client_of_every_worker() {
    plainly(|connect, _| {
        let mut clients: Vec<Client> = (0..8).map(|_| connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.pipeline(&[&format!("CLIENT SETNAME n{number}"), &format!("SELECT {number}"), "GET k"]);
        }
        let addresses: Vec<SocketAddr> = clients.iter().map(Client::local_address).collect();
        let asking = &mut clients[0];
        for (number, address) in addresses.iter().enumerate().skip(1) {
            let row = row_of(asking, *address).expect("a row");
            assert_eq!(row_field(&row, "name"), Some(format!("n{number}")), "{row}");
            assert_eq!(row_field(&row, "db"), Some(number.to_string()), "{row}");
            assert_eq!(row_field(&row, "cmd").as_deref(), Some("get"), "{row}");
            assert_eq!(row_field(&row, "flags").as_deref(), Some("N"), "{row}");
            assert_eq!(row_field(&row, "user").as_deref(), Some("default"), "{row}");
        }
        let info = asking.call("CLIENT INFO").text().expect("text");
        assert_eq!(row_field(&info, "id"), Some(id_of(asking).to_string()));
        assert_eq!(row_field(&info, "laddr"), Some(asking.address().to_string()));
        let cmd = row_field(&info, "cmd").expect("a command");
        assert!(cmd == "client|info" || cmd == "client" && chosen().release < 70, "{info}");
        let ids = [id_of(&mut clients[5]), id_of(&mut clients[2])];
        let some =
            clients[0].call(&format!("CLIENT LIST ID {} {} 999999", ids[0], ids[1])).text().expect("text");
        let mut shown: Vec<_> = some.lines().filter_map(|line| row_field(line, "id")).collect();
        if chosen().valkey {
            // It keeps to an order of its own.
            shown.sort_by_key(|id| id.parse() != Ok(ids[0]));
        }
        assert_eq!(shown, ids.map(|id| id.to_string()));
        for request in ["CLIENT LIST TYPE nobody", "CLIENT LIST ID x", "CLIENT LIST nonsense"] {
            assert!(clients[0].call(request).error().is_some(), "{request}");
        }
        assert_eq!(clients[0].call("CLIENT LIST TYPE nobody"), error("ERR Unknown client type 'nobody'"));
        let gone = addresses[7];
        clients.truncate(7);
        eventually(LONG, "the client that left is not listed", || row_of(&mut clients[0], gone).is_none());
        clients[0].call("HELLO 3");
        assert!(matches!(clients[0].call("CLIENT LIST"), Value::Verbatim(format, _) if format == "txt"));
    });
}

#[test]
fn what_a_client_holds_shows_in_its_row() {
    plainly(|connect, _| {
        let mut asking = connect();
        let mut subscribed = connect();
        subscribed.pipeline(&["SUBSCRIBE a"]);
        subscribed.send(&["PSUBSCRIBE", "b*"]);
        let mut queueing = connect();
        queueing.pipeline(&["MULTI", "GET a", "GET b"]);
        let mut monitoring = connect();
        assert_eq!(monitoring.call("MONITOR"), Value::ok());
        let mut blocked = connect();
        blocked.send(&["BLPOP", "none", "0"]);
        for (client, name, value) in [
            (&subscribed, "flags", "P"),
            (&subscribed, "sub", "1"),
            (&subscribed, "psub", "1"),
            (&queueing, "flags", "x"),
            (&queueing, "multi", "2"),
            (&monitoring, "flags", "O"),
            (&blocked, "flags", "b"),
            (&blocked, "cmd", "blpop"),
        ] {
            wait_for(&mut asking, client.local_address(), name, value);
        }
        let pubsub = asking.call("CLIENT LIST TYPE pubsub").text().expect("text");
        assert_eq!(pubsub.lines().count(), 1, "{pubsub}");
        assert_eq!(queueing.call("DISCARD"), Value::ok());
        wait_for(&mut asking, queueing.local_address(), "flags", "N");
    });
}

#[test]
fn kill_ends_those_who_are_meant_and_no_other() {
    plainly(|connect, _| {
        let mut killer = connect();
        let mut others: Vec<Client> = (0..6).map(|_| connect()).collect();
        others.iter_mut().for_each(|client| assert_eq!(client.call("SET k v"), Value::ok()));
        let id = id_of(&mut others[0]);
        assert_eq!(killer.call(&format!("CLIENT KILL ID {id}")), Value::Int(1));
        assert_eq!(killer.call(&format!("CLIENT KILL ID {id}")), Value::Int(0));
        assert_eq!(others[0].read_to_close(), b"");
        assert_eq!(killer.call(&format!("CLIENT KILL {}", others[1].local_address())), Value::ok());
        assert_eq!(others[1].read_to_close(), b"");
        assert_eq!(killer.call(&format!("CLIENT KILL ADDR {}", others[2].local_address())), Value::Int(1));
        assert_eq!(others[2].read_to_close(), b"");
        assert_eq!(others[3].call("SUBSCRIBE c").items().len(), 3);
        assert_eq!(killer.call("CLIENT KILL TYPE pubsub"), Value::Int(1));
        assert_eq!(others[3].read_to_close(), b"");
        for (request, text) in [
            ("CLIENT KILL 127.0.0.1:1", "ERR No such client"),
            ("CLIENT KILL USER nobody", "ERR No such user 'nobody'"),
            ("CLIENT KILL SKIPME maybe", "ERR syntax error"),
            ("CLIENT KILL TYPE nobody", "ERR Unknown client type 'nobody'"),
        ] {
            assert_eq!(killer.call(request), error(text), "{request}");
        }
        if applies(chosen().release >= 70, "CLIENT KILL ID 0 is refused") {
            assert_eq!(killer.call("CLIENT KILL ID 0"), error("ERR client-id should be greater than 0"));
        }
        assert_eq!(killer.call("GET k"), Value::bulk("v"));
        assert_eq!(others[4].call("GET k"), Value::bulk("v"));
        let own = format!("CLIENT KILL ADDR {}", killer.local_address());
        assert_eq!(killer.call(&own), Value::Int(0), "SKIPME is the default");
        assert_eq!(killer.call(&format!("{own} SKIPME no")), Value::Int(1), "its reply comes first");
        assert_eq!(killer.read_to_close(), b"");
        assert_eq!(others[5].call("GET k"), Value::bulk("v"));
    });
}

#[test]
fn killing_everybody_leaves_the_connections_to_the_nodes_alone() {
    let group = Group::plain(0);
    // Steps of the brain and looks that come late have connections that end by themselves: there are none.
    let proxy = ProxyOptions::new(&group.addresses())
        .set("failover.tune_nodes", "false")
        .looking_once_a_minute()
        .start();
    let (mut killer, mut other) = (Client::connect_resp3(proxy.address()), proxy.client());
    let mut node = group.nodes()[0].client();
    assert_eq!(other.call("SET k v"), Value::ok());
    // A client with a connection of its own.
    assert_eq!(killer.call("CLIENT TRACKING ON"), Value::ok());
    assert_eq!(killer.call("GET k"), Value::bulk("v"));
    let before = node.call("CLIENT LIST").text().expect("text");
    let ids = |list: &str| list.lines().filter_map(|line| row_field(line, "id")).collect::<Vec<_>>();
    assert!(
        matches!(killer.call("CLIENT LIST"), Value::Verbatim(_, text) if ids(&String::from_utf8_lossy(&text)).len() == 2)
    );
    assert_eq!(killer.call("CLIENT KILL TYPE normal"), Value::Int(1));
    assert_eq!(other.read_to_close(), b"");
    assert_eq!(killer.call("GET k"), Value::bulk("v"));
    let after = ids(&node.call("CLIENT LIST").text().expect("text"));
    let lost: Vec<_> = ids(&before).into_iter().filter(|id| !after.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:?} of\n{before}");
}

#[test]
fn rights_are_those_of_the_very_subcommand() {
    if !applies(chosen().release >= 70, "the right to a single subcommand can be taken away") {
        return;
    }
    let options = ServerOptions::default().set("requirepass", "sesame").set("masterauth", "sesame");
    let test = |connect: &dyn Fn() -> Client, _: &Group| {
        let (mut admin, mut weak, mut stranger) = (connect(), connect(), connect());
        admin.call("AUTH sesame");
        let user = "ACL SETUSER weak on >pw ~* +@all -client|kill -client|list";
        assert_eq!(admin.call(user), Value::ok());
        assert_eq!(weak.call("AUTH weak pw"), Value::ok());
        let id = id_of(&mut admin);
        for request in [format!("CLIENT KILL ID {id}"), "CLIENT LIST".to_owned(), "CLIENT KILL x".to_owned()]
        {
            let refusal = weak.call(&request);
            assert!(refusal.error().is_some_and(|text| text.starts_with("NOPERM")), "{request}: {refusal:?}");
        }
        for request in ["CLIENT ID", "CLIENT INFO", "CLIENT LIST", "CLIENT KILL ID 1", "CLIENT UNBLOCK 1"] {
            assert_eq!(stranger.call(request), error("NOAUTH Authentication required."), "{request}");
        }
        assert_eq!(id_of(&mut admin), id, "it lives");
        assert_eq!(
            weak.call("CLIENT INFO").text().and_then(|row| row_field(&row, "user")).as_deref(),
            Some("weak")
        );
        assert_eq!(admin.call("CLIENT KILL USER weak"), Value::Int(1));
        assert_eq!(weak.read_to_close(), b"");
    };
    let group = Group::plain_with(0, &options);
    let address = group.addresses()[0];
    test(&|| Client::connect(address), &group);
    let group = Group::plain_with(0, &options);
    let proxy = ProxyOptions::new(&group.addresses()).set("backend.password", "\"sesame\"").start_unready();
    eventually(LONG, "the proxy is ready", || {
        proxy.http("GET", "/readyz").is_some_and(|(code, _)| code == 200)
    });
    test(&|| proxy.client(), &group);
}

#[test]
fn unblock_ends_a_wait_as_redis_does_and_loses_nothing() {
    plainly(|connect, _| {
        let mut asking = connect();
        for proto in [2, 3] {
            let mut blocked = connect();
            blocked.call(&format!("HELLO {proto}"));
            let id = id_of(&mut blocked);
            assert_eq!(asking.call(&format!("CLIENT UNBLOCK {id}")), Value::Int(0), "it is not blocked");
            let told = error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
            for (request, reason, answer) in [
                ("BLPOP none 0", "TIMEOUT", Value::Nil),
                ("BLPOP none 0", "ERROR", told.clone()),
                ("BLMOVE none other LEFT LEFT 0", "TIMEOUT", Value::Nil),
                ("XREAD BLOCK 0 STREAMS none $", "TIMEOUT", Value::Nil),
                ("WAIT 1 0", "TIMEOUT", Value::Int(0)),
            ] {
                blocked.send(&request.split(' ').collect::<Vec<_>>());
                let done = eventually_some(LONG, "it is blocked and then unblocked", || {
                    let reply = asking.call(&format!("CLIENT UNBLOCK {id} {reason}"));
                    (reply != Value::Int(0)).then_some(reply)
                });
                assert_eq!((done, blocked.read()), (Value::Int(1), answer), "{request} {reason}");
            }
            assert_eq!(asking.call("RPUSH none 1"), Value::Int(1));
            assert_eq!(
                blocked.call("BLPOP none 0"),
                Value::Array(vec![Value::bulk("none"), Value::bulk("1")])
            );
        }
        for (request, text) in [
            ("CLIENT UNBLOCK x", "ERR value is not an integer or out of range"),
            ("CLIENT UNBLOCK 1 nonsense", "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        ] {
            assert_eq!(asking.call(request), error(text), "{request}");
        }
        assert_eq!(asking.call("CLIENT UNBLOCK 999999"), Value::Int(0));
    });
}

#[test]
fn clients_are_counted_and_their_requests_measured_as_the_server_does() {
    plainly(|connect, _| {
        let mut clients: Vec<Client> = (0..5).map(|_| connect()).collect();
        clients
            .iter_mut()
            .for_each(|client| assert_eq!(client.call("PING"), Value::Simple("PONG".to_owned())));
        let asking = &mut clients[0];
        // The kit's own may not have been seen to leave.
        eventually(LONG, "five are connected", || {
            let info = asking.call("INFO clients").text().expect("text");
            info.lines().any(|line| line == "connected_clients:5")
        });
        let own = |asking: &mut Client, request: &str| {
            let list = asking.call(request).text().expect("text");
            let address = asking.local_address().to_string();
            let row = list.lines().find(|row| row_field(row, "addr").as_ref() == Some(&address));
            row_field(row.expect("its own row"), "qbuf").expect("qbuf")
        };
        // What the request itself takes: *2, $6, client, $4, list.
        if applies(!chosen().valkey, "CLIENT INFO tells what the request itself takes (qbuf)") {
            assert_eq!([own(asking, "CLIENT LIST"), own(asking, "CLIENT INFO")], ["26", "26"]);
        }
        assert_eq!(asking.call("CLIENT KILL SKIPME yes"), Value::Int(4));
    });
}
