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
            subscriptions.on_frame(&frame(sign, words))
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
        assert!(!subscriptions.is_active());
        send(subscriptions, "PUNSUBSCRIBE");
        assert!(subscriptions.is_active());
        assert_eq!(read(subscriptions, "punsubscribe nil 0"), Frame::Settled);
        assert!(!subscriptions.is_active());
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
        subscriptions.on_frame(&frame('*', "message a text")),
        Frame::Reply,
        "nothing is subscribed yet"
    );
    send(&mut subscriptions, "LRANGE l 0 -1");
    assert_eq!(
        subscriptions.on_frame(&frame('*', "subscribe a b")),
        Frame::Reply,
        "nothing of the kind is owed"
    );
    send(&mut subscriptions, "SUBSCRIBE a");
    subscriptions.on_frame(&frame('*', "subscribe a 1"));
    send(&mut subscriptions, "PING");
    assert_eq!(subscriptions.on_frame(&frame('*', "message a text")), Frame::Message);
    assert_eq!(subscriptions.on_frame(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"), Frame::Reply);
    send(&mut subscriptions, "GET k");
    assert_eq!(subscriptions.on_frame(&frame('>', "invalidate 1")), Frame::Message);
    assert_eq!(subscriptions.on_frame(b"_\r\n"), Frame::Reply);
}

#[test]
fn an_error_settles_all_of_a_request() {
    let mut subscriptions = Subscriptions::default();
    send(&mut subscriptions, "SUBSCRIBE a b");
    assert_eq!(subscriptions.on_frame(b"-NOPERM No permissions to access a channel\r\n"), Frame::Settled);
    assert!(!subscriptions.is_active());
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
    subscriptions.on_frame(&frame('>', "ssubscribe s 1"));
    assert_eq!(subscriptions.on_frame(&frame('>', "sunsubscribe s 0")), Frame::Message);
    assert!(!subscriptions.is_active());
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
fn what_was_owed_is_asked_again_and_confirmed_to_the_client() {
    both(|subscriptions, read| {
        send(subscriptions, "SUBSCRIBE a b c");
        read(subscriptions, "subscribe a 1");
        send(subscriptions, "PING");
        send(subscriptions, "UNSUBSCRIBE");
        let again = subscriptions.recover();
        assert_eq!(again.resubscribe, requests(&["SUBSCRIBe a"]));
        let unsubscribe = Some(requests(&["unsubscribe"]));
        assert_eq!(again.owed, [Some(requests(&["subscribe b c"])), None, unsubscribe]);
        subscriptions.drop_reply();
        assert_eq!(read(subscriptions, "subscribe a 1"), Frame::Swallow);
        assert_eq!(read(subscriptions, "subscribe b 2"), Frame::Confirmation);
        assert_eq!(read(subscriptions, "subscribe c 3"), Frame::Settled);
        for (word, expected) in
            [("b 2", Frame::Confirmation), ("c 1", Frame::Confirmation), ("a 0", Frame::Settled)]
        {
            assert_eq!(read(subscriptions, &format!("unsubscribe {word}")), expected);
        }
        assert!(!subscriptions.is_active());
    });
}

#[test]
fn a_new_primary_that_refuses_the_subscription_is_not_hidden() {
    let mut subscriptions = Subscriptions::default();
    send(&mut subscriptions, "SUBSCRIBE a");
    subscriptions.on_frame(&frame('*', "subscribe a 1"));
    subscriptions.recover();
    assert_eq!(subscriptions.on_frame(b"-NOPERM No permissions to access a channel\r\n"), Frame::Refused);
}
