//! What the proxy answers itself, beside what real servers answer: refusals word for word, replies in shape.

#[path = "support/mod.rs"]
mod support;

use bytes::BytesMut;
use redhold::resp::Proto;
use redhold::session::{
    ClientFlags, ClientRow, Hello, Kill, ListFilter, Misuse, Names, Unblock, rewrite_hello,
};
use support::{Client, Server, V8_2, Value, Version, others};

/// The server whose words are ours, when it is installed; SETINFO and MAXAGE are unknown to the one on PATH.
fn newest() -> Option<Server> {
    V8_2.is_there().then(|| V8_2.start())
}

fn servers() -> impl Iterator<Item = Server> {
    [Server::start()].into_iter().chain(others().into_iter().map(Version::start))
}

/// What the proxy would answer to a request that it refuses.
fn refused(request: &[&[u8]]) -> Option<Value> {
    let name = |index: usize| request.get(index).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    let mut names = Names::default();
    let outcome = match (&name(0)[..], &name(1)[..]) {
        (b"hello", _) => Hello::parse(request.iter().copied()).map(drop),
        (b"client", b"setname") => names.set_name(request[2]),
        (b"client", b"setinfo") => names.set_info(request[2], request[3]),
        (b"client", b"list") => ListFilter::parse(request).map(drop),
        (b"client", b"kill") => Kill::parse(request).map(drop),
        (b"client", b"unblock") => Unblock::parse(request).map(drop),
        _ => panic!("{} is nobody's", request[0].escape_ascii()),
    };
    outcome.err().map(|refusal| value(&refusal))
}

fn tell(client: &mut Client, told: &Names, names: &Names) -> Vec<Value> {
    let mut out = BytesMut::new();
    let count = names.tell(told, &mut out);
    client.send_raw(&out);
    (0..count).map(|_| client.read()).collect()
}

fn value(refusal: &Misuse) -> Value {
    let mut out = BytesMut::new();
    refusal.write(&mut out);
    Value::read(&mut &out[..]).expect("a whole error reply")
}

/// Requests that some of the proxy's parsers refuses, and some that none does. `~` stands for a blank within a word.
const REQUESTS: &str = "
HELLO 2
HELLO 3
HELLO 1
HELLO 4
HELLO x
HELLO 03
HELLO -3
HELLO 3 AUTH
HELLO 3 AUTH default
HELLO 3 AUTH default x
HELLO 3 auth default x setname n
HELLO 3 SETNAME
HELLO 3 SETNAME a~b
HELLO 3 SETNAME n AUTH default x
HELLO 3 foo
HELLO 3 foo bar
HELLO 3 SETNAME ok foo~bar
HELLO AUTH default x
CLIENT SETNAME n
CLIENT SETNAME a~b
CLIENT SETNAME a~
CLIENT LIST
CLIENT LIST FOO
CLIENT LIST TYPE
CLIENT LIST TYPE foo
CLIENT LIST TYPE Normal
CLIENT LIST TYPE slave
CLIENT LIST TYPE replica
CLIENT LIST TYPE master
CLIENT LIST TYPE normal ID 1
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST ID 0 -5 99
CLIENT LIST ID 1 TYPE normal
CLIENT KILL
CLIENT KILL foo bar
CLIENT KILL ID x
CLIENT KILL ID 0
CLIENT KILL ID -1
CLIENT KILL ID 9999
CLIENT KILL ID 9999 9998
CLIENT KILL ID 9999 FOO
CLIENT KILL ID 9999 FOO bar
CLIENT KILL ID 99999999999999999999
CLIENT KILL TYPE foo
CLIENT KILL TYPE slave
CLIENT KILL SKIPME foo
CLIENT KILL SKIPME no ID 9999
CLIENT KILL ADDR 1.2.3.4:5
CLIENT KILL LADDR 1.2.3.4:5
CLIENT UNBLOCK
CLIENT UNBLOCK x
CLIENT UNBLOCK 9999
CLIENT UNBLOCK -1
CLIENT UNBLOCK 9999 error
CLIENT UNBLOCK 9999 foo
CLIENT UNBLOCK x foo
CLIENT UNBLOCK 9999 ERROR x
";

const REQUESTS_OF_REDIS_8: &str = "
CLIENT SETINFO lib-name n
CLIENT SETINFO Lib-Name a~b
CLIENT SETINFO lib-ver a~b
CLIENT SETINFO foo a~b
CLIENT SETINFO foo~bar x
CLIENT KILL MAXAGE x
CLIENT KILL MAXAGE 0
CLIENT KILL MAXAGE -1
CLIENT KILL MAXAGE 1000
";

fn compare(server: &Server, requests: &str) {
    for line in requests.lines().filter(|line| !line.is_empty()) {
        // The blank becomes a newline as well: both break the format of CLIENT LIST, and only one an error reply.
        for blank in [" ", "\n"] {
            let words: Vec<String> = line.split(' ').map(|word| word.replace('~', blank)).collect();
            let request: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            let answer = server.client().cmd(&request);
            match refused(&request) {
                Some(refusal) => assert_eq!(answer, refusal, "{line}"),
                None => assert_eq!(answer.error(), None, "{line}"),
            }
        }
    }
}

#[test]
fn refusals_are_the_servers_own() {
    compare(&Server::start(), REQUESTS);
    if let Some(server) = newest() {
        compare(&server, REQUESTS);
        compare(&server, REQUESTS_OF_REDIS_8);
        let user = Kill::no_such_user(b"nobody");
        assert_eq!(server.call("CLIENT KILL USER nobody"), value(&user));
        assert_eq!(server.call("CLIENT KILL 1.2.3.4:5"), value(&Kill::none_at_address()));
    }
}

#[test]
fn a_blocked_client_is_told_the_servers_own_words() {
    let server = Server::start();
    let mut blocked = server.client();
    let id = blocked.call("CLIENT ID");
    let Value::Int(id) = id else { panic!("{id:?}") };
    blocked.send(&["BLPOP", "nothing", "0"]);
    let unblock = format!("CLIENT UNBLOCK {id} ERROR");
    support::eventually(support::LONG, "the client is blocked", || server.call(&unblock) == Value::Int(1));
    assert_eq!(blocked.read().error(), Some(Unblock::ERROR));
}

#[test]
fn a_connection_shows_the_names_that_it_was_told() {
    for server in servers() {
        let mut names = Names::default();
        names.set_name(b"app").expect("a good name");
        names.set_info(b"lib-name", b"redis-py").expect("a good name");
        let mut client = server.client();
        let told = tell(&mut client, &Names::default(), &names);
        assert!(told[0].error().is_none(), "{told:?}");
        let info = client.call("CLIENT INFO").text().expect("text");
        assert!(info.contains(" name=app "), "{info}");
        assert!(info.contains("lib-name=redis-py") || !info.contains("lib-name"), "{info}");
        tell(&mut client, &names, &Names::default());
        let info = client.call("CLIENT INFO").text().expect("text");
        assert!(info.contains(" name= "), "{info}");
        assert!(info.contains("lib-name= ") || !info.contains("lib-name"), "{info}");
    }
}

#[test]
fn a_reset_resets_what_the_servers_resets() {
    for server in servers() {
        let mut client = server.client();
        let mut names = Names::default();
        names.set_name(b"app").expect("a good name");
        names.set_info(b"lib-name", b"lib").expect("a good name");
        tell(&mut client, &Names::default(), &names);
        client.call("RESET");
        names.reset();
        let info = client.call("CLIENT INFO").text().expect("text");
        let name = String::from_utf8_lossy(names.name()).into_owned();
        assert!(info.contains(&format!(" name={name} ")), "{info}");
        let lib = format!("lib-name={} ", String::from_utf8_lossy(names.lib_name()));
        assert!(info.contains(&lib) || !info.contains("lib-name"), "{info}");
        assert_eq!(client.call("GET nothing"), Value::Nil);
    }
}

#[test]
fn a_hello_reply_differs_in_id_and_role_only() {
    for server in servers() {
        let primary = Server::start();
        server.call(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        for proto in ["2", "3"] {
            let mut client = server.client();
            client.send(&["HELLO", proto]);
            client.send(&["QUIT"]);
            let mut bytes = client.read_to_close();
            bytes.truncate(bytes.len() - b"+OK\r\n".len());
            let rewritten = rewrite_hello(&bytes, 77).expect("a HELLO reply");
            let (theirs, ours) = (fields(&bytes), fields(&rewritten));
            assert_eq!(theirs.len(), ours.len());
            for ((key, theirs), (ours_key, ours)) in theirs.into_iter().zip(ours) {
                assert_eq!(key, ours_key);
                match key.text().as_deref() {
                    Some("id") => assert_eq!(ours, Value::Int(77)),
                    Some("role") => {
                        assert_eq!(theirs, Value::bulk("replica"));
                        assert_eq!(ours, Value::bulk("master"));
                    }
                    _ => assert_eq!(ours, theirs),
                }
            }
        }
    }
}

fn fields(reply: &[u8]) -> Vec<(Value, Value)> {
    match Value::read(&mut &reply[..]).expect("a whole reply") {
        Value::Map(pairs) => pairs,
        Value::Array(items) => items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        other => panic!("{other:?}"),
    }
}

fn row() -> ClientRow {
    ClientRow {
        id: 5,
        addr: "127.0.0.1:1".to_owned(),
        laddr: "127.0.0.1:2".to_owned(),
        fd: 8,
        name: vec![],
        age: 0,
        idle: 0,
        flags: ClientFlags::default(),
        db: 0,
        sub: 0,
        psub: 0,
        ssub: 0,
        multi: None,
        redirect: None,
        qbuf: 0,
        qbuf_free: 0,
        omem: 0,
        tot_mem: 0,
        cmd: "client|list".to_owned(),
        user: b"default".to_vec(),
        proto: Proto::Resp2,
        lib_name: vec![],
        lib_ver: vec![],
        net_in: 0,
        net_out: 0,
        commands: 0,
    }
}

fn keys(line: &str) -> Vec<&str> {
    line.trim_end().split(' ').filter_map(|field| field.split_once('=').map(|(key, _)| key)).collect()
}

#[test]
fn a_row_has_the_servers_fields_in_the_servers_order() {
    let mut ours = String::new();
    row().write(&mut ours);
    // Its own row is the last one; the server may not have noticed yet that others left.
    let list = |mut client: Client| {
        let list = client.call("CLIENT LIST").text().expect("text");
        list.lines().last().expect("who asks is there").to_owned()
    };
    let theirs = list(Server::start().client());
    let known: Vec<&str> = keys(&ours).into_iter().filter(|key| keys(&theirs).contains(key)).collect();
    assert_eq!(known, keys(&theirs));
    if let Some(server) = newest() {
        let theirs = list(server.client());
        // Watched keys are not counted, and servers before 7.4 have no such field.
        let mut fields = keys(&theirs);
        fields.retain(|key| *key != "watch");
        assert_eq!(keys(&ours), fields);
        for constant in
            [" flags=N ", " multi=-1 ", " redir=-1 ", " events=r ", " cmd=client|list ", " resp=2 "]
        {
            assert!(ours.contains(constant) && theirs.contains(constant), "{constant} in {theirs}");
        }
    }
}
