use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::decode as resp2;
use redis_protocol::resp3::decode::complete as resp3;

/// The ends of the frames in `bytes`, which arrive cut at `cuts`, their kinds, and the error behind them.
fn frames(bytes: &[u8], cuts: &[usize]) -> (Vec<(usize, u8)>, Option<BadReply>) {
    let mut scanner = ReplyScanner::default();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        while start < end {
            match scanner.feed(&bytes[start..end]) {
                Ok(Fed::More) => start = end,
                Ok(Fed::Frame { end }) => {
                    start += end;
                    assert!(scanner.is_idle());
                    found.push((start, scanner.kind()));
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn every_cut(bytes: &[u8]) -> Vec<usize> {
    (0..=bytes.len()).collect()
}

fn cuts_within(len: usize, cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

#[test]
fn every_type_is_one_frame() {
    for (frame, kind) in [
        ("+OK\r\n", '+'),
        ("+a\rb\nc\r\r\n", '+'),
        ("-ERR no\r\n", '-'),
        (":-9223372036854775808\r\n", ':'),
        (":+5\r\n", ':'),
        ("$5\r\nhe\r\no\r\n", '$'),
        ("$0\r\n\r\n", '$'),
        ("$-1\r\n", '$'),
        ("*-1\r\n", '*'),
        ("*0\r\n", '*'),
        ("*2\r\n*1\r\n:1\r\n$1\r\nx\r\n", '*'),
        ("_\r\n", '_'),
        (",1.5e300\r\n", ','),
        (",-inf\r\n", ','),
        ("#t\r\n", '#'),
        ("!5\r\nERR x\r\n", '!'),
        ("=7\r\ntxt:abc\r\n", '='),
        ("(3492890328409238509324850943850943825024385\r\n", '('),
        ("~2\r\n:1\r\n:2\r\n", '~'),
        ("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", '%'),
        ("%0\r\n", '%'),
        (">3\r\n+message\r\n+c\r\n+m\r\n", '>'),
        ("|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n", '$'),
        ("|1\r\n+a\r\n*?\r\n*1\r\n:1\r\n.\r\n%1\r\n+k\r\n+v\r\n", '%'),
        ("|0\r\n|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n>0\r\n", '>'),
        ("*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n", '*'),
        ("$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n", '$'),
        ("*?\r\n:1\r\n*?\r\n.\r\n$?\r\n;0\r\n.\r\n", '*'),
        ("%?\r\n+a\r\n:1\r\n.\r\n", '%'),
        ("~?\r\n.\r\n", '~'),
        ("*2\r\n~?\r\n:1\r\n|1\r\n+a\r\n+b\r\n:2\r\n.\r\n:3\r\n", '*'),
    ] {
        let bytes = [frame.as_bytes(), frame.as_bytes()].concat();
        let expected = (vec![(frame.len(), kind as u8), (bytes.len(), kind as u8)], None);
        assert_eq!(frames(&bytes, &[]), expected, "{frame:?}");
        assert_eq!(frames(&bytes, &every_cut(&bytes)), expected, "{frame:?} byte by byte");
    }
}

#[test]
fn what_is_no_reply_is_refused() {
    let streams = "*?\r\n".repeat(MAX_STREAMS + 1);
    for (bytes, error) in [
        ("HTTP/1.1 400 Bad Request\r\n", BadReply::Type(b'H')),
        ("\r\n", BadReply::Type(b'\r')),
        ("$3\r\nabcd\r\n", BadReply::Length),
        ("$3\r\nabc\n\r", BadReply::Length),
        ("$x\r\n", BadReply::Header),
        ("$\r\n", BadReply::Header),
        ("$-2\r\n", BadReply::Header),
        ("$5\nhello\r\n", BadReply::Header),
        ("$05\r\nhello\r\n", BadReply::Header),
        ("*18446744073709551616\r\n", BadReply::Header),
        ("$99999999999999999999999999\r\n", BadReply::Header),
        (":\r\n", BadReply::Header),
        (":1.5\r\n", BadReply::Header),
        ("#x\r\n", BadReply::Header),
        ("_x\r\n", BadReply::Header),
        (">?\r\n", BadReply::Header),
        (".\r\n", BadReply::Type(b'.')),
        ("*1\r\n.\r\n", BadReply::Type(b'.')),
        ("*?\r\n|1\r\n+a\r\n+b\r\n.\r\n", BadReply::Type(b'.')),
        ("$?\r\n$1\r\nx\r\n", BadReply::Type(b'$')),
        (";1\r\nx\r\n", BadReply::Type(b';')),
        (&streams, BadReply::Depth),
    ] {
        assert_eq!(frames(bytes.as_bytes(), &[]), (vec![], Some(error)), "{bytes:?}");
        assert_eq!(
            frames(bytes.as_bytes(), &every_cut(bytes.as_bytes())),
            (vec![], Some(error)),
            "{bytes:?}"
        );
    }
}

#[test]
fn arrays_of_any_depth_are_followed() {
    let depth = 100_000;
    let bytes = [&b"*1\r\n".repeat(depth)[..], b":1\r\n"].concat();
    assert_eq!(frames(&bytes, &[]), (vec![(bytes.len(), b'*')], None));
}

#[test]
fn the_kind_is_known_from_the_first_byte_of_the_reply_proper() {
    let mut scanner = ReplyScanner::default();
    assert!(scanner.is_idle());
    assert_eq!(scanner.feed(b""), Ok(Fed::More));
    assert!(scanner.is_idle());
    assert_eq!(scanner.feed(b"|1\r\n+a\r\n+b\r\n"), Ok(Fed::More));
    assert_eq!((scanner.kind(), scanner.is_idle()), (0, false));
    assert_eq!(scanner.feed(b">"), Ok(Fed::More));
    assert_eq!((scanner.kind(), scanner.is_idle()), (b'>', false));
    assert_eq!(scanner.feed(b"0\r\n+OK"), Ok(Fed::Frame { end: 3 }));
    assert_eq!(scanner.feed(b"+"), Ok(Fed::More));
    assert_eq!((scanner.kind(), scanner.is_idle()), (b'+', false));
}

fn line(kind: char) -> impl Fn(String) -> Vec<u8> {
    move |text| format!("{kind}{text}\r\n").into_bytes()
}

fn string(kind: char) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |bytes| [format!("{kind}{}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
}

fn aggregate(kind: char, len: usize, items: &[Vec<u8>]) -> Vec<u8> {
    [format!("{kind}{len}\r\n").into_bytes(), items.concat()].concat()
}

/// Scalars that `redis-protocol` takes as a key.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|number| line(':')(number.to_string())),
        "[a-z \t]{0,8}".prop_map(line('+')),
        vec(any::<u8>(), 0..30).prop_map(string('$')),
    ]
}

fn resp2_reply() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop_oneof![
        4 => key(),
        1 => "[A-Z]{1,4} [a-z ]{0,20}".prop_map(line('-')),
        1 => prop::sample::select(vec![b"$-1\r\n".to_vec(), b"*-1\r\n".to_vec()]),
    ];
    scalar.prop_recursive(5, 60, 8, |inner| {
        vec(inner, 0..8).prop_map(|items| aggregate('*', items.len(), &items))
    })
}

fn resp3_reply() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop_oneof![
        3 => key(),
        1 => "[A-Z]{1,4} [a-z ]{0,20}".prop_map(line('-')),
        1 => (-1e300..1e300_f64).prop_map(|number| line(',')(number.to_string())),
        1 => "[0-9]{1,60}".prop_map(line('(')),
        1 => prop::sample::select(vec![b"#t\r\n".to_vec(), b"#f\r\n".to_vec(), b"_\r\n".to_vec()]),
        1 => "(txt|mkd):[a-z\r\n]{0,9}".prop_map(|text| string('=')(text.into_bytes())),
        1 => vec(any::<u8>(), 0..30).prop_map(string('!')),
    ];
    scalar.prop_recursive(4, 60, 8, |inner| {
        let items = || vec(inner.clone(), 0..6);
        let pairs = || vec((key(), inner.clone()).prop_map(|(key, value)| [key, value].concat()), 0..5);
        prop_oneof![
            items().prop_map(|items| aggregate('*', items.len(), &items)),
            items().prop_map(|items| aggregate('>', items.len(), &items)),
            vec(key(), 0..6).prop_map(|items| aggregate('~', items.len(), &items)),
            pairs().prop_map(|pairs| aggregate('%', pairs.len(), &pairs)),
            (pairs(), items()).prop_map(|(pairs, items)| {
                [aggregate('|', pairs.len(), &pairs), aggregate('*', items.len(), &items)].concat()
            }),
        ]
    })
}

/// The ends of `replies` one behind the other.
fn ends(replies: &[Vec<u8>]) -> Vec<usize> {
    replies
        .iter()
        .scan(0, |end, reply| {
            Some({
                *end += reply.len();
                *end
            })
        })
        .collect()
}

fn check(replies: &[Vec<u8>], cuts: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let bytes = replies.concat();
    for cuts in [vec![], every_cut(&bytes), cuts_within(bytes.len(), cuts)] {
        let (found, error) = frames(&bytes, &cuts);
        prop_assert_eq!(error, None);
        prop_assert_eq!(found.iter().map(|(end, _)| *end).collect::<Vec<_>>(), ends(replies));
    }
    Ok(())
}

proptest! {
    #[test]
    fn resp2_ends_where_redis_protocol_ends_it(
        replies in vec(resp2_reply(), 1..5),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        for reply in &replies {
            let decoded = resp2::decode_range(reply).unwrap();
            prop_assert_eq!(decoded.map(|(_, len)| len), Some(reply.len()));
        }
        check(&replies, &cuts)?;
    }

    #[test]
    fn resp3_ends_where_redis_protocol_ends_it(
        replies in vec(resp3_reply(), 1..5),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        for reply in &replies {
            let decoded = resp3::decode_range(reply).unwrap();
            prop_assert_eq!(decoded.map(|(_, len)| len), Some(reply.len()));
        }
        check(&replies, &cuts)?;
    }

    /// Bytes that are nearly replies: cuts change nothing, and both decoders agree with a frame that is found.
    #[test]
    fn near_replies_are_judged_alike(
        bytes in vec(prop::sample::select(b"+-:$$**,#!=(~%>|_;.\r\n\r\n\r\n\r\n00112-?txab".to_vec()), 0..60),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = frames(&bytes, &[]);
        prop_assert_eq!(frames(&bytes, &every_cut(&bytes)), whole.clone());
        prop_assert_eq!(frames(&bytes, &cuts_within(bytes.len(), &cuts)), whole.clone());
        if let Some((end, _)) = whole.0.first() {
            for decoded in [
                resp2::decode_range(&bytes).ok().flatten().map(|(_, len)| len),
                resp3::decode_range(&bytes).ok().flatten().map(|(_, len)| len),
            ].into_iter().flatten() {
                prop_assert_eq!(decoded, *end);
            }
        }
    }
}
