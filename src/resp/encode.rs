//! What the proxy itself says: requests to nodes and replies to clients.

use bytes::{BufMut, BytesMut};

/// The dialect of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proto {
    /// The dialect of every new connection.
    #[default]
    Resp2,
    /// Chosen with `HELLO 3`.
    Resp3,
}

impl Proto {
    /// 2 or 3, as HELLO names it.
    pub fn version(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// An array of strings; so also a request: the command's name and its arguments.
pub fn command(out: &mut BytesMut, args: &[&[u8]]) {
    array_header(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

/// A request of the proxy's own. The last letter of its name is small and the others are capitals, as in `PINg`: servers
/// read names in any case, and what repeats a name as it was written (MONITOR, SLOWLOG) tells by it who asked, on
/// connections that carry clients' requests as well and behind any translation of addresses.
pub fn own_command(out: &mut BytesMut, args: &[&[u8]]) {
    array_header(out, args.len());
    let Some((name, rest)) = args.split_first() else { return };
    header(out, b'$', name.len());
    for (index, letter) in name.iter().enumerate() {
        let is_last = index + 1 == name.len();
        out.put_u8(if is_last { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() });
    }
    out.put_slice(b"\r\n");
    for arg in rest {
        bulk(out, arg);
    }
}

/// Whether a command's name is written as [`own_command`] writes it.
pub fn is_own_name(name: &[u8]) -> bool {
    name.split_last().is_some_and(|(last, rest)| {
        last.is_ascii_lowercase() && !rest.is_empty() && rest.iter().all(u8::is_ascii_uppercase)
    })
}

/// `+text`. `text` has neither CR nor LF.
pub fn simple(out: &mut BytesMut, text: &str) {
    line(out, b'+', text.as_bytes());
}

/// `-text`: the error's code, a blank, a sentence. CR and LF within become blanks, as in Redis: the text may quote
/// what a client sent.
pub fn error(out: &mut BytesMut, text: &str) {
    error_bytes(out, text.as_bytes());
}

/// As [`error`], of a text that need not be UTF-8.
pub fn error_bytes(out: &mut BytesMut, text: &[u8]) {
    out.reserve(text.len() + 3);
    out.put_u8(b'-');
    for &byte in text {
        out.put_u8(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
    }
    out.put_slice(b"\r\n");
}

/// `:number`
pub fn integer(out: &mut BytesMut, number: i64) {
    out.put_u8(b':');
    if number < 0 {
        out.put_u8(b'-');
    }
    digits(out, number.unsigned_abs());
    out.put_slice(b"\r\n");
}

/// `$len`, the bytes.
pub fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(bytes.len() + 16);
    header(out, b'$', bytes.len());
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Nothing where a string might have been: `$-1`, in RESP3 `_`.
pub fn null(out: &mut BytesMut, proto: Proto) {
    out.put_slice(match proto {
        Proto::Resp2 => b"$-1\r\n",
        Proto::Resp3 => b"_\r\n",
    });
}

/// Nothing where an array might have been: `*-1`, in RESP3 `_`.
pub fn null_array(out: &mut BytesMut, proto: Proto) {
    out.put_slice(match proto {
        Proto::Resp2 => b"*-1\r\n",
        Proto::Resp3 => b"_\r\n",
    });
}

/// The header of an array; `len` elements follow.
pub fn array_header(out: &mut BytesMut, len: usize) {
    header(out, b'*', len);
}

/// The header of a map; `pairs` keys with a value each follow. An array of both in RESP2.
pub fn map_header(out: &mut BytesMut, pairs: usize, proto: Proto) {
    match proto {
        Proto::Resp2 => header(out, b'*', 2 * pairs),
        Proto::Resp3 => header(out, b'%', pairs),
    }
}

/// The header of a set; `len` elements follow. An array in RESP2.
pub fn set_header(out: &mut BytesMut, len: usize, proto: Proto) {
    header(out, if proto == Proto::Resp3 { b'~' } else { b'*' }, len);
}

/// The header of a push; `len` elements follow. In RESP2, where only pub/sub pushes, an array.
pub fn push_header(out: &mut BytesMut, len: usize, proto: Proto) {
    header(out, if proto == Proto::Resp3 { b'>' } else { b'*' }, len);
}

/// A boolean; 1 or 0 in RESP2.
pub fn boolean(out: &mut BytesMut, value: bool, proto: Proto) {
    match proto {
        Proto::Resp2 => integer(out, i64::from(value)),
        Proto::Resp3 => line(out, b'#', if value { b"t" } else { b"f" }),
    }
}

/// A number with a fraction; a string in RESP2. `inf`, `-inf` and `nan` as RESP3 spells them.
pub fn double(out: &mut BytesMut, value: f64, proto: Proto) {
    let text = if value.is_nan() { "nan".to_owned() } else { value.to_string() };
    match proto {
        Proto::Resp2 => bulk(out, text.as_bytes()),
        Proto::Resp3 => line(out, b',', text.as_bytes()),
    }
}

/// A whole number of any size, given in decimal digits; a string in RESP2.
pub fn big_number(out: &mut BytesMut, digits: &str, proto: Proto) {
    match proto {
        Proto::Resp2 => bulk(out, digits.as_bytes()),
        Proto::Resp3 => line(out, b'(', digits.as_bytes()),
    }
}

/// Text for people (as INFO and CLIENT LIST answer in RESP3); a string in RESP2.
pub fn verbatim(out: &mut BytesMut, text: &[u8], proto: Proto) {
    match proto {
        Proto::Resp2 => bulk(out, text),
        Proto::Resp3 => {
            out.reserve(text.len() + 20);
            header(out, b'=', text.len() + 4);
            out.put_slice(b"txt:");
            out.put_slice(text);
            out.put_slice(b"\r\n");
        }
    }
}

fn line(out: &mut BytesMut, kind: u8, text: &[u8]) {
    debug_assert!(!text.iter().any(|byte| matches!(byte, b'\r' | b'\n')), "a line cannot hold CR or LF");
    out.reserve(text.len() + 3);
    out.put_u8(kind);
    out.put_slice(text);
    out.put_slice(b"\r\n");
}

fn header(out: &mut BytesMut, kind: u8, len: usize) {
    out.put_u8(kind);
    digits(out, len as u64);
    out.put_slice(b"\r\n");
}

fn digits(out: &mut BytesMut, mut number: u64) {
    // u64::MAX has 20 digits.
    let mut text = [0; 20];
    let mut start = text.len();
    loop {
        start -= 1;
        text[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn names_of_own_requests_are_written_as_nobody_else_does() {
        assert_eq!(written(|out| own_command(out, &[b"ping", b"Ab"])), "*2\r\n$4\r\nPINg\r\n$2\r\nAb\r\n");
        assert!([&b"PINg"[..], b"AUTh", b"SPUBLISh"].iter().all(|name| is_own_name(name)));
        for name in [&b""[..], b"g", b"ping", b"PING", b"pING", b"Ping", b"PInG", b"PI\\xg", b"P1g"] {
            assert!(!is_own_name(name), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn what_both_dialects_share() {
        assert_eq!(written(|out| command(out, &[b"GET", b""])), "*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
        assert_eq!(written(|out| simple(out, "OK")), "+OK\r\n");
        assert_eq!(written(|out| error(out, "ERR a\r\nb")), "-ERR a  b\r\n");
        assert_eq!(written(|out| integer(out, 0)), ":0\r\n");
        assert_eq!(written(|out| integer(out, i64::MIN)), ":-9223372036854775808\r\n");
        assert_eq!(written(|out| integer(out, i64::MAX)), ":9223372036854775807\r\n");
        assert_eq!(written(|out| array_header(out, 10)), "*10\r\n");
    }

    #[test]
    fn what_the_dialects_say_differently() {
        use Proto::{Resp2, Resp3};
        for (write, resp2, resp3) in [
            (null as fn(&mut BytesMut, Proto), "$-1\r\n", "_\r\n"),
            (null_array, "*-1\r\n", "_\r\n"),
            (|out, proto| map_header(out, 3, proto), "*6\r\n", "%3\r\n"),
            (|out, proto| set_header(out, 3, proto), "*3\r\n", "~3\r\n"),
            (|out, proto| push_header(out, 3, proto), "*3\r\n", ">3\r\n"),
            (|out, proto| boolean(out, true, proto), ":1\r\n", "#t\r\n"),
            (|out, proto| boolean(out, false, proto), ":0\r\n", "#f\r\n"),
            (|out, proto| double(out, 1.5, proto), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|out, proto| double(out, f64::INFINITY, proto), "$3\r\ninf\r\n", ",inf\r\n"),
            (|out, proto| double(out, f64::NAN, proto), "$3\r\nnan\r\n", ",nan\r\n"),
            (|out, proto| big_number(out, "12", proto), "$2\r\n12\r\n", "(12\r\n"),
            (|out, proto| verbatim(out, b"a\nb", proto), "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n"),
        ] {
            assert_eq!(written(|out| write(out, Resp2)), resp2);
            assert_eq!(written(|out| write(out, Resp3)), resp3);
        }
    }
}
