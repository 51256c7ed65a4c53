use super::*;

fn words(request: &str) -> Vec<&[u8]> {
    request.split(' ').map(str::as_bytes).collect()
}

fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn hello(request: &str) -> Result<Hello, Misuse> {
    Hello::parse(words(request).into_iter())
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
fn no_secret_is_ever_printed() {
    let shown = format!("{:?}", hello("HELLO 3 AUTH ann swordfish"));
    assert!(shown.contains("ann:***") && !shown.contains("swordfish"), "{shown}");
    let bytes = format!("{:?}", b"swordfish");
    assert!(!shown.contains(&bytes[1..bytes.len() - 1]), "{shown}");
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
