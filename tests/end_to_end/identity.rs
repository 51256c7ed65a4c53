//! Who a client is: user, protocol, database, name. Nothing of it reaches another client.

use std::time::Duration;

use crate::support::{
    Group, LONG, ProxyOptions, ServerOptions, V8_2, Value, applies, chosen, eventually, in_its_words,
    info_field,
};
use crate::target::{Target, Way, both_ways, direct_only};

both_ways!(
    a_database_is_one_clients_own,
    an_unauthenticated_client_is_refused_and_its_neighbour_is_not,
    users_keep_their_own_rights_side_by_side,
    a_wrong_password_is_refused_in_redis_words_and_changes_nothing,
    who_may_not_select_stays_in_its_database,
    reset_makes_a_client_new,
    clients_have_ids_and_names_of_their_own,
    replies_can_be_switched_off_and_skipped,
);

direct_only!(
    client_list_and_info_show_clients_as_redis_does,
    hello_does_all_at_once,
    a_client_can_be_killed_by_id_and_by_address_and_no_other_dies,
);

fn error(text: &str) -> Value {
    in_its_words(text)
}

fn a_database_is_one_clients_own(way: Way) {
    let target = Target::new(way, 0);
    let (mut a, mut b) = (target.client(), target.client());
    assert_eq!(a.pipeline(&["SELECT 3", "SET k three", "GET k"])[2], Value::bulk("three"));
    for database in [0, 5, 3, 0, 15] {
        assert_eq!(b.call(&format!("SELECT {database}")), Value::ok());
        b.call(&format!("SET mine {database}"));
        assert_eq!(b.call("GET mine"), Value::bulk(database.to_string()));
        assert_eq!(b.call("GET k"), if database == 3 { Value::bulk("three") } else { Value::Nil });
    }
    assert_eq!(b.call("SELECT 16"), error("ERR DB index is out of range"));
    assert_eq!(b.call("GET mine"), Value::bulk("15"), "a refused SELECT changes nothing");
    let replies =
        b.pipeline(&["SELECT 1", "SET p 1", "SELECT 2", "SET p 2", "SELECT 1", "GET p", "SELECT 2", "GET p"]);
    assert_eq!((&replies[5], &replies[7]), (&Value::bulk("1"), &Value::bulk("2")));
    assert_eq!(a.call("GET k"), Value::bulk("three"));
}

fn who_may_not_select_stays_in_its_database(way: Way) {
    let target = Target::new(way, 0);
    let mut client = target.client();
    client.call("ACL SETUSER bob on >secret ~* +set +get +multi +exec -select");
    assert_eq!(client.pipeline(&["SELECT 3", "SET k three"])[1], Value::ok());
    assert_eq!(client.call("AUTH bob secret"), Value::ok());
    let refused = error("NOPERM User bob has no permissions to run the 'select' command");
    assert_eq!(client.call("SELECT 4"), refused);
    assert_eq!(client.call("GET k"), Value::bulk("three"));
    let replies = client.pipeline(&["MULTI", "GET k", "EXEC"]);
    assert_eq!(replies[2], Value::Array(vec![Value::bulk("three")]));
    let mut other = target.client();
    assert_eq!(other.call("AUTH bob secret"), Value::ok());
    assert_eq!(other.call("SELECT 3"), refused);
    assert_eq!(other.call("GET k"), Value::Nil);
}

fn an_unauthenticated_client_is_refused_and_its_neighbour_is_not(way: Way) {
    let target = secured(way);
    let (mut known, mut stranger) = (target.client(), target.client());
    assert_eq!(known.call("AUTH sesame"), Value::ok());
    for _ in 0..10 {
        assert_eq!(known.call("SET k v"), Value::ok());
        for request in ["GET k", "PING", "MULTI", "SUBSCRIBE c", "BLPOP l 1", "CLIENT ID", "SELECT 1"] {
            assert_eq!(stranger.call(request), error("NOAUTH Authentication required."), "{request}");
        }
    }
    let unknown = match chosen().valkey {
        true => "NOAUTH Authentication required.",
        false => "ERR unknown command 'nosuch', with args beginning with: ",
    };
    assert_eq!(stranger.call("nosuch"), error(unknown));
    let hello = stranger.call("HELLO 3");
    let text = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
    assert_eq!(hello, error(text));
    assert_eq!(known.call("GET k"), Value::bulk("v"));
    assert_eq!(stranger.call("AUTH sesame"), Value::ok());
    assert_eq!(stranger.call("GET k"), Value::bulk("v"));
}

fn users_keep_their_own_rights_side_by_side(way: Way) {
    let target = secured(way);
    let mut admin = target.client();
    admin.call("AUTH sesame");
    assert_eq!(admin.call("ACL SETUSER reader on >r ~app:* +@read +auth"), Value::ok());
    assert_eq!(admin.call("ACL SETUSER writer on >w ~* +@all"), Value::ok());
    let (mut reader, mut writer) = (target.client(), target.client());
    assert_eq!(reader.call("AUTH reader r"), Value::ok());
    assert_eq!(writer.call("AUTH writer w"), Value::ok());
    for round in 0..10 {
        assert_eq!(writer.call(&format!("SET app:k {round}")), Value::ok());
        assert_eq!(reader.call("GET app:k"), Value::bulk(round.to_string()));
        let no_command = "NOPERM User reader has no permissions to run the 'set' command";
        assert_eq!(reader.call("SET app:k x"), error(no_command));
        let no_key = "NOPERM No permissions to access a key";
        assert_eq!(reader.call("GET other"), error(no_key));
    }
    assert_eq!(writer.call("ACL WHOAMI"), Value::bulk("writer"));
    assert_eq!(admin.call("ACL WHOAMI"), Value::bulk("default"));
    assert_eq!(reader.call("AUTH writer w"), Value::ok());
    assert_eq!(reader.call("ACL WHOAMI"), Value::bulk("writer"));
    assert_eq!(reader.call("SET app:k changed"), Value::ok());
}

fn a_wrong_password_is_refused_in_redis_words_and_changes_nothing(way: Way) {
    let target = secured(way);
    let mut client = target.client();
    let wrong = error("WRONGPASS invalid username-password pair or user is disabled.");
    assert_eq!(client.call("AUTH wrong"), wrong);
    assert_eq!(client.call("GET k"), error("NOAUTH Authentication required."));
    assert_eq!(client.call("AUTH sesame"), Value::ok());
    assert_eq!(client.call("AUTH nobody wrong"), wrong);
    assert_eq!(client.call("HELLO 3 AUTH default wrong"), wrong);
    assert_eq!(client.call("SET k v"), Value::ok(), "it stays who it was");
    assert_eq!(client.call("AUTH"), error("ERR wrong number of arguments for 'auth' command"));
    assert_eq!(client.call("SELECT 3"), Value::ok());
    assert_eq!(client.call("AUTH nobody wrong"), wrong, "in another database");
    // Redis 8.2 itself leaves out such a reply.
    if way == Way::Proxied || chosen() != V8_2 {
        let requests =
            ["WATCH k", "SET own 1", "AUTH nobody wrong", "GET own", "HELLO 2 AUTH nobody wrong", "GET own"];
        let replies = client.pipeline(&requests);
        assert_eq!([&replies[2], &replies[4]], [&wrong, &wrong], "on a connection of its own: {replies:?}");
        assert_eq!([&replies[3], &replies[5]], [&Value::bulk("1"), &Value::bulk("1")], "{replies:?}");
    }

    let open = Target::new(way, 0);
    let text = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
    assert_eq!(open.client().call("AUTH x"), error(text));
}

fn hello_does_all_at_once(way: Way) {
    let target = secured(way);
    let mut client = target.client();
    let hello = client.call("HELLO 3 AUTH default sesame SETNAME worker");
    let server = if chosen().valkey { "valkey" } else { "redis" };
    for (key, value) in [
        ("server", Value::bulk(server)),
        ("proto", Value::Int(3)),
        ("mode", Value::bulk("standalone")),
        ("role", Value::bulk("master")),
    ] {
        assert_eq!(hello.get(key), Some(&value), "{key}");
    }
    assert!(matches!(hello.get("modules"), Some(Value::Array(_))), "{hello:?}");
    assert_eq!(hello.get("version").and_then(Value::text), target_version(&target));
    assert_eq!(hello.get("id"), Some(&client.call("CLIENT ID")));
    assert_eq!(client.call("CLIENT GETNAME"), Value::bulk("worker"));
    assert_eq!(client.call("GET none"), Value::Nil);
    let again = client.call("HELLO");
    assert_eq!(again.get("proto"), Some(&Value::Int(3)), "without a version it stays");
}

fn target_version(target: &Target) -> Option<String> {
    let mut client = target.primary().client();
    client.call("AUTH sesame");
    info_field(&mut client, "valkey_version").or_else(|| info_field(&mut client, "redis_version"))
}

fn reset_makes_a_client_new(way: Way) {
    let target = secured(way);
    let mut client = target.client();
    client.call("HELLO 3 AUTH default sesame SETNAME worker");
    client.pipeline(&["SELECT 4", "MULTI", "SET k v"]);
    assert_eq!(client.call("RESET"), Value::Simple("RESET".to_owned()));
    assert_eq!(client.call("GET k"), error("NOAUTH Authentication required."));
    client.call("AUTH sesame");
    assert_eq!(client.call("EXEC"), error("ERR EXEC without MULTI"));
    assert_eq!(client.call("GET k"), Value::Nil);
    assert!(matches!(client.call("HGETALL none"), Value::Array(_)), "RESP2 again");
    client.call("SET zero 0");
    let mut other = target.primary().client();
    other.call("AUTH sesame");
    assert_eq!(other.call("GET zero"), Value::bulk("0"), "database 0 again");
}

fn clients_have_ids_and_names_of_their_own(way: Way) {
    let target = Target::new(way, 0);
    let (mut a, mut b) = (target.client(), target.client());
    let id = a.call("CLIENT ID");
    let other = b.call("CLIENT ID");
    assert!(id.int() < other.int(), "{id:?} {other:?}");
    assert_eq!(a.call("CLIENT GETNAME"), Value::Nil);
    assert_eq!(a.call("CLIENT SETNAME alpha"), Value::ok());
    assert_eq!(b.call("CLIENT GETNAME"), Value::Nil);
    let text = "ERR Client names cannot contain spaces, newlines or special characters.";
    assert_eq!(a.cmd(&["CLIENT", "SETNAME", "with blank"]), error(text));
    a.pipeline(&["MULTI", "PING", "EXEC", "SELECT 2", "BLPOP none 0.01"]);
    assert_eq!((a.call("CLIENT GETNAME"), a.call("CLIENT ID")), (Value::bulk("alpha"), id));
}

fn client_list_and_info_show_clients_as_redis_does(way: Way) {
    let target = Target::new(way, 0);
    let (mut a, b) = (target.client(), target.client());
    a.pipeline(&["CLIENT SETNAME alpha", "SELECT 5"]);
    let info = a.call("CLIENT INFO").text().expect("text");
    let field = |line: &str, name: &str| {
        line.split_whitespace().find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    };
    assert_eq!(field(&info, "id"), a.call("CLIENT ID").int().map(|id| id.to_string()));
    assert_eq!(field(&info, "addr"), Some(a.local_address().to_string()));
    assert_eq!(field(&info, "name").as_deref(), Some("alpha"));
    assert_eq!(field(&info, "db").as_deref(), Some("5"));
    if applies(chosen().release >= 70, "CLIENT LIST tells the protocol") {
        assert_eq!(field(&info, "resp").as_deref(), Some("2"));
    }
    let list = a.call("CLIENT LIST").text().expect("text");
    for client in [&a, &b] {
        let address = client.local_address().to_string();
        assert!(
            list.lines().any(|line| field(line, "addr").as_deref() == Some(&address)),
            "{address} in\n{list}"
        );
    }
    let one = a.cmd(&["CLIENT", "LIST", "ID", &field(&info, "id").expect("an id")]).text().expect("text");
    assert_eq!(one.lines().count(), 1, "{one}");
}

fn a_client_can_be_killed_by_id_and_by_address_and_no_other_dies(way: Way) {
    let target = Target::new(way, 0);
    let (mut killer, mut by_id, mut by_address, mut bystander) =
        (target.client(), target.client(), target.client(), target.client());
    for client in [&mut by_id, &mut by_address, &mut bystander] {
        assert_eq!(client.call("SET k v"), Value::ok());
    }
    let id = by_id.call("CLIENT ID").int().expect("a number");
    assert_eq!(killer.call(&format!("CLIENT KILL ID {id}")), Value::Int(1));
    assert_eq!(killer.call(&format!("CLIENT KILL ID {id}")), Value::Int(0));
    assert_eq!(by_id.read_to_close(), b"");
    assert_eq!(killer.call(&format!("CLIENT KILL {}", by_address.local_address())), Value::ok());
    assert_eq!(by_address.read_to_close(), b"");
    assert_eq!(killer.call("CLIENT KILL 127.0.0.1:1"), error("ERR No such client"));
    assert_eq!(bystander.call("GET k"), Value::bulk("v"));
    assert_eq!(killer.call("GET k"), Value::bulk("v"));
}

fn replies_can_be_switched_off_and_skipped(way: Way) {
    let target = Target::new(way, 0);
    let (mut quiet, mut other) = (target.client(), target.client());
    quiet.send_raw(b"CLIENT REPLY SKIP\r\nSET k 1\r\nGET k\r\n");
    assert_eq!(quiet.read(), Value::bulk("1"));
    quiet.send_raw(b"CLIENT REPLY OFF\r\nSET k 2\r\nnosuch\r\n");
    eventually(LONG, "the silent write arrives", || other.call("GET k") == Value::bulk("2"));
    assert!(quiet.is_silent_for(Duration::from_millis(50)));
    assert_eq!(other.call("ECHO mine"), Value::bulk("mine"));
    assert_eq!(quiet.call("CLIENT REPLY ON"), Value::ok());
    assert_eq!(quiet.call("GET k"), Value::bulk("2"));
}

#[test]
fn a_session_command_that_finds_no_pipeline_free_changes_the_session_all_the_same() {
    let group = Group::plain(0);
    let options = ProxyOptions::new(&group.addresses()).set("proxy.workers", "1");
    let proxy = options.set("backend.pipelines_max", "1").start();
    let (mut busy, mut client) = (proxy.client(), proxy.client());
    assert_eq!(busy.call("SET k zero"), Value::ok());
    let node = &group.nodes()[0];
    let bytes = |side: &str, direction: &str| {
        let series = format!("redhold_bytes_total{{side=\"{side}\",direction=\"{direction}\"}}");
        proxy.metric(&series).unwrap_or_default()
    };
    node.sigstop();
    let written = bytes("backend", "out");
    busy.send(&["GET", "k"]);
    eventually(LONG, "the one pipeline is owed a reply", || bytes("backend", "out") > written);
    let read = bytes("client", "in");
    client.send(&["HELLO", "3"]);
    eventually(LONG, "the request is read", || bytes("client", "in") > read);
    node.sigcont();
    assert_eq!(busy.read(), Value::bulk("zero"));
    let hello = client.read();
    assert_eq!(hello.get("id"), Some(&client.call("CLIENT ID")), "of the client, not of the connection");
    assert_eq!(client.call("HGETALL none"), Value::Map(vec![]), "it speaks RESP3 from then on");
    assert!(matches!(busy.call("HGETALL none"), Value::Array(_)));
}

fn secured(way: Way) -> Target {
    let options = ServerOptions::default().set("requirepass", "sesame").set("masterauth", "sesame");
    Target::with_password(way, &options, "sesame")
}
