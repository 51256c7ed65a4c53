//! What is relied on of a node's own slow log: whose request an entry is, and how its words are cut.

use crate::support::{Value, for_each_server};

#[test]
fn an_entry_tells_the_connection_the_cut_words_and_the_microseconds_before_the_reply_is_there() {
    for_each_server(|version, client| {
        let name = version.name;
        for order in ["CONFIG SET slowlog-log-slower-than 0", "SLOWLOG RESET"] {
            assert_eq!(client.call(order), Value::ok(), "{name}: {order}");
        }
        let long = "x".repeat(200);
        let many: Vec<String> = (0..40).map(|at| format!("key:{at}")).collect();
        let many = [vec!["DEL".to_owned()], many].concat();
        assert_eq!(client.cmd(&["SET", "k", &long]), Value::ok(), "{name}");
        assert_eq!(client.cmd(&many), Value::Int(0), "{name}");
        let busy = ["EVAL", "for at = 1, 1e6 do end", "0"];
        assert_eq!(client.cmd(&busy), Value::Nil, "{name}");
        for block in ["MULTI", "GET k", "EXEC"] {
            assert!(client.call(block).error().is_none(), "{name}: {block}");
        }
        // The name as the proxy writes its own requests.
        let told = client.cmd(&["SLOWLOg", "GET", "128"]);
        let entries: Vec<(Vec<String>, &[Value])> = told
            .items()
            .iter()
            .map(|entry| (entry.items()[3].items().iter().filter_map(Value::text).collect(), entry.items()))
            .collect();
        let of = |begins: &str| entries.iter().filter(|(words, _)| words[0] == begins).collect::<Vec<_>>();
        for (_, entry) in &entries {
            assert!(entry[1].int() > Some(1_600_000_000) && entry[2].int() >= Some(0), "{name}: {entry:?}");
            assert_eq!(entry[4].text(), Some(client.local_address().to_string()), "{name}");
        }
        let [(set, _)] = of("SET")[..] else { panic!("{name}: one SET in {told:?}") };
        assert_eq!(set[2], format!("{}... (72 more bytes)", "x".repeat(128)), "{name}");
        let [(del, _)] = of("DEL")[..] else { panic!("{name}: one DEL in {told:?}") };
        assert_eq!((del.len(), del[31].as_str()), (32, "... (10 more arguments)"), "{name}");
        let [(_, busy)] = of("EVAL")[..] else { panic!("{name}: one EVAL in {told:?}") };
        assert!(busy[2].int() >= Some(500), "{name}: a million turns are more than {busy:?}");
        // Of a transaction its commands are there, it is not itself.
        assert_eq!((of("GET").len(), of("EXEC").len()), (1, 0), "{name}: {told:?}");
    });
}

#[test]
fn who_may_not_ask_is_refused() {
    for_each_server(|version, client| {
        assert_eq!(client.call("ACL SETUSER shy on nopass ~* &* +@all -slowlog"), Value::ok());
        assert_eq!(client.call("AUTH shy x"), Value::ok());
        let refused = client.call("SLOWLOG GET 128");
        assert!(
            refused.error().is_some_and(|text| text.starts_with("NOPERM ")),
            "{}: {refused:?}",
            version.name
        );
    });
}
