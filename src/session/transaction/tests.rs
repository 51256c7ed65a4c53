use super::*;
use crate::command::find;
use crate::resp::encode;

/// The bytes of a request and what it is.
fn request(text: &str) -> (Word, Bytes) {
    let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    let spec = find(words[0]).expect("the table knows it").spec();
    let mut bytes = BytesMut::new();
    encode::command(&mut bytes, &words);
    (Word::of(spec), bytes.freeze())
}

fn send(transaction: &mut Transaction, text: &str) -> Send {
    let (word, bytes) = request(text);
    transaction.on_request(word, &bytes)
}

fn reply(transaction: &mut Transaction, text: &str) -> Step {
    transaction.on_reply(format!("{text}\r\n").as_bytes(), Proto::Resp2)
}

/// Sends each request and gives it its reply.
fn play(transaction: &mut Transaction, dialogue: &[(&str, &str)]) {
    for (text, answer) in dialogue {
        assert_eq!(send(transaction, text), Send::Forward, "{text}");
        assert_eq!(reply(transaction, answer), Step::Forward, "{text}");
    }
}

fn bytes(requests: &[&str]) -> Vec<u8> {
    requests.iter().flat_map(|text| request(text).1).collect()
}

fn again(text: &str) -> Fate {
    let (word, request) = request(text);
    Fate::SendAgain { word, request }
}

fn answer(text: &str) -> Fate {
    Fate::Answer(format!("{text}\r\n").into_bytes())
}

#[test]
fn pins_from_the_first_word_until_the_last_reply() {
    for (first, inside, last, end) in [
        ("MULTI", true, "EXEC", "*0"),
        ("MULTI", true, "DISCARD", "+OK"),
        ("WATCH k", false, "UNWATCH", "+OK"),
        ("MULTI", true, "RESET", "+RESET"),
    ] {
        let mut transaction = Transaction::default();
        assert!(!transaction.is_pinned());
        send(&mut transaction, first);
        assert!(transaction.is_pinned());
        assert_eq!(transaction.is_queueing(), inside);
        reply(&mut transaction, "+OK");
        assert!(transaction.is_pinned());
        send(&mut transaction, last);
        assert!(transaction.is_pinned() && !transaction.is_queueing());
        reply(&mut transaction, end);
        assert_eq!(transaction, Transaction::default(), "{first} {last}");
    }
}

#[test]
fn keys_stay_watched_behind_an_error_and_are_released_by_exec() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("WATCH k", "+OK"), ("GET k", "$1\r\nv"), ("EXEC", "-ERR EXEC without MULTI")]);
    assert!(transaction.is_pinned());
    play(&mut transaction, &[("MULTI", "+OK"), ("SET k v", "+QUEUED"), ("EXEC", "*-1")]);
    assert!(!transaction.is_pinned());
}

#[test]
fn a_failed_first_word_pins_nothing() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "-NOAUTH Authentication required.")]);
    assert_eq!(transaction, Transaction::default());
}

#[test]
fn nothing_of_one_client_is_left_for_the_next() {
    let mut transaction = Transaction::default();
    play(
        &mut transaction,
        &[("WATCH k", "+OK"), ("MULTI", "+OK"), ("SELECT 7", "+QUEUED"), ("GET k", "+QUEUED")],
    );
    for _ in 0..10 * ROOM {
        send(&mut transaction, "GET k");
    }
    transaction.clear();
    assert_eq!(transaction, Transaction::default());
    assert!(transaction.owed.capacity() <= 2 * ROOM && transaction.copy.capacity() <= 2 * ROOM);
}

#[test]
fn what_redis_forgives_hides_nothing_of_what_is_executed() {
    for forgiven in [
        ("WATCH k", "-ERR WATCH inside MULTI is not allowed"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
    ] {
        let mut transaction = Transaction::default();
        play(&mut transaction, &[("MULTI", "+OK"), forgiven, ("SELECT 7", "+QUEUED")]);
        send(&mut transaction, "EXEC");
        let left = vec![(0, request("SELECT 7").1)];
        let expected = Executed { left, ..Executed::default() };
        assert_eq!(reply(&mut transaction, "*1"), Step::Executed(expected));
    }
}

#[test]
fn exec_tells_where_to_look_for_what_it_left() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "+OK"), ("SELECT 7", "+QUEUED"), ("LRANGE l 0 -1", "+QUEUED")]);
    play(&mut transaction, &[("CLIENT|SETNAME me", "+QUEUED"), ("SCAN 0", "+QUEUED")]);
    play(&mut transaction, &[("CLIENT|PAUSE 0", "+QUEUED"), ("PUBSUB|NUMPAT", "+QUEUED")]);
    send(&mut transaction, "EXEC");
    let left = ["SELECT 7", "CLIENT|SETNAME me", "CLIENT|PAUSE 0"];
    let left = [0, 2, 4].into_iter().zip(left).map(|(at, sent)| (at, request(sent).1)).collect();
    let expected = Executed { left, scans: vec![3], listed: vec![(5, "pubsub|numpat")], stale: vec![] };
    assert_eq!(reply(&mut transaction, "*5"), Step::Executed(expected));
    play(&mut transaction, &[("MULTI", "+OK"), ("GET k", "+QUEUED")]);
    send(&mut transaction, "EXEC");
    assert_eq!(reply(&mut transaction, "*1"), Step::Executed(Executed::default()));
}

#[test]
fn what_leaves_state_is_known_however_large_the_rest_is() {
    let large = format!("SET k {}", "x".repeat(COPY_MAX));
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "+OK"), (&large, "+QUEUED"), ("SELECT 7", "+QUEUED")]);
    let unkept = format!("SUBSCRIBE {}", "x".repeat(COPY_MAX));
    play(&mut transaction, &[(&unkept, "+QUEUED")]);
    send(&mut transaction, "EXEC");
    let left = vec![(1, request("SELECT 7").1), (2, Bytes::new())];
    assert_eq!(reply(&mut transaction, "*3"), Step::Executed(Executed { left, ..Executed::default() }));
}

#[test]
fn without_replies_all_is_taken_to_be_accepted() {
    let mut transaction = Transaction::default();
    let mut silent = |text: &str| {
        let (word, bytes) = request(text);
        let left = transaction.on_silent(word, &bytes);
        (left, transaction.stands())
    };
    assert_eq!(silent("WATCH k"), (vec![], true));
    assert_eq!(silent("MULTI"), (vec![], true));
    silent("SET k v");
    silent("SELECT 7");
    assert_eq!(silent("EXEC"), (vec![request("SELECT 7").1], false));
    for text in ["MULTI", "SELECT 7", "MULTI"] {
        silent(text);
    }
    assert_eq!(silent("EXEC"), (vec![], false), "every server refuses it");
    assert_eq!(transaction, Transaction::default());
}

#[test]
fn before_exec_the_copy_is_played_to_the_next_primary() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "+OK"), ("SET k 1", "+QUEUED"), ("INCR k", "+QUEUED")]);
    send(&mut transaction, "INCR k");
    let recovery = transaction.recover(0);
    assert_eq!(recovery.replay, bytes(&["MULTI", "SET k 1", "INCR k"]));
    assert_eq!(recovery.fates, [again("INCR k")]);
    assert_eq!(send(&mut transaction, "INCR k"), Send::Forward);
    for answer in ["+OK", "+QUEUED", "+QUEUED"] {
        assert_eq!(reply(&mut transaction, answer), Step::Swallow);
    }
    assert_eq!(reply(&mut transaction, "+QUEUED"), Step::Forward);
    assert_eq!(send(&mut transaction, "EXEC"), Send::Forward);
    assert!(matches!(reply(&mut transaction, "*3\r\n+OK\r\n:2\r\n:3"), Step::Executed(_)));
}

#[test]
fn a_second_loss_plays_the_same_copy() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "+OK"), ("SET k 1", "+QUEUED")]);
    let first = transaction.recover(0);
    reply(&mut transaction, "+OK");
    assert_eq!(transaction.recover(0), first);
}

#[test]
fn an_exec_that_was_not_written_is_sent_again_with_what_is_before_it() {
    let mut transaction = Transaction::default();
    for text in ["MULTI", "SET k 1", "EXEC"] {
        send(&mut transaction, text);
    }
    let recovery = transaction.recover(1);
    assert!(recovery.replay.is_empty());
    assert_eq!(recovery.fates, [again("MULTI"), again("SET k 1"), again("EXEC")]);
}

#[test]
fn after_exec_was_written_its_outcome_is_unknown() {
    let mut transaction = Transaction::default();
    for text in ["MULTI", "SET k 1", "EXEC"] {
        send(&mut transaction, text);
    }
    let recovery = transaction.recover(0);
    assert!(recovery.replay.is_empty());
    assert_eq!(recovery.fates, [answer("+OK"), answer("+QUEUED"), Fate::Ambiguous]);
    assert_eq!(transaction, Transaction::default());
}

#[test]
fn an_exec_that_redis_would_have_refused_was_not_executed_even_when_its_reply_is_lost() {
    let mut transaction = Transaction::default();
    play(
        &mut transaction,
        &[("MULTI", "+OK"), ("SET k", "-ERR wrong number of arguments for 'set' command")],
    );
    send(&mut transaction, "EXEC");
    let aborted = answer("-EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(transaction.recover(0).fates, [aborted]);
}

#[test]
fn a_discard_needs_no_server() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "+OK"), ("SET k 1", "+QUEUED")]);
    send(&mut transaction, "DISCARD");
    assert_eq!(transaction.recover(1).fates, [answer("+OK")]);
    assert_eq!(transaction, Transaction::default());
}

#[test]
fn with_watch_the_lost_exec_answers_nil_in_the_clients_protocol() {
    for (proto, nil) in [(Proto::Resp2, "*-1\r\n"), (Proto::Resp3, "_\r\n")] {
        let mut transaction = Transaction::default();
        play(&mut transaction, &[("WATCH k", "+OK"), ("MULTI", "+OK"), ("SET k 1", "+QUEUED")]);
        let recovery = transaction.recover(0);
        assert_eq!(recovery.replay, bytes(&["MULTI", "SET k 1"]));
        reply(&mut transaction, "+OK");
        reply(&mut transaction, "+QUEUED");
        assert_eq!(send(&mut transaction, "EXEC"), Send::Answer);
        assert_eq!(transaction.exec_answer(proto), nil.as_bytes());
        assert_eq!(transaction, Transaction::default());
    }
}

#[test]
fn a_watch_lost_before_multi_dooms_the_next_exec_unless_it_is_released() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("WATCH k", "+OK")]);
    send(&mut transaction, "GET k");
    assert_eq!(transaction.recover(0), Recovery { replay: Vec::new(), fates: vec![Fate::ByRetryClass] });
    send(&mut transaction, "MULTI");
    send(&mut transaction, "SET k 1");
    assert_eq!(send(&mut transaction, "EXEC"), Send::Answer);

    let mut transaction = Transaction::default();
    play(&mut transaction, &[("WATCH k", "+OK")]);
    transaction.recover(0);
    play(&mut transaction, &[("UNWATCH", "+OK"), ("MULTI", "+OK")]);
    assert_eq!(send(&mut transaction, "EXEC"), Send::Forward);
}

#[test]
fn a_watch_whose_reply_was_not_seen_is_simply_sent_again() {
    let mut transaction = Transaction::default();
    send(&mut transaction, "WATCH k");
    assert_eq!(transaction.recover(0).fates, [again("WATCH k")]);
    play(&mut transaction, &[("WATCH k", "+OK"), ("MULTI", "+OK")]);
    assert_eq!(send(&mut transaction, "EXEC"), Send::Forward);
}

#[test]
fn a_refused_command_outranks_a_lost_watch() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("WATCH k", "+OK"), ("MULTI", "+OK"), ("SET k", "-ERR wrong number")]);
    let recovery = transaction.recover(0);
    assert_eq!(recovery.replay, bytes(&["MULTI"]));
    reply(&mut transaction, "+OK");
    assert_eq!(send(&mut transaction, "EXEC"), Send::Answer);
    assert!(transaction.exec_answer(Proto::Resp2).starts_with(b"-EXECABORT"));
}

#[test]
fn a_transaction_that_is_too_large_to_keep_is_refused_after_a_loss_and_not_before() {
    let half = format!("SET k {}", "x".repeat(COPY_MAX / 2));
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "+OK"), (&half, "+QUEUED"), (&half, "+QUEUED")]);
    assert_eq!(
        (transaction.kept, transaction.copy.capacity()),
        (0, 0),
        "the copy is given up, and its memory with it"
    );
    send(&mut transaction, "INCR k");
    let recovery = transaction.recover(0);
    assert_eq!((recovery.replay, recovery.fates), (bytes(&["MULTI"]), vec![answer("+QUEUED")]));
    assert_eq!(reply(&mut transaction, "+OK"), Step::Swallow);
    play(&mut transaction, &[("INCR k", "+QUEUED")]);
    assert_eq!(send(&mut transaction, "EXEC"), Send::Answer);
    let text = String::from_utf8(transaction.exec_answer(Proto::Resp2)).expect("text");
    assert!(text.starts_with("-EXECABORT ") && text.ends_with("; not executed\r\n"), "{text}");

    let mut intact = Transaction::default();
    play(&mut intact, &[("MULTI", "+OK"), (&half, "+QUEUED"), (&half, "+QUEUED")]);
    assert_eq!(send(&mut intact, "EXEC"), Send::Forward);
}

#[test]
fn what_a_demoted_node_refuses_as_a_whole_is_played_again_once() {
    let refusal =
        "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.";
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "+OK"), ("SET k 1", "+QUEUED")]);
    send(&mut transaction, "EXEC");
    assert_eq!(reply(&mut transaction, refusal), Step::PlayAgain);
    let recovery = transaction.recover(0);
    assert_eq!(recovery, Recovery { replay: bytes(&["MULTI", "SET k 1"]), fates: vec![again("EXEC")] });
    send(&mut transaction, "EXEC");
    reply(&mut transaction, "+OK");
    reply(&mut transaction, "+QUEUED");
    assert_eq!(reply(&mut transaction, refusal), Step::Forward);
    assert_eq!(transaction, Transaction::default());
}

#[test]
fn a_command_that_a_demoted_node_refuses_to_queue_is_played_again() {
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("MULTI", "+OK"), ("GET k", "+QUEUED")]);
    send(&mut transaction, "SET k 1");
    assert_eq!(
        reply(&mut transaction, "-READONLY You can't write against a read only replica."),
        Step::PlayAgain
    );
    let recovery = transaction.recover(0);
    assert_eq!(recovery, Recovery { replay: bytes(&["MULTI", "GET k"]), fates: vec![again("SET k 1")] });
}

#[test]
fn a_demoted_nodes_refusal_of_watched_keys_is_the_nil_that_says_try_again() {
    let refusal =
        "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.";
    let mut transaction = Transaction::default();
    play(&mut transaction, &[("WATCH k", "+OK"), ("MULTI", "+OK"), ("SET k 1", "+QUEUED")]);
    send(&mut transaction, "EXEC");
    assert_eq!(reply(&mut transaction, refusal), Step::Answer(b"*-1\r\n".to_vec()));
    assert_eq!(transaction, Transaction::default());
}

#[test]
fn refusals_that_concern_the_client_are_handed_on() {
    for error in
        ["-OOM command not allowed when used memory > 'maxmemory'.", "-NOPERM no", "-BUSY Redis is busy"]
    {
        let mut transaction = Transaction::default();
        play(&mut transaction, &[("MULTI", "+OK"), ("SET k 1", error)]);
        play(&mut transaction, &[("EXEC", "-EXECABORT Transaction discarded because of previous errors.")]);
        assert_eq!(transaction, Transaction::default());
    }
}
