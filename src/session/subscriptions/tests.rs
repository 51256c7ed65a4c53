use super::*;

fn send(subscriptions: &mut Subscriptions, text: &str) {
    let mut words = text.split(' ').map(str::as_bytes);
    let verb = Verb::of(words.next().expect("a name"));
    subscriptions.on_request(verb, words);
}

/// A frame of bulk strings as RESP2 (`*`) or RESP3 (`>`) has it; a number is an integer, `nil` a null.
fn frame(sign: char, words: &str) -> Vec<u8> {
    let words: Vec<&str> = words.split(' ').collect();
    let mut text = format!("{sign}{}\r\n", words.len());
    for word in words {
        text += &match word {
            "nil" if sign == '>' => "_\r\n".to_owned(),
            "nil" => "$-1\r\n".to_owned(),
            number if number.parse::<u32>().is_ok() => format!(":{number}\r\n"),
            word => format!("${}\r\n{word}\r\n", word.len()),
        };
    }
    text.into_bytes()
}

/// Frames and what each must be taken for, in both protocols.
fn both(play: impl Fn(&mut Subscriptions, &dyn Fn(&mut Subscriptions, &str) -> Frame)) {
    for sign in ['*', '>'] {
        play(&mut Subscriptions::default(), &|subscriptions, words| {
            let proto = if sign == '>' { Proto::Resp3 } else { Proto::Resp2 };
            subscriptions.on_frame(&frame(sign, words), proto)
        });
    }
}

fn requests(list: &[&str]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for text in list {
        encode::command(&mut bytes, &text.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    }
    bytes.to_vec()
}

#[test]
fn counts_one_confirmation_for_each_name() {
    both(|subscriptions, read| {
        send(subscriptions, "SUBSCRIBE a b a");
        assert_eq!(read(subscriptions, "subscribe a 1"), Frame::Confirmation);
        assert_eq!(read(subscriptions, "subscribe b 2"), Frame::Confirmation);
        assert_eq!(read(subscriptions, "subscribe a 2"), Frame::Settled);
        send(subscriptions, "pSubscribe p*");
        assert_eq!(read(subscriptions, "psubscribe p* 3"), Frame::Settled);
        assert_eq!((subscriptions.counts(), subscriptions.held_bytes()), ([2, 1, 0], 4));
        send(subscriptions, "UNSUBSCRIBE a zz");
        assert_eq!(read(subscriptions, "unsubscribe a 2"), Frame::Confirmation);
        assert_eq!(read(subscriptions, "unsubscribe zz 2"), Frame::Settled);
        assert_eq!((subscriptions.counts(), subscriptions.held_bytes()), ([1, 1, 0], 3));
    });
}

#[test]
fn a_bare_unsubscribe_is_confirmed_for_what_is_held_in_any_order_or_once_for_nothing() {
    both(|subscriptions, read| {
        send(subscriptions, "SUBSCRIBE a b");
        send(subscriptions, "UNSUBSCRIBE");
        read(subscriptions, "subscribe a 1");
        read(subscriptions, "subscribe b 2");
        assert_eq!(read(subscriptions, "unsubscribe b 1"), Frame::Confirmation);
        assert_eq!(read(subscriptions, "unsubscribe a 0"), Frame::Settled);
        assert!(!subscriptions.stand());
        send(subscriptions, "PUNSUBSCRIBE");
        assert!(subscriptions.stand());
        assert_eq!(read(subscriptions, "punsubscribe nil 0"), Frame::Settled);
        assert!(!subscriptions.stand());
    });
}

#[test]
fn messages_come_between_confirmations() {
    both(|subscriptions, read| {
        send(subscriptions, "SUBSCRIBE a b");
        read(subscriptions, "subscribe a 1");
        assert_eq!(read(subscriptions, "message a text"), Frame::Message);
        assert_eq!(read(subscriptions, "subscribe b 2"), Frame::Settled);
        send(subscriptions, "SSUBSCRIBE s");
        assert_eq!(read(subscriptions, "pmessage p* a text"), Frame::Message);
        assert_eq!(read(subscriptions, "ssubscribe s 1"), Frame::Settled);
        assert_eq!(read(subscriptions, "smessage s text"), Frame::Message);
    });
}

#[test]
fn ordinary_replies_are_told_from_messages() {
    let mut subscriptions = Subscriptions::default();
    send(&mut subscriptions, "LRANGE l 0 -1");
    assert_eq!(
        subscriptions.on_frame(&frame('*', "message a text"), Proto::Resp2),
        Frame::Reply,
        "nothing is subscribed yet"
    );
    send(&mut subscriptions, "LRANGE l 0 -1");
    assert_eq!(
        subscriptions.on_frame(&frame('*', "subscribe a b"), Proto::Resp2),
        Frame::Reply,
        "nothing of the kind is owed"
    );
    send(&mut subscriptions, "SUBSCRIBE a");
    subscriptions.on_frame(&frame('*', "subscribe a 1"), Proto::Resp2);
    send(&mut subscriptions, "PING");
    assert_eq!(subscriptions.on_frame(&frame('*', "message a text"), Proto::Resp2), Frame::Message);
    assert_eq!(subscriptions.on_frame(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", Proto::Resp2), Frame::Reply);
    send(&mut subscriptions, "GET k");
    assert_eq!(subscriptions.on_frame(&frame('>', "invalidate 1"), Proto::Resp3), Frame::Message);
    assert_eq!(subscriptions.on_frame(b"_\r\n", Proto::Resp2), Frame::Reply);
}

#[test]
fn an_error_settles_all_of_a_request() {
    let mut subscriptions = Subscriptions::default();
    send(&mut subscriptions, "SUBSCRIBE a b");
    assert_eq!(
        subscriptions.on_frame(b"-NOPERM No permissions to access a channel\r\n", Proto::Resp2),
        Frame::Settled
    );
    assert!(!subscriptions.stand());
}

#[test]
fn reserved_channels_are_kept_from_pattern_subscribers_only() {
    both(|subscriptions, read| {
        send(subscriptions, "PSUBSCRIBE *");
        read(subscriptions, "psubscribe * 1");
        assert_eq!(read(subscriptions, "pmessage * __redhold:barrier x"), Frame::Swallow);
        assert_eq!(read(subscriptions, "pmessage * __redholder x"), Frame::Message);
        assert_eq!(read(subscriptions, "message __redhold:barrier x"), Frame::Message);
    });
}

#[test]
fn a_server_may_take_a_shard_channel_away() {
    let mut subscriptions = Subscriptions::default();
    send(&mut subscriptions, "SSUBSCRIBE s");
    subscriptions.on_frame(&frame('>', "ssubscribe s 1"), Proto::Resp3);
    assert_eq!(subscriptions.on_frame(&frame('>', "sunsubscribe s 0"), Proto::Resp3), Frame::Message);
    assert!(!subscriptions.stand());
}

#[test]
fn the_next_primary_is_told_all_and_the_client_hears_nothing_of_it() {
    both(|subscriptions, read| {
        send(subscriptions, "SUBSCRIBE b a");
        read(subscriptions, "subscribe b 1");
        read(subscriptions, "subscribe a 2");
        send(subscriptions, "PSUBSCRIBE p*");
        read(subscriptions, "psubscribe p* 3");
        let again = subscriptions.recover();
        assert_eq!(again.resubscribe, requests(&["SUBSCRIBe a", "SUBSCRIBe b", "PSUBSCRIBe p*"]));
        assert!(again.owed.is_empty());
        assert_eq!(read(subscriptions, "subscribe a 1"), Frame::Swallow);
        assert_eq!(read(subscriptions, "message a early"), Frame::Message);
        assert_eq!(read(subscriptions, "subscribe b 2"), Frame::Swallow);
        assert_eq!(read(subscriptions, "psubscribe p* 3"), Frame::Swallow);
        assert_eq!((subscriptions.counts(), subscriptions.held_bytes()), ([2, 1, 0], 4));
        send(subscriptions, "SUBSCRIBE c");
        assert_eq!(read(subscriptions, "subscribe c 4"), Frame::Settled);
    });
}

#[test]
fn what_was_owed_is_to_be_asked_again_without_what_was_confirmed() {
    both(|subscriptions, read| {
        send(subscriptions, "SUBSCRIBE a b c");
        read(subscriptions, "subscribe a 1");
        send(subscriptions, "PING");
        send(subscriptions, "UNSUBSCRIBE");
        let again = subscriptions.recover();
        assert_eq!(again.resubscribe, requests(&["SUBSCRIBe a"]));
        let unsubscribe = Some(requests(&["unsubscribe"]));
        assert_eq!(again.owed, [Some(requests(&["subscribe b c"])), None, unsubscribe]);
        assert_eq!(subscriptions.recover().owed, []);
        assert_eq!(read(subscriptions, "subscribe a 1"), Frame::Swallow);
        send(subscriptions, "SUBSCRIBE b c");
        assert_eq!(read(subscriptions, "subscribe b 2"), Frame::Confirmation);
        assert_eq!(read(subscriptions, "subscribe c 3"), Frame::Settled);
    });
}

fn silent(subscriptions: &mut Subscriptions, text: &str) {
    let mut words = text.split(' ').map(str::as_bytes);
    let verb = words.next().and_then(Verb::of).expect("a verb");
    subscriptions.on_silent(verb, words);
}

#[test]
fn in_resp3_an_array_is_no_confirmation_whatever_it_holds() {
    let mut subscriptions = Subscriptions::default();
    silent(&mut subscriptions, "SUBSCRIBE a");
    send(&mut subscriptions, "LRANGE l 0 -1");
    assert_eq!(subscriptions.on_frame(&frame('*', "subscribe y"), Proto::Resp3), Frame::Reply);
    assert_eq!(subscriptions.counts(), [1, 0, 0]);
}

#[test]
fn without_replies_all_is_taken_to_be_accepted_and_may_be_confirmed() {
    both(|subscriptions, read| {
        silent(subscriptions, "SUBSCRIBE a b");
        silent(subscriptions, "UNSUBSCRIBE a");
        assert_eq!(subscriptions.counts(), [1, 0, 0]);
        send(subscriptions, "SUBSCRIBE c");
        for words in ["subscribe a 1", "subscribe b 2", "message b text", "unsubscribe a 1"] {
            assert_eq!(read(subscriptions, words), Frame::Message, "{words}");
        }
        assert_eq!(read(subscriptions, "subscribe c 2"), Frame::Settled);
        silent(subscriptions, "UNSUBSCRIBE");
        assert_eq!(subscriptions.counts(), [0, 0, 0]);
        send(subscriptions, "PING");
        for words in ["unsubscribe c 1", "unsubscribe b 0"] {
            assert_eq!(read(subscriptions, words), Frame::Message, "{words}");
        }
        assert_eq!(subscriptions.on_frame(b"+PONG\r\n", Proto::Resp2), Frame::Reply);
        assert_eq!(subscriptions, &Subscriptions::default());
    });
}

#[test]
fn a_server_that_confirms_nothing_without_replies_is_understood_too() {
    both(|subscriptions, read| {
        silent(subscriptions, "SUBSCRIBE a");
        silent(subscriptions, "PSUBSCRIBE p*");
        send(subscriptions, "SUBSCRIBE b");
        assert_eq!(read(subscriptions, "subscribe b 3"), Frame::Settled);
        silent(subscriptions, "SUBSCRIBE c");
        assert!(subscriptions.recover().owed.is_empty());
        assert_eq!(subscriptions.counts(), [3, 1, 0]);
        silent(subscriptions, "UNSUBSCRIBE");
        silent(subscriptions, "PUNSUBSCRIBE");
        for _ in 0..2 * SILENT_MAX {
            silent(subscriptions, "SUBSCRIBE a");
        }
        assert!(subscriptions.owed.len() <= SILENT_MAX);
    });
}

#[test]
fn in_resp3_only_a_push_is_a_message() {
    let mut subscriptions = Subscriptions::default();
    send(&mut subscriptions, "SUBSCRIBE a");
    subscriptions.on_frame(&frame('>', "subscribe a 1"), Proto::Resp3);
    for words in ["message a text", "subscribe b 2"] {
        send(&mut subscriptions, "LRANGE l 0 -1");
        assert_eq!(subscriptions.on_frame(&frame('*', words), Proto::Resp3), Frame::Reply, "{words}");
    }
}

#[test]
fn a_new_primary_that_refuses_the_subscription_is_not_hidden() {
    let mut subscriptions = Subscriptions::default();
    send(&mut subscriptions, "SUBSCRIBE a");
    subscriptions.on_frame(&frame('*', "subscribe a 1"), Proto::Resp2);
    subscriptions.recover();
    assert_eq!(
        subscriptions.on_frame(b"-NOPERM No permissions to access a channel\r\n", Proto::Resp2),
        Frame::Refused
    );
}
