//! Handshakes of libraries that have no program here: the proxy's replies are those of the node, but for what names a connection.

use crate::nodes;
use crate::support::{Client, Group, Proxy, ProxyOptions, Server, Value, encode};

/// One connection's beginning.
#[derive(Debug)]
pub struct Handshake {
    /// Language, library, version, way.
    pub title: [&'static str; 4],
    /// What leaves in one write, request by request.
    steps: Vec<Vec<Vec<&'static str>>>,
}

/// Everything in `handshakes.txt`.
pub fn handshakes() -> Vec<Handshake> {
    let sections = include_str!("handshakes.txt").split("\n== ").skip(1);
    let handshake = |section: &'static str| {
        let (title, body) = section.split_once('\n').expect("a section has a title");
        let title: Vec<&str> = title.splitn(4, ", ").collect();
        let step = |text: &'static str| {
            text.lines().filter(|line| !line.is_empty()).map(|line| line.split(' ').collect()).collect()
        };
        Handshake {
            title: title.try_into().expect("four parts"),
            steps: body.split("--\n").map(step).collect(),
        }
    };
    sections.map(handshake).collect()
}

/// The password of nodes that ask for one.
const PASSWORD: &str = "sesame";

/// Replays those that meet a password, or those that do not, and compares reply by reply.
#[track_caller]
fn replay(proxy: &Proxy, node: &Server, password: bool) {
    let ours = handshakes().into_iter().filter(|one| one.title[3].ends_with("password") == password);
    let mut replies = 0;
    for handshake in ours {
        let (mut through, mut beside) = (proxy.client(), node.client());
        for step in &handshake.steps {
            let bytes: Vec<u8> = step.iter().flat_map(|request| encode(request)).collect();
            through.send_raw(&bytes);
            beside.send_raw(&bytes);
            for request in step {
                let (theirs, ours) = (beside.read(), through.read());
                let (theirs, ours) = (nameless(request, theirs), nameless(request, ours));
                assert_eq!(ours, theirs, "{:?}: {request:?}", handshake.title);
                replies += 1;
            }
        }
        let said = name(&mut beside);
        assert_eq!(name(&mut through), said, "{:?}: what CLIENT INFO shows", handshake.title);
    }
    assert!(replies > 10, "{replies} replies");
}

/// A reply without what differs from connection to connection or from moment to moment: ids, and what INFO counts.
fn nameless(request: &[&str], reply: Value) -> Value {
    let is = |index: usize, word: &str| request.get(index).is_some_and(|it| it.eq_ignore_ascii_case(word));
    match reply {
        Value::Map(pairs) if is(0, "HELLO") => {
            Value::Map(pairs.into_iter().filter(|(key, _)| *key != Value::bulk("id")).collect())
        }
        Value::Array(items) if is(0, "HELLO") => Value::Array(
            items.chunks(2).filter(|pair| pair[0] != Value::bulk("id")).flatten().cloned().collect(),
        ),
        Value::Int(id) if is(0, "CLIENT") && is(1, "ID") => {
            assert!(id > 0, "an id is positive");
            Value::Int(1)
        }
        reply if is(0, "INFO") => {
            let text = reply.text().expect("INFO is text");
            Value::Array(text.lines().map(|line| Value::bulk(steady(line))).collect())
        }
        reply => reply,
    }
}

/// A line of INFO, with its value where that stays as it is.
fn steady(line: &str) -> &str {
    const MOVING: [&str; 7] = ["offset", "uptime", "lru_clock", "usec", "histlen", "lag", "slave"];
    let name = line.split(':').next().unwrap_or(line);
    if MOVING.iter().any(|word| name.contains(word)) { name } else { line }
}

/// How a connection calls itself, or `None` when it may not be asked.
fn name(client: &mut Client) -> Option<String> {
    let info = client.call("CLIENT INFO").text()?;
    let fields = ["name=", "lib-name=", "lib-ver=", "db=", "resp=", "user="];
    let named = info.split_whitespace().filter(|word| fields.iter().any(|field| word.starts_with(field)));
    Some(named.collect::<Vec<_>>().join(" "))
}

/// Without the notifications that no node has.
fn plainly(group: &Group) -> ProxyOptions {
    ProxyOptions::new(&group.addresses()).set("proxy.maint_notifications", "false")
}

#[test]
fn are_answered_as_the_node_answers_them() {
    let group = Group::plain_with(2, &nodes());
    replay(&plainly(&group).start(), &group.nodes()[0], false);
}

#[test]
fn with_a_password_are_answered_as_the_node_answers_them() {
    // The kit's own connections have no password: the group is made first, and asks for it afterwards.
    let group = Group::plain_with(2, &nodes());
    for node in group.nodes() {
        assert_eq!(
            node.call(&format!("CONFIG SET masterauth {PASSWORD} requirepass {PASSWORD}")),
            Value::ok()
        );
    }
    let proxy = plainly(&group).set("backend.password", &format!("\"{PASSWORD}\"")).start_unready();
    proxy.wait_well();
    replay(&proxy, &group.nodes()[0], true);
}

/// Lettuce, Jedis, rueidis and Spring's health checks go by the words of a refusal: `ERR`, `unknown command`, the name between
/// quotes; NOPROTO; NOAUTH. A library that misreads them does not fall back to RESP2, or gives the connection up.
#[test]
fn fall_back_by_the_words_of_the_node() {
    let group = Group::plain_with(1, &nodes());
    let proxy = Proxy::start(&group.addresses());
    let requests: [&[&str]; 7] = [
        &["HELLO", "4"],
        &["HELLO", "three"],
        &["NOSUCH", "one", "two"],
        &["CLIENT", "NOSUCH"],
        &["CLIENT", "MAINT_NOTIFICATIONS", "on"],
        &["HELLO", "3", "AUTH", "nobody", "wrong"],
        &["AUTH", "wrong"],
    ];
    for request in requests {
        let (through, beside) = (proxy.client().cmd(request), group.nodes()[0].client().cmd(request));
        assert!(beside.error().is_some(), "{request:?}: {beside:?}");
        assert_eq!(through, beside, "{request:?}");
    }
    let unknown = proxy.client().call("NOSUCH one");
    assert_eq!(unknown.error(), Some("ERR unknown command 'NOSUCH', with args beginning with: 'one' "));
}

/// Nodes whose HELLO and CLIENT were taken away: what a library reads there it reads here, name and arguments as it wrote them, and
/// goes on in RESP2. Some look for the name in the spelling that they sent.
#[test]
fn fall_back_where_a_node_has_no_hello() {
    let taken = nodes().set("rename-command", "HELLO \"\"");
    for options in [taken.clone().set("rename-command", "CLIENT \"\""), taken] {
        let group = Group::plain_with(1, &options);
        let proxy = Proxy::start(&group.addresses());
        let requests: [&[&str]; 4] = [
            &["HELLO", "3"],
            &["hello", "3", "setname", "app"],
            &["HELLO", "2"],
            &["CLIENT", "SETINFO", "LIB-NAME", "x"],
        ];
        for request in requests {
            let (mut through, mut beside) = (proxy.client(), group.nodes()[0].client());
            assert_eq!(through.cmd(request), beside.cmd(request), "{request:?}");
            assert_eq!(through.call("PING"), beside.call("PING"));
            assert_eq!(through.call("SET greeting hello"), Value::ok());
        }
    }
}
