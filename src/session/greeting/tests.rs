use super::*;

fn words(request: &str) -> Vec<&[u8]> {
    request.split(' ').map(str::as_bytes).collect()
}

fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn hello(request: &str) -> Result<Hello, Refusal> {
    Hello::parse(words(request).into_iter())
}

fn complete() -> Greeting {
    let mut greeting = Greeting { db: 7, ..Greeting::default() };
    greeting.greet(hello("HELLO 3 AUTH ann swordfish SETNAME app").unwrap());
    greeting.set_info(b"LIB-NAME", b"redis-py").unwrap();
    greeting.set_info(b"lib-ver", b"8.0").unwrap();
    greeting
}

#[test]
fn hello_says_what_it_changes_and_nothing_else() {
    assert_eq!(hello("HELLO").unwrap(), Hello::default());
    let mut greeting = complete();
    greeting.greet(hello("HELLO").unwrap());
    assert_eq!(greeting, complete());
    greeting.greet(hello("hello 2 setname other").unwrap());
    assert_eq!((greeting.proto, greeting.name()), (Proto::Resp2, &b"other"[..]));
    assert_eq!(greeting.login, complete().login);
    greeting.greet(Hello { name: Some(Bytes::new()), ..Hello::default() });
    assert_eq!(written(|out| greeting.write_name(out)), "$-1\r\n");
}

#[test]
fn hello_is_written_as_it_was_read() {
    for request in ["HELLO", "HELLO 2", "HELLO 3 AUTH a b", "HELLO 3 SETNAME n", "HELLO 3 AUTH a b SETNAME n"]
    {
        let again = written(|out| hello(request).unwrap().write(out));
        let expected = written(|out| encode::command(out, &words(request)));
        assert_eq!(again, expected);
    }
}

#[test]
fn a_replay_says_everything_once_and_in_an_order_that_works() {
    let mut replayed = Vec::new();
    let text = written(|out| replayed = complete().replay(out));
    let expected = [
        (Replayed::Auth, "AUTH ann swordfish"),
        (Replayed::Hello, "HELLO 3"),
        (Replayed::Select, "SELECT 7"),
        (Replayed::SetName, "CLIENT SETNAME app"),
        (Replayed::SetInfo, "CLIENT SETINFO lib-name redis-py"),
        (Replayed::SetInfo, "CLIENT SETINFO lib-ver 8.0"),
    ];
    assert_eq!(replayed, expected.map(|(meaning, _)| meaning));
    let requests = written(|out| expected.iter().for_each(|(_, text)| encode::command(out, &words(text))));
    assert_eq!(text, requests);
    assert!(written(|out| assert!(Greeting::default().replay(out).is_empty())).is_empty());
    assert!(Replayed::Auth.is_essential() && !Replayed::SetInfo.is_essential());
}

#[test]
fn a_password_alone_stays_one() {
    let login = Login::parse(words("AUTH swordfish").into_iter()).unwrap();
    assert_eq!(login.user_name(), b"default");
    assert_eq!(written(|out| login.write(out)), "*2\r\n$4\r\nAUTH\r\n$9\r\nswordfish\r\n");
}

#[test]
fn no_secret_is_ever_printed() {
    let shown = format!("{:?} {:?}", complete(), hello("HELLO 3 AUTH ann swordfish"));
    assert!(shown.contains("***") && !shown.contains("swordfish"), "{shown}");
    let bytes = format!("{:?}", b"swordfish");
    assert!(!shown.contains(&bytes[1..bytes.len() - 1]), "{shown}");
}

#[test]
fn a_reset_leaves_the_library_only() {
    let mut greeting = complete();
    greeting.reset();
    assert_eq!((greeting.proto, greeting.db, &greeting.login), (Proto::Resp2, 0, &None));
    assert_eq!(greeting.name(), b"");
    assert_eq!((greeting.lib_name(), greeting.lib_ver()), (&b"redis-py"[..], &b"8.0"[..]));
}

#[test]
fn a_name_is_answered_in_the_clients_dialect() {
    let mut greeting = Greeting::default();
    assert_eq!(written(|out| greeting.write_name(out)), "$-1\r\n");
    greeting.proto = Proto::Resp3;
    assert_eq!(written(|out| greeting.write_name(out)), "_\r\n");
    greeting.set_name(b"app").unwrap();
    assert_eq!(written(|out| greeting.write_name(out)), "$3\r\napp\r\n");
    greeting.set_name(b"a b").unwrap_err();
    assert_eq!(greeting.name(), b"app");
}

#[test]
fn a_database_is_a_number_that_some_server_may_have() {
    for (text, db) in [("0", Some(0)), ("15", Some(15)), ("2147483647", Some(i32::MAX as u32))] {
        assert_eq!(parse_db(text.as_bytes()), db);
    }
    for text in ["", "-1", "01", "x", "2147483648", "99999999999999999999"] {
        assert_eq!(parse_db(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn only_id_and_role_of_a_hello_reply_are_ours() {
    let modules = "*1\r\n%2\r\n$4\r\nname\r\n$2\r\nid\r\n$3\r\nver\r\n:1\r\n";
    let reply = |id: &str, role: &str| {
        format!(
            "%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n{id}$4\r\nrole\r\n{role}$7\r\nmodules\r\n{modules}"
        )
    };
    let node = reply(":3\r\n", "$7\r\nreplica\r\n");
    let ours = reply(":4000000000\r\n", "$6\r\nmaster\r\n");
    assert_eq!(rewrite_hello(node.as_bytes(), 4_000_000_000).unwrap(), ours.as_bytes());
    let resp2 = node.replacen("%4", "*8", 1);
    assert_eq!(
        rewrite_hello(resp2.as_bytes(), 4_000_000_000).unwrap(),
        ours.replacen("%4", "*8", 1).as_bytes()
    );
    for other in
        ["-NOAUTH no\r\n", "+OK\r\n", "%0\r\n", "*2\r\n$2\r\nid\r\n:1\r\n", &node[..node.len() - 1], ""]
    {
        assert_eq!(rewrite_hello(other.as_bytes(), 1), None, "{other:?}");
    }
}
