//! A node that does not know a command repeats the request in its refusal, and libraries go by those words: they fall back
//! to RESP2 when HELLO is what is unknown. Where the proxy asked in its own words, the refusal is put into the client's.

use bytes::{Bytes, BytesMut};

use crate::resp::encode;

/// Up to so many bytes of arguments servers repeat.
const REPEATED: usize = 128;

/// `refusal`, with `request` in place of what the proxy had asked for; `None` when it is no such refusal, or one of another command.
pub fn in_the_clients_words<'a>(
    refusal: &[u8],
    request: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Bytes> {
    let mut request = request.into_iter();
    let name = request.next()?;
    let quoted = refusal.strip_prefix(b"-ERR unknown command ")?;
    let (&quote, rest) = quoted.split_first()?;
    // Before 7.0 between grave accents, and with a comma behind each argument.
    let end: &[u8] = match quote {
        b'\'' => b"' ",
        b'`' => b"`, ",
        _ => return None,
    };
    let (asked, rest) = rest.split_at_checked(name.len())?;
    let middle: &[u8] = b", with args beginning with: ";
    if !asked.eq_ignore_ascii_case(name) || rest.strip_prefix(&[quote])?.strip_prefix(middle).is_none() {
        return None;
    }
    let mut args = Vec::new();
    for arg in request {
        if args.len() >= REPEATED {
            break;
        }
        let room = REPEATED - args.len();
        // Servers take an argument for a C string.
        let arg = arg.split(|&byte| byte == 0).next().unwrap_or_default();
        args.push(quote);
        args.extend_from_slice(&arg[..arg.len().min(room)]);
        args.extend_from_slice(end);
    }
    let text = [&b"ERR unknown command "[..], &[quote], name, &[quote], middle, &args].concat();
    let mut out = BytesMut::new();
    encode::error_bytes(&mut out, &text);
    Some(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(refusal: &str, request: &str) -> Option<String> {
        let words = in_the_clients_words(refusal.as_bytes(), request.split(' ').map(str::as_bytes));
        words.map(|words| String::from_utf8_lossy(&words).into_owned())
    }

    #[test]
    fn the_request_is_repeated_as_the_client_wrote_it() {
        let newer = "-ERR unknown command 'HELLo', with args beginning with: '3' \r\n";
        assert_eq!(
            said(newer, "hello 3 setname app").as_deref(),
            Some("-ERR unknown command 'hello', with args beginning with: '3' 'setname' 'app' \r\n")
        );
        assert_eq!(
            said(newer, "HELLO").as_deref(),
            Some("-ERR unknown command 'HELLO', with args beginning with: \r\n")
        );
        let older = "-ERR unknown command `HELLo`, with args beginning with: `3`, \r\n";
        assert_eq!(
            said(older, "HELLO 3 x").as_deref(),
            Some("-ERR unknown command `HELLO`, with args beginning with: `3`, `x`, \r\n")
        );
    }

    #[test]
    fn what_is_repeated_ends_where_servers_end_it() {
        let refusal = "-ERR unknown command 'HELLo', with args beginning with: '3' \r\n";
        let long =
            said(refusal, &format!("HELLO {} {} more", "a".repeat(100), "b".repeat(100))).expect("a refusal");
        assert!(long.ends_with(&format!("'{}' '{}' \r\n", "a".repeat(100), "b".repeat(25))), "{long}");
        assert!(said(refusal, "HELLO a\0b\r\nc").is_some_and(|words| words.ends_with(": 'a' \r\n")));
        assert!(said(refusal, "HELLO b\r\nc").is_some_and(|words| words.ends_with(": 'b  c' \r\n")));
    }

    #[test]
    fn other_refusals_are_left_alone() {
        for refusal in [
            "-NOAUTH Authentication required.\r\n",
            "-ERR unknown subcommand 'HELLo'. Try CLIENT HELP.\r\n",
            "-ERR unknown command 'CLIENt', with args beginning with: 'GETNAME' \r\n",
            "-ERR unknown command 'HELLo'\r\n",
            "-ERR unknown command HELLo, with args beginning with: 3 \r\n",
            "-ERR unknown command ",
        ] {
            assert_eq!(said(refusal, "HELLO 3"), None, "{refusal}");
        }
    }
}
